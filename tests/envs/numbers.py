"""Environments that give numbers where lanes are meant, each beside the one that says the same in lanes."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim import Env
from gpusim.kernels.lang import false_like, ones_like, slots, sum_, to_float, to_int, uniform, where, zeros_like


class State(NamedTuple):
    x: Any
    v: Any  # a float that begins as an int
    n: Any  # an int
    old: Any  # an int64, a number from the first step on
    up: Any  # a bool
    near: Any  # [N, 4] that begin alike
    far: Any  # [N, 2] of ints, all one number after a step
    still: Any  # always a number


class Params(NamedTuple):
    dt: float = 0.5
    start: float = 0.25


def init(rng, p):
    far = slots(rng.env, 2)
    return State(uniform(rng, 0, -0.5, 0.5), 0, 3, rng.episode * 0 + 7, False, -1.0, far, p.start)


def init_lanes(rng, p):
    x, far = uniform(rng, 0, -0.5, 0.5), slots(rng.env, 2)
    near = zeros_like(to_float(slots(x, 4))) - 1.0
    start = zeros_like(x) + p.start
    return State(x, zeros_like(x), to_int(ones_like(x)) * 3, rng.episode * 0 + 7, false_like(x), near, far, start)


def pushed(s, force, p):
    v = s.v + force * p.dt
    x = s.x + v * p.dt
    return x, v, x[:, None] * to_float(slots(x, 4))


def step(s, action, rng, p):
    x, v, near = pushed(s, where(action == 1, 1.0, -1.0), p)
    return State(x, v, s.n + 1, 5, x > 0.0, near, 2, 1), 1, False


def step_lanes(s, action, rng, p):
    x, v, near = pushed(s, where(action == 1, 1.0, -1.0), p)
    one = ones_like(x)
    return State(x, v, s.n + 1, s.old * 0 + 5, x > 0.0, near, s.far * 0 + 2, one), one, false_like(x)


def observe(s, p):
    return s.x, s.v, to_float(s.n), 1, p.start, to_float(s.up), s.still, to_float(s.old)


def observe_lanes(s, p):
    one = ones_like(s.x)
    return s.x, s.v, to_float(s.n), one, one * p.start, to_float(s.up), s.still, to_float(s.old)


NUMBERS = Env(
    id="Numbers-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-np.inf, np.inf, (8,)),
    action_space=Discrete(2),
    max_episode_steps=5,
)
LANES = dataclasses.replace(NUMBERS, id="Lanes-v0", init=init_lanes, step=step_lanes, observe=observe_lanes)


class Slots(NamedTuple):
    near: Any  # [N, 2]


def begin(rng, p):
    return Slots(to_float(slots(rng.env, 2)) + uniform(rng, 0, 0.0, 1.0)[:, None])


def act(s, action, rng, p):
    return Slots(s.near + action[0][:, None] * p.dt), 0.5, action[1] > 0.5


def act_lanes(s, action, rng, p):
    return Slots(s.near + action[0][:, None] * p.dt), zeros_like(action[0]) + 0.5, action[1] > 0.5


def number(s, p):
    return (2,)


def lane(s, p):
    return (zeros_like(sum_(s.near)) + 2.0,)


TWO = Env(
    id="Two-v0",
    init=begin,
    step=act,
    observe=number,
    params=Params(),
    observation_space=Box(-9.0, 9.0, (1,)),
    action_space=Box(-1.0, 1.0, (2,)),
    max_episode_steps=5,
)
TWO_LANES = dataclasses.replace(TWO, id="TwoLanes-v0", step=act_lanes, observe=lane)


def picture(observe, dtype, id):
    space = Box(0, 1 if dtype is np.bool_ else 9, (2, 3), dtype)
    return dataclasses.replace(NUMBERS, observe=observe, observation_space=space, id=id)


PICTURES = {  # of all cells alike, or of all environments
    picture(one, dtype, f"Picture{i}-v0"): picture(whole, dtype, f"Whole{i}-v0")
    for i, (dtype, one, whole) in enumerate(
        [
            (np.bool_, lambda s, cell, p: True, lambda s, cell, p: (cell >= 0) | s.up),
            (np.bool_, lambda s, cell, p: s.up, lambda s, cell, p: (cell >= 0) & s.up),
            (np.uint8, lambda s, cell, p: cell, lambda s, cell, p: cell + s.n * 0),
            (np.uint8, lambda s, cell, p: 4, lambda s, cell, p: cell * 0 + s.n * 0 + 4),
            (np.float32, lambda s, cell, p: p.start, lambda s, cell, p: to_float(cell) * s.x * 0.0 + p.start),
        ]
    )
}
PAIRS = {NUMBERS: LANES, TWO: TWO_LANES, **PICTURES}
