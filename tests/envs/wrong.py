"""Definitions of an environment that are wrong, one thing at a time, and the words by which each is refused.

`RIGHT` is a cart that is pushed; every entry of `WRONG` changes one function or one field of it.
"""

import contextlib
import ctypes
import dataclasses
import math
import random
import sys
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from gpusim import Env
from gpusim.kernels.lang import (
    absolute,
    below,
    cumsum,
    sin,
    slot_uniform,
    slots,
    sum_,
    to_float,
    to_int,
    uniform,
    uniform4,
    where,
    words,
)


class State(NamedTuple):
    x: Any
    v: Any
    n: Any  # int32
    near: Any  # [N, 4]


class Params(NamedTuple):
    dt: float = 0.1
    edge: float = 1.0


def init(rng, p):
    x, v, _, _ = uniform4(rng, 0, -0.5, 0.5)
    return State(x, v, to_int(x * 0.0), to_float(slots(x, 4)))


def step(s, action, rng, p):
    a, _, _, _ = uniform4(rng, 0, -0.1, 0.1)
    v = s.v + where(action == 1, 1.0, -1.0) * p.dt + a
    x = s.x + v * p.dt
    return State(x, v, s.n + 1, s.near * 0.5), 1.0 - absolute(x), absolute(x) > p.edge


def observe(s, p):
    return s.x, s.v, to_float(s.n)


def observe_cells(s, cell, p):
    return where(cell == s.n, s.x > 0.0, False)


RIGHT = Env(
    id="Cart-v7",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-np.inf, np.inf, (3,)),
    action_space=Discrete(2),
    max_episode_steps=50,
)
PICTURE = dataclasses.replace(RIGHT, observe=observe_cells, observation_space=Box(0, 1, (4, 4), np.bool_))
OUTSIDE = torch.zeros(5)
CALLS = [0]


@dataclasses.dataclass
class Record:
    x: Any
    v: Any


class Other(NamedTuple):
    x: Any
    v: Any
    n: Any
    near: Any


class Empty(NamedTuple):
    pass


def begin(**fields):
    """`init` with some fields changed."""

    def init_changed(rng, p):
        s = init(rng, p)
        return s._replace(**{name: change(s) for name, change in fields.items()})

    return {"init": init_changed}


def draw(change):
    """`init` with another draw."""
    return {"init": lambda rng, p: init(rng, p)._replace(x=change(rng))}


def go(change):
    """`step` whose result is changed."""

    def step_changed(s, action, rng, p):
        return change(*step(s, action, rng, p))

    return {"step": step_changed}


def fields(**changes):
    return go(lambda s, r, t: (s._replace(**{name: change(s) for name, change in changes.items()}), r, t))


def reward(change):
    return go(lambda s, r, t: (s, change(s, r), t))


def ended(change):
    return go(lambda s, r, t: (s, r, change(s, t)))


def see(change):
    return {"observe": lambda s, p: change(s)}


def write(deed):
    """A step that does something to what it was given, first."""

    def step_writing(s, action, rng, p):
        deed(s, action, rng, p)
        return step(s, action, rng, p)

    return {"step": step_writing}


def plus(s, action, rng, p):
    x = s.x
    x += s.v * p.dt


def on_view(s, action, rng, p):
    s.near[:, 0] = 1.0


def by_cast(s, action, rng, p):
    x = to_float(s.x)
    x *= 0.5


def counted(s, r):
    CALLS[0] += 1
    return r + CALLS[0]


def branch(s, r):
    return r if s.x > 0 else -r


def loop(s, r):
    while s.x.max() > 10.0:
        r = r + 1.0
    return r


def caught(s, action, rng, p):
    with contextlib.suppress(Exception):
        s.x.zero_()


def later(s, action, rng, p):
    yield State(s.x, s.v, s.n, s.near), s.x, s.x > 0


def raises(s, r):
    raise KeyError("mass")


class Silent(Exception):
    def __str__(self):
        raise RuntimeError


def raises_silent(s, r):
    raise Silent


REACHES = "reaches into the memory of what it was given"
WRITES, VALUES, ALONE = "writes into what it was given", "looks at the values of lanes", "depend on one another"
AGAIN, DRAWS, LANE = "something else when it is called again", "draws by torch", "a lane is meant"
KEEPS = "a field keeps the dtype and shape that init gives it"

WRONG: dict[str, tuple[dict, str]] = {
    # what init gives
    "init gives None": ({"init": lambda rng, p: None}, "gives None where a State is meant"),
    "init gives a tuple": ({"init": lambda rng, p: tuple(init(rng, p))}, "gives a tuple where a State is meant"),
    "init gives a dict": ({"init": lambda rng, p: init(rng, p)._asdict()}, "gives a dict where a State is meant"),
    "init gives a list": ({"init": lambda rng, p: [*init(rng, p)]}, "gives a list where a State is meant"),
    "init gives a dataclass": ({"init": lambda rng, p: Record(*init(rng, p)[:2])}, "gives a Record where a State"),
    "init gives a tensor": ({"init": lambda rng, p: torch.stack(init(rng, p)[:2])}, "gives a float32 tensor"),
    "init gives no field": ({"init": lambda rng, p: Empty()}, "a State without a field"),
    "init forgets a field": ({"init": lambda rng, p: State(*init(rng, p)[:3])}, "every field of the State is given"),
    "a scalar in the state": (begin(x=lambda s: torch.tensor(0.5)), r"float32 tensor \[\] as `x` of the State"),
    "an array in the state": (begin(x=lambda s: s.x.double().numpy()), "takes values out|numpy"),
    "a list in the state": (begin(x=lambda s: [0.0] * 5), "gives a list as `x` of the State"),
    "a string in the state": (begin(x=lambda s: "left"), "gives a str as `x` of the State"),
    "None in the state": (begin(x=lambda s: None), "gives None as `x` of the State"),
    "a tuple in the state": (begin(x=lambda s: (s.x, s.v)), "gives a tuple as `x` of the State"),
    "a column in the state": (begin(x=lambda s: s.x[:, None, None]), r"float32 tensor \[5, 1, 1\]"),
    "float64 in the state": (begin(x=lambda s: s.x.double()), "float64 tensor .* to_float"),
    "float16 in the state": (begin(x=lambda s: s.x.half()), "float16 tensor"),
    "uint8 in the state": (begin(n=lambda s: s.n.to(torch.uint8)), "uint8 tensor"),
    "complex in the state": (begin(x=lambda s: s.x * 1j), "complex64 tensor"),
    "NaN from init": (begin(x=lambda s: s.x / 0.0 * 0.0), "gives NaN as `x` of the State"),
    "the number NaN from init": (begin(x=lambda s: math.nan), "gives NaN as `x` of the State"),
    "an infinite lane from init": (begin(x=lambda s: s.x / 0.0), "gives an infinite number as `x` of the State"),
    "infinity from init": (begin(x=lambda s: math.inf), "gives the number inf .* as `x` of the State"),
    "2**40 from init": (begin(n=lambda s: 2**40), "1099511627776 as `n` of the State, which an int32 lane does not hold"),
    "2**70 from init": (begin(n=lambda s: 2**70), r"\(int64 ends at 2\*\*63\) as `n` of the State"),
    "1e300 from init": (begin(x=lambda s: 1e300), r"1e\+300 \(float32 ends at 3.4e\+38\) as `x` of the State"),
    "three entities": (begin(near=lambda s: s.near[:, :3]), "power of two"),
    "no entities": (begin(near=lambda s: s.near[:, :0]), "power of two"),
    "entities of one more axis": (begin(near=lambda s: s.near[:, :, None]), r"\[5, 4, 1\]"),
    "lanes for 4096 environments": (begin(x=lambda s: torch.zeros(4096)), r"float32 tensor \[4096\]"),
    "a lane elsewhere": (begin(x=lambda s: s.x.to("meta")), 'on device "meta"'),
    "a number for entities": (
        begin(near=lambda s: 0.0) | reward(lambda s, r: r + (s.near + slots(s.x, 4)).sum(-1)),
        "init gives numbers for `near`, each a lane here: entities are written out",
    ),
    # what step gives
    "two values": (go(lambda s, r, t: (s, r)), "gives 2 values where three are meant"),
    "four values": (go(lambda s, r, t: (s, r, t, {})), "gives 4 values where three are meant"),
    "five values": (go(lambda s, r, t: (s, r, t, t, {})), "gives 5 values where three are meant"),
    "only the state": (go(lambda s, r, t: s), "gives a State where three are meant"),
    "nothing": (go(lambda s, r, t: None), "gives None where three are meant"),
    "a list of three": (go(lambda s, r, t: [s, r, t]), "gives a list where three are meant"),
    "another order": (go(lambda s, r, t: (r, s, t)), "where the State of init is meant"),
    "another State": (go(lambda s, r, t: (Other(*s), r, t)), "gives an Other first, where the State of init is meant"),
    "a plain tuple as State": (go(lambda s, r, t: (tuple(s), r, t)), "gives a tuple first"),
    "a generator": ({"step": later}, "gives a generator where three are meant"),
    "a field grows": (fields(near=lambda s: s.near.repeat(1, 2)), KEEPS),
    "a field shrinks to a lane": (fields(near=lambda s: s.near[:, 0]), KEEPS),
    "a lane becomes entities": (fields(x=lambda s: s.x[:, None].repeat(1, 4)), KEEPS),
    "an int becomes a float": (fields(n=lambda s: s.n * 0.5), KEEPS),
    "a float becomes an int": (fields(x=lambda s: to_int(s.x)), KEEPS),
    "an int becomes a longer one": (fields(n=lambda s: s.n.long()), KEEPS),
    "a float becomes a bool": (fields(x=lambda s: s.x > 0.0), KEEPS),
    "a float becomes a double": (fields(x=lambda s: s.x.double()), "float64 tensor"),
    "a float number for an int": (fields(n=lambda s: 0.5), KEEPS),
    "a bool for a float": (fields(x=lambda s: True), KEEPS),
    "a number for a bool": (
        begin(x=lambda s: False) | fields(x=lambda s: 0.0) | see(lambda s: (s.v, s.v, s.v)),
        "where it was given a bool lane|a bool lane",
    ),
    "2**40 for an int": (fields(n=lambda s: 2**40), f"the number 1099511627776 as `n` .* given an int32 lane: {KEEPS}"),
    "10**400 for a float": (fields(x=lambda s: 10**400), r"\(float32 ends at 3.4e\+38\) as `x` of the State"),
    "an infinite lane from step": (fields(x=lambda s: s.x + math.inf), "gives an infinite number as `x` of the State"),
    "NaN from step": (fields(x=lambda s: s.x * math.nan), "gives NaN as `x` of the State"),
    "reward [N, 1]": (reward(lambda s, r: r[:, None]), r"float32 tensor \[5, 1\] as reward.*leave out the last axis"),
    "reward [N, K]": (reward(lambda s, r: s.near), r"float32 tensor \[5, 4\] as reward"),
    "reward of all": (reward(lambda s, r: r.sum()), "depend on one another .sum of all lanes"),
    "reward a scalar": (reward(lambda s, r: torch.tensor(1.0)), r"float32 tensor \[\] as reward.*never environments"),
    "reward centred": (reward(lambda s, r: r * 0.0 - (r * 0.0).mean()), ALONE),
    "reward of the first": (reward(lambda s, r: r + s.x[0] * 0.0), ALONE),
    "reward [1]": (reward(lambda s, r: r[:1]), r"float32 tensor \[1\] as reward"),
    "reward float64": (reward(lambda s, r: r.double()), "float64 tensor .* as reward"),
    "reward None": (reward(lambda s, r: None), "gives None as reward"),
    "reward a list": (reward(lambda s, r: [1.0] * 5), "gives a list as reward"),
    "reward an array": (reward(lambda s, r: np.ones(5, np.float32)), "gives an ndarray as reward"),
    "reward NaN": (reward(lambda s, r: (r - 10.0).log()), "gives NaN as reward"),
    "reward infinite": (reward(lambda s, r: r + math.inf), "gives an infinite number as reward"),
    "reward 10**400": (reward(lambda s, r: 10**400), r"\(float32 ends at 3.4e\+38\) as reward"),
    "reward 2**70": (reward(lambda s, r: 2**70), r"\(int64 ends at 2\*\*63\) as reward"),
    "reward sparse": (reward(lambda s, r: r.to_sparse()), "a sparse coo tensor of float32 as reward.*: a lane is a dense"),
    "reward of others": (reward(lambda s, r: r - r.mean()), ALONE),
    "reward a rank": (reward(lambda s, r: to_float(r.argsort())), ALONE),
    "reward summed along lanes": (reward(lambda s, r: cumsum(r)), ALONE),
    "reward of the other one": (reward(lambda s, r: r.flip(0)), ALONE),
    "int terminated": (ended(lambda s, t: to_int(t)), "int32 tensor .* as terminated, where a bool lane is meant"),
    "float terminated": (ended(lambda s, t: to_float(t)), "float32 tensor .* as terminated"),
    "terminated 0": (ended(lambda s, t: 0), "gives 0 as terminated, where True or False"),
    "terminated 1.0": (ended(lambda s, t: 1.0), "gives 1.0 as terminated"),
    "terminated of all": (ended(lambda s, t: t.any()), "depend on one another .any of all lanes"),
    "terminated [N, 1]": (ended(lambda s, t: t[:, None]), r"bool tensor \[5, 1\] as terminated"),
    "terminated None": (ended(lambda s, t: None), "gives None as terminated"),
    "terminated a str": (ended(lambda s, t: "no"), "gives a str as terminated"),
    # what observe gives
    "two lanes for a space of three": (see(lambda s: (s.x, s.v)), "gives a tuple of 2 where a tuple of 3 lanes is meant"),
    "four lanes for a space of three": (see(lambda s: (s.x,) * 4), "gives a tuple of 4"),
    "a lane for a tuple": (see(lambda s: s.x), "gives a float32 tensor .* where a tuple of 3 lanes is meant"),
    "a lane without its comma": (
        see(lambda s: s.x) | {"observation_space": Box(-9, 9, (1,))}, "a tuple of 1 lanes is meant: mind the comma",
    ),
    "a matrix": (see(lambda s: torch.stack([s.x, s.v, s.v], 1)), r"float32 tensor \[5, 3\] where a tuple"),
    "a list of lanes": (see(lambda s: [s.x, s.v, s.v]), "gives a list where a tuple of 3 lanes is meant"),
    "None seen": (see(lambda s: None), "gives None where a tuple"),
    "an int lane seen": (see(lambda s: (s.x, s.v, s.n)), "int32 tensor .* as entry 2 .* to_float"),
    "a bool lane seen": (see(lambda s: (s.x, s.v, s.x > 0.0)), "bool tensor .* as entry 2"),
    "a float64 lane seen": (see(lambda s: (s.x, s.v, s.x.double())), "float64 tensor .* as entry 2"),
    "entities seen": (see(lambda s: (s.x, s.v, s.near)), r"float32 tensor \[5, 4\] as entry 2"),
    "a scalar seen": (see(lambda s: (s.x, s.v, s.x.max())), ALONE),
    "NaN seen": (see(lambda s: (s.x, s.v, (s.v - 9.0).sqrt())), "gives NaN as entry 2 of the observation"),
    "others seen": (see(lambda s: (s.x, s.v, s.v / s.v.norm())), ALONE),
    "an infinite lane seen": (see(lambda s: (s.x, s.v, s.v + math.inf)), "gives an infinite number as entry 2"),
    "1e300 seen": (see(lambda s: (s.x, s.v, 1e300)), r"1e\+300 \(float32 ends at 3.4e\+38\) as entry 2"),
    "10**400 seen": (see(lambda s: (s.x, s.v, 10**400)), r"\(float32 ends at 3.4e\+38\) as entry 2"),
    "a sparse lane seen": (see(lambda s: (s.x, s.v, s.v.to_sparse())), "a sparse coo tensor of float32 as entry 2"),
    "a nested lane seen": (
        see(lambda s: (s.x, s.v, torch.nested.nested_tensor([s.v], layout=torch.jagged))),
        "a nested tensor of float32 as entry 2",
    ),
    "None among lanes": (see(lambda s: (s.x, s.v, None)), "gives None as entry 2"),
    # writing, drawing, looking
    "x += ...": (write(plus), WRITES),
    "x -= ... in observe": (see(lambda s: (s.x.sub_(1.0), s.v, s.v)), WRITES),
    "x.clamp_()": (write(lambda s, a, rng, p: s.x.clamp_(-1.0, 1.0)), WRITES),
    "x[...] = ...": (write(lambda s, a, rng, p: s.x.__setitem__(0, 1.0)), WRITES),
    "x[:, 0] = ...": (write(on_view), WRITES),
    "to_float(x) *= ...": (write(by_cast), WRITES),
    "out=": (write(lambda s, a, rng, p: torch.add(s.x, 1.0, out=s.x)), WRITES),
    "inplace=True": (write(lambda s, a, rng, p: torch.nn.functional.relu(s.x, inplace=True)), WRITES),
    "x.data": (write(lambda s, a, rng, p: s.x.data.add_(1.0)), WRITES),
    "the action": (write(lambda s, a, rng, p: a.mul_(0)), WRITES),
    "the generator": (write(lambda s, a, rng, p: rng.step.add_(1.0)), WRITES),
    "the index, in init": ({"init": lambda rng, p: (rng.env.add_(1), init(rng, p))[1]}, WRITES),
    "a write that is caught": (write(caught), WRITES),
    "the storage": (write(lambda s, a, rng, p: s.x.untyped_storage().fill_(0)), REACHES),
    "the storage of zeros": (write(lambda s, a, rng, p: s.n.untyped_storage().fill_(0)), REACHES),
    "numpy.from_dlpack": (write(lambda s, a, rng, p: np.from_dlpack(s.x).fill(3.0)), REACHES),
    "torch.from_dlpack": (write(lambda s, a, rng, p: torch.from_dlpack(s.x).mul_(0.5)), f"{REACHES}|{WRITES}"),
    "the storage of the index": ({"init": lambda rng, p: (rng.env.untyped_storage().fill_(0), init(rng, p))[1]}, REACHES),
    "the storage, in observe": (see(lambda s: (s.x, s.v, s.v.untyped_storage().fill_(0) and s.x)), REACHES),
    "an address": (write(lambda s, a, rng, p: ctypes.memset(s.x.data_ptr(), 0, 4)), WRITES),
    "x.requires_grad = ...": (write(lambda s, a, rng, p: setattr(s.x, "requires_grad", True)), WRITES),
    "x.data = ...": (write(lambda s, a, rng, p: setattr(s.x, "data", s.v)), WRITES),
    "a tensor of the module": (write(lambda s, a, rng, p: OUTSIDE.add_(1.0)), "writes to a tensor outside of it"),
    "a count of the module": (reward(counted), AGAIN),
    "torch.rand": (reward(lambda s, r: r + torch.rand(r.shape)), DRAWS),
    "torch.randn_like": (reward(lambda s, r: r + torch.randn_like(r)), DRAWS),
    "uniform_": (reward(lambda s, r: r + torch.empty(r.shape).uniform_()), DRAWS),
    "torch.rand in init": (begin(x=lambda s: torch.rand(s.x.shape)), DRAWS),
    "dropout": (reward(lambda s, r: torch.nn.functional.dropout(r, 0.5)), DRAWS),
    "another generator": (
        reward(lambda s, r: r + torch.rand(r.shape, generator=torch.Generator().manual_seed(int(time.time())))), DRAWS,
    ),
    "numpy.random": (reward(lambda s, r: r + float(np.random.default_rng().random())), AGAIN),
    "random": (reward(lambda s, r: r + random.random()), AGAIN),
    "the clock": (reward(lambda s, r: r + time.perf_counter_ns() % 1000003), AGAIN),
    "block 256": (draw(lambda rng: uniform(rng, 256, 0.0, 1.0)), "0 to 255, known in advance, not 256"),
    "block 1.5": (draw(lambda rng: uniform(rng, 1.5, 0.0, 1.0)), "0 to 255, known in advance, not 1.5"),
    "a bool as block": (draw(lambda rng: uniform(rng, True, 0.0, 1.0)), "0 to 255, known in advance, not True"),
    "a lane as block": (draw(lambda rng: uniform(rng, below(words(rng, 0)[0], 9), 0.0, 1.0)), "not a lane"),
    "slots of three": (reward(lambda s, r: r + to_float(sum_(slots(s.x, 3)))), "a power of two, not 3; some may be"),
    "slots of a lane": (reward(lambda s, r: r + sum_(slots(s.x, s.x))), "a power of two, not a lane; some may be"),
    "draws of six": (draw(lambda rng: sum_(slot_uniform(rng, 0, 6, 0.0, 1.0))), "a power of two, not 6; some may be"),
    "too many entities": (draw(lambda rng: slot_uniform(rng, 0, 2048, 0.0, 1.0)[:, 0]), "the words of 1024 entities"),
    "if on a lane": (reward(branch), r"write where\(condition, a, b\), and join conditions by `&`"),
    "and of lanes": (ended(lambda s, t: s.x > 0 and s.v > 0), "join conditions by `&` and `|`"),
    "max of lanes": (reward(lambda s, r: max(s.x, s.v)), r"write where\(condition, a, b\)"),
    "while on a lane": (reward(loop), ALONE),
    "if on any of them": (reward(lambda s, r: r if (s.x > 0).any() else -r), ALONE),
    "item": (reward(lambda s, r: r + s.x.item()), VALUES),
    "tolist": (reward(lambda s, r: r + sum(s.x.tolist())), VALUES),
    "numpy": (reward(lambda s, r: r + torch.from_numpy(np.sin(s.x.numpy()))), VALUES),
    "nonzero": (reward(lambda s, r: r + s.x.nonzero().shape[0]), VALUES),
    "a mask as an index": (reward(lambda s, r: r + s.x[s.x > 0].shape[0]), VALUES),
    "math.sin of a lane": (reward(lambda s, r: math.sin(s.x)), r"as sin\(x\), not math.sin\(x\)"),
    "float of a lane": (reward(lambda s, r: float(s.x)), "words of gpusim.kernels.lang"),
    "range of a lane": (reward(lambda s, r: sum(range(s.n))), "only integer tensors|words of gpusim|looks at"),
    # what fails
    "an error": (reward(raises), r"fails by KeyError \('mass'\)"),
    "an error that says nothing": (reward(raises_silent), "fails by Silent"),
    "a field that is not there": (reward(lambda s, r: s.height), "has no attribute 'height'"),
    "a parameter that is not there": ({"observe": lambda s, p: (s.x, s.v, s.x * p.mass)}, "has no attribute 'mass'"),
    "a word of a number": ({"observe": lambda s, p: (s.x, s.v, sin(p.edge))}, "a word is given a lane first"),
    "a State that is changed": (write(lambda s, a, rng, p: setattr(s, "x", s.v)), "a State is never changed"),
    "shapes that do not fit": (reward(lambda s, r: r + torch.zeros(7)), "size of tensor a"),
    "division by zero": (reward(lambda s, r: r + 1 // 0), "fails by ZeroDivisionError"),
    "nothing to index": (reward(lambda s, r: [][0]), "fails by IndexError"),
    "an exit": (reward(lambda s, r: sys.exit("bye")), r"fails by SystemExit \(bye\)"),
    # arguments
    "step without rng": ({"step": lambda s, action, p: step(s, action, None, p)}, "must take 4 arguments"),
    "step with five": ({"step": lambda s, action, rng, p, t: step(s, action, rng, p)}, "must take 4 arguments"),
    "init without rng": ({"init": lambda p: init(None, p)}, r"must take 2 arguments: \(rng, params\)"),
    "observe without params": ({"observe": lambda s: (s.x, s.v, s.v)}, r"must take 2 arguments: \(state, params\)"),
    "observe of a picture": ({"observe": lambda s, cell, p: s.x}, r"must take 2 arguments: \(state, params\)"),
    "init None": ({"init": None}, r"must be a function of \(rng, params\), not None"),
    "step a string": ({"step": "step"}, r"must be a function of \(state, action, rng, params\), not 'step'"),
    "render a string": ({"render": "human"}, "the render of .* must be a function"),
    "render without params": ({"render": lambda s: None}, r"must take 2 arguments: \(state, params\)"),
    # declarations
    "params a dict": ({"params": {"dt": 0.1}}, "must be a NamedTuple of numbers"),
    "params None": ({"params": None}, "must be a NamedTuple of numbers"),
    "params a class": ({"params": Params}, "must be a NamedTuple of numbers"),
    "params a tuple": ({"params": (0.1, 1.0)}, "must be a NamedTuple of numbers"),
    "params a dataclass": ({"params": Record(0.1, 1.0)}, "must be a NamedTuple of numbers"),
    "params of a string": ({"params": Params(edge="far")}, "must be a NamedTuple of numbers"),
    "params of tensors": ({"params": Params(edge=torch.ones(()))}, "must be a NamedTuple of numbers"),
    "params NaN": ({"params": Params(edge=math.nan)}, "parameter 'edge' of Cart-v7 is NaN"),
    "params infinite": ({"params": Params(edge=math.inf)}, "parameter 'edge' of Cart-v7 is the number inf"),
    "params of 10**400": ({"params": Params(dt=10**400)}, r"parameter 'dt' of Cart-v7 .* \(float32 ends at 3.4e\+38\)"),
    "params of 1e300": ({"params": Params(dt=1e300)}, r"1e\+300 \(float32 ends at 3.4e\+38\)"),
    "params of a bool": ({"params": Params(dt=True)}, "must be a NamedTuple of numbers"),
    "space of float64": ({"observation_space": Box(-1, 1, (3,), np.float64)}, "must be a flat float32 Box"),
    "space of no entry": ({"observation_space": Box(-1, 1, (0,))}, "has no entry"),
    "space Discrete": ({"observation_space": Discrete(3)}, "must be a flat float32 Box"),
    "space Dict": ({"observation_space": Dict({"x": Box(-1, 1, (3,))})}, "must be a flat float32 Box"),
    "space None": ({"observation_space": None}, "must be a flat float32 Box"),
    "space of four axes": ({"observation_space": Box(0, 1, (2, 2, 2, 2))}, "must be a flat float32 Box"),
    "space of int64 cells": ({"observation_space": Box(0, 1, (4, 4), np.int64)}, "an image of uint8 or bool"),
    "actions MultiDiscrete": ({"action_space": MultiDiscrete([2, 3])}, "action_space of Cart-v7 must be a Discrete"),
    "actions MultiBinary": ({"action_space": MultiBinary(2)}, "action_space of Cart-v7 must be a Discrete"),
    "actions Tuple": ({"action_space": Tuple([Discrete(2)])}, "action_space of Cart-v7 must be a Discrete"),
    "actions from 1": ({"action_space": Discrete(2, start=1)}, "that starts at 0"),
    "actions of ints": ({"action_space": Box(0, 5, (2,), np.int64)}, "action_space of Cart-v7 must be a Discrete"),
    "actions of a matrix": ({"action_space": Box(-1, 1, (2, 2))}, "action_space of Cart-v7 must be a Discrete"),
    "actions a number": ({"action_space": 2}, "action_space of Cart-v7 must be a Discrete"),
    "2**31 actions": ({"action_space": Discrete(2**31)}, "has more actions than int32 can number"),
    "2**33 actions": ({"action_space": Discrete(2**33)}, "has more actions than int32 can number"),
    "no step": ({"max_episode_steps": 0}, "max_episode_steps must be a positive whole number"),
    "negative steps": ({"max_episode_steps": -1}, "max_episode_steps must be a positive whole number"),
    "500.0 steps": ({"max_episode_steps": 500.0}, "max_episode_steps must be a positive whole number"),
    "steps as text": ({"max_episode_steps": "500"}, "max_episode_steps must be a positive whole number"),
    "too many steps": ({"max_episode_steps": 2**25}, "must be at most 16777216"),
    "a threshold as text": ({"reward_threshold": "high"}, "reward_threshold of Cart-v7 must be a number"),
    "a threshold of NaN": ({"reward_threshold": math.nan}, "the reward_threshold of Cart-v7 is NaN"),
    "an infinite threshold": ({"reward_threshold": math.inf}, "the reward_threshold of Cart-v7 is the number inf"),
    "an id that is none": ({"id": 7}, "the id of an environment must be a text|is no id"),
}  # fmt: skip


def cells(change):
    return {"observe": lambda s, cell, p: change(s, cell)}


WRONG_PICTURES: dict[str, tuple[dict, str]] = {
    "a tuple of lanes": (cells(lambda s, cell: (s.x, s.v)), "gives a tuple where the cells of an image are meant"),
    "one axis too many": (cells(lambda s, cell: (cell == s.n)[..., None]), r"bool tensor \[5, 16, 1\]"),
    "the picture itself": (cells(lambda s, cell: (cell == s.n).reshape(5, 4, 4)), r"bool tensor \[5, 4, 4\]"),
    "the lanes without cells": (cells(lambda s, cell: s.x[:, 0] > 0.0), r"bool tensor \[5\]"),
    "half of the cells": (cells(lambda s, cell: (cell == s.n)[:, :8]), r"bool tensor \[5, 8\]"),
    "floats for bools": (cells(lambda s, cell: s.x * cell), "values for cells that bool does not hold"),
    "entities": (cells(lambda s, cell: cell == s.near), "fails by RuntimeError|size of tensor"),
    "no cell asked for": ({"observe": observe}, r"must take 3 arguments: \(state, cell, params\)"),
    "None": (cells(lambda s, cell: None), "gives None where the cells"),
    "float64": (cells(lambda s, cell: (cell * s.x).double()), "float64 tensor"),
    "NaN": (cells(lambda s, cell: s.x * math.nan * cell), "NaN as a cell"),
    "infinity": (cells(lambda s, cell: s.x * cell + math.inf), "an infinite number as a cell"),
    "2**70": (cells(lambda s, cell: 2**70), r"\(int64 ends at 2\*\*63\) as a cell"),
    "sparse": (cells(lambda s, cell: (cell == s.n).to_sparse()), "a sparse coo tensor of bool where the cells"),
    "nested": (
        cells(lambda s, cell: torch.nested.nested_tensor([s.x], layout=torch.jagged)),
        "a nested tensor of float32 where the cells",
    ),
    "a write to cells": (cells(lambda s, cell: cell.zero_() == s.n), WRITES),
    "a look at others": (cells(lambda s, cell: (cell == 0) & (s.x >= s.x.max())), ALONE),
}


def wrong(name: str) -> Env:
    if name.startswith("picture: "):
        changes, _ = WRONG_PICTURES[name.removeprefix("picture: ")]
        return dataclasses.replace(PICTURE, **changes)
    return dataclasses.replace(RIGHT, **WRONG[name][0])


ALL = {name: sentence for name, (_, sentence) in WRONG.items()} | {
    f"picture: {name}": sentence for name, (_, sentence) in WRONG_PICTURES.items()
}
