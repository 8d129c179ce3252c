"""How steps are run on a CPU without a compiler: on NumPy arrays, or on tensors, drawing beginnings ahead of need."""

import functools
import math
from typing import Any, TypeVar

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim import engine
from gpusim.book import Step, Tally
from gpusim.engine import Carry, Fresh, Mode
from gpusim.env import Env
from gpusim.kernels.lang import STREAM_INIT, STREAM_STEP, Lane, Rng, is_lane
from gpusim.kernels.lower import LoweringError, check
from gpusim.remember import by_env
from gpusim.sim.functional import Functional
from gpusim.tables import on_arrays
from gpusim.tree import changed, each_field, tree_map

T = TypeVar("T")


class LookAhead(Functional):
    """Draws every environment's next beginning ahead of need, and anew only when one needs its second.

    A step is tried with the beginnings at hand; where it resets an environment whose beginning has been used already, it is
    run again, from the same carry, with new ones. So the generator, half the cost of a step, runs once in as many steps
    as the shortest episode lasts. The check looks at a value, which on the CPU costs nothing.

    An environment that keeps to the vocabulary runs on NumPy arrays, which share the tensors' memory: at a few thousand
    environments an operation is mostly overhead, and NumPy's is a third of torch's.
    """

    def __init__(self, env: Env, mode: Mode, index: Tensor):
        self.arrays = keeps_to_vocabulary(env)
        self.env, self.mode = on_arrays(env) if self.arrays else env, mode
        self.index: Lane = index.numpy() if self.arrays else index
        self.prefetched: Fresh | None = None  # state and parameters of episode `Carry.episode + 1`
        self.used: Lane = None  # [N] where that has begun already, so that the true episode is one more

    def step(self, c: Carry, action: Any, observe: bool, tally: Tally | None) -> tuple[Carry, Step, Tally | None]:
        new, out, tally = self._step(c, self.to_lanes(action), observe, tally and self.to_lanes(tally))
        return new, to_tensors(out), tally and to_tensors(tally)

    def _step(self, c: Carry, action: Any, observe: bool, tally: Tally | None) -> tuple[Carry, Step, Tally | None]:
        c = self.to_lanes(c) if isinstance(c.book.elapsed, Tensor) else c
        beginning = self.prefetched
        for _ in range(2):
            if beginning is None:
                c, beginning = self._draw(c)
            now = changed(c, episode=c.episode + self.used) if self.mode.draws else c
            with np.errstate(all="ignore"):
                new, out, counted = engine.transition(
                    self.env, self.mode, now, action, self.index, beginning, observe, tally
                )
            if not (out.reset & self.used).any():
                self.used = self.used | out.reset
                return changed(new, episode=c.episode), out, counted
            c, beginning = self._draw(c)
        raise AssertionError("an environment was reset twice by one step")

    def steps(self, c: Carry, actions: list, tally: Tally) -> tuple[Carry, Tally]:
        tally = self.to_lanes(tally)
        for action in actions:
            c, _, counted = self._step(c, self.to_lanes(action), False, tally)
            tally = counted or tally
        return c, to_tensors(tally)

    def settle(self, c: Carry) -> Carry:
        return to_tensors(self._count(c))

    def to_lanes(self, tree: T) -> T:
        return to_arrays(tree) if self.arrays else tree

    def observe(self, c: Carry) -> Tensor:
        c = self.to_lanes(c)
        with np.errstate(all="ignore"):
            return to_tensors(engine.observation(self.env, c.state, c.params))

    def _count(self, c: Carry) -> Carry:
        """The carry with its true episode numbers."""
        if self.prefetched is None:
            return c
        self.prefetched = None
        return c._replace(episode=c.episode + self.used)

    def _draw(self, c: Carry) -> tuple[Carry, Fresh]:
        """Draws the beginnings anew that have been used; they are of the episodes after those of the carry returned."""
        before, used = self.prefetched, self.used
        c = self._count(c)
        if before is None:
            beginning = self._fresh(c, self.index)
        else:
            rows = used.nonzero()[0] if self.arrays else used.nonzero().squeeze(1)
            params = each_field(lambda p: p[rows] if is_lane(p) else p, c.params)
            seed = c.seed[rows] if c.seed.ndim else c.seed
            new = self._fresh(c._replace(params=params, episode=c.episode[rows], seed=seed), self.index[rows])
            put = functools.partial(_put, rows)
            params = each_field(put, before.params, new.params) if self.mode.random_params else c.params
            beginning = Fresh(each_field(put, before.state, new.state), params)
        none = torch.zeros(len(self.index), dtype=torch.bool, device="cpu")
        self.used = none.numpy() if self.arrays else none
        self.prefetched = beginning
        return c, beginning

    def _fresh(self, c: Carry, index: Lane) -> Fresh:
        with np.errstate(all="ignore"):
            return engine.fresh(self.env, self.mode, c.params, c.seed, index, c.episode + 1)


def _put(rows: Any, old: Any, new: Any) -> Any:
    """`old` with `new` in some rows; a number stays."""
    if not is_lane(old):
        return old
    changed = old.copy() if isinstance(old, np.ndarray) else old.clone()
    changed[rows] = new
    return changed


@by_env
def keeps_to_vocabulary(env: Env) -> bool:
    """Whether all of an environment's functions are made of nothing but the words of `gpusim.kernels.lang`."""
    try:
        for function in (env.init, env.step, env.observe):
            check(function)
    except LoweringError:
        return False
    try:
        _on_arrays(env)
    except Exception:  # something of a lane that only a tensor has, as in `x.is_cuda`
        return False
    return True


def _on_arrays(env: Env) -> None:
    """One step of one environment."""
    index, space = np.zeros(1, np.int64).view(Narrow), env.action_space
    acts = (index,) if isinstance(space, Discrete) else (np.zeros(1, np.float32).view(Narrow),) * math.prod(space.shape)
    env = on_arrays(env)
    params = env.with_tables(env.params)
    with np.errstate(all="ignore"):
        state = env.init(Rng(0, index, index, 0, STREAM_INIT), params)
        state = each_field(lambda x: x.view(Narrow), state)
        env.step(state, acts if len(acts) > 1 else acts[0], Rng(0, index, index, index, STREAM_STEP), params)
        engine.observation(env, state, env.params)


class Narrow(np.ndarray):
    """An array of which nothing may become a float64, as NumPy makes of an int beside a float, be it to compare them:
    everywhere else that is a float32. An environment that does so is computed on tensors."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [x.view(np.ndarray) if isinstance(x, np.ndarray) else x for x in inputs]
        result = getattr(ufunc, method)(*plain, **kwargs)
        if result.dtype == np.float64 or (result.dtype == np.bool_ and np.result_type(*plain) == np.float64):
            raise TypeError(f"{ufunc.__name__} gives float64")
        return result.view(Narrow)

    def __array_function__(self, function, types, args, kwargs):
        result = super().__array_function__(function, types, args, kwargs)
        return result.view(Narrow) if isinstance(result, np.ndarray) else result


def to_tensors(tree: T) -> T:
    return tree_map(torch.from_numpy, tree, kind=np.ndarray)


def to_arrays(tree: T) -> T:
    return tree_map(Tensor.numpy, tree)
