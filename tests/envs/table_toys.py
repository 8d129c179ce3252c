"""Environments with tables: Stair (1-D and 2-D, of each dtype, read by lanes, entities and numbers), Mural, seen as an
image of its tables, and Bent, whose maths no kernel knows. From their second step or episode on they reach beyond both ends.
"""

from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from gpusim import Env
from gpusim.kernels.lang import (
    Lane,
    Rng,
    clip,
    floor_divide,
    remainder,
    rows,
    slots,
    sum_,
    take,
    to_float,
    to_int,
    uniform,
    where,
    zeros_like,
)

HEIGHTS, WIDTH = 11, 3


class Tables(NamedTuple):
    height: object  # float32 [T]
    cost: object  # float32 [T, 3]
    jump: object  # int32 [T]
    turn: object  # int32 [T, 3]
    open: object  # bool [T]
    wall: object  # bool [T, 3]


def tables(length: int = HEIGHTS, seed: int = 0) -> Tables:
    draw = np.random.default_rng(seed)
    return Tables(
        draw.normal(size=length).astype(np.float32),
        draw.normal(size=(length, WIDTH)).astype(np.float32),
        draw.integers(-5, 7, length).astype(np.int32),
        draw.integers(0, 3, (length, WIDTH)).astype(np.int32),
        draw.random(length) < 0.5,
        draw.random((length, WIDTH)) < 0.5,
    )


class State(NamedTuple):
    at: Lane  # int32, anywhere
    far: Lane  # int64
    paths: Lane  # [N, 4] int32
    seen: Lane  # [N, 4]


class Params(NamedTuple):
    noise: Lane = 0.5


def init(rng: Rng, p: Params) -> State:
    far = rng.episode * 5
    at = take(p.turn, far, 1) + to_int(uniform(rng, 0, 0.0, 3.0))
    paths = slots(at, 4) + at[:, None]
    return State(at, far, paths, take(p.height, rng.episode * 4 - rng.episode * 8)[:, None] + to_float(paths))


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    at = s.at + take(p.jump, s.at) + to_int(take(p.open, s.far)) * 2 + to_int(action) * 9 - 9
    fork = remainder(slots(s.at, 4), 3) + to_int(s.far)[:, None]
    turned = take(p.cost, s.paths, fork) + where(take(p.wall, s.paths, 1), take(p.height, 1), 0.0)
    paths = s.paths * 2 - take(p.turn, s.paths, 2) - to_int(uniform(rng, 0, 0.0, 4.0))[:, None]
    reward = take(p.cost, s.at, 2) + take(p.cost, 0, to_int(action)) + sum_(turned) * p.noise
    new = State(at, s.far + take(p.turn, 3, s.far), clip(paths, -40, 40), turned)
    return new, reward + to_float(take(p.wall, s.at, s.far)), take(p.wall, s.far) & (at > 30)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    last = take(p.height, rows(p.height) - 1)
    return (
        take(p.height, s.at),
        to_float(s.at),
        to_float(s.far),
        sum_(s.seen),
        sum_(to_float(s.paths)),
        to_float(s.at * 0) + last,
    )


STAIR = Env(
    id="Stair-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-np.inf, np.inf, (6,)),
    action_space=Discrete(3),
    max_episode_steps=7,
    tables=tables(),
)


class Place(NamedTuple):
    at: Lane


def mural_init(rng: Rng, p: Params) -> Place:
    return Place(to_int(uniform(rng, 0, 0.0, 3.0)) + to_int(rng.episode) * 6)


def mural_step(s: Place, action: Lane, rng: Rng, p: Params) -> tuple[Place, Lane, Lane]:
    return Place(s.at + to_int(action) * 9 - 7), take(p.height, s.at), s.at > 25


def mural_observe(s: Place, cell: Lane, p: Params) -> Lane:
    """Rows of the tables from where it stands: the numbers on the left, the walls in two columns on the right."""
    row, column = floor_divide(cell, 5), remainder(cell, 5)
    left = take(p.cost, s.at + row, clip(column, 0, 2)) + take(p.height, row) * p.noise
    return where(column < 3, left, to_float(take(p.wall, s.at + row, clip(column - 2, 0, 2))))


MURAL = Env(
    id="Mural-v0",
    init=mural_init,
    step=mural_step,
    observe=mural_observe,
    params=Params(),
    observation_space=Box(-np.inf, np.inf, (7, 5)),
    action_space=Discrete(2),
    max_episode_steps=5,
    tables=tables(),
)


class Bending(NamedTuple):
    at: Lane
    x: Lane


def bent_init(rng: Rng, p: Params) -> Bending:
    at = to_int(uniform(rng, 0, 0.0, 9.0))
    return Bending(at, torch.tanh(take(p.height, at)))


def bent_step(s: Bending, action: Lane, rng: Rng, p: Params) -> tuple[Bending, Lane, Lane]:
    x = torch.tanh(s.x + take(p.cost, s.at, 1))
    return Bending(s.at + to_int(action) * 8 - 5, x), x, zeros_like(x) > 1.0


BENT = Env(
    id="Bent-v0",
    init=bent_init,
    step=bent_step,
    observe=lambda s, p: (s.x, take(p.height, s.at)),
    params=Params(),
    observation_space=Box(-np.inf, np.inf, (2,)),
    action_space=Discrete(2),
    max_episode_steps=5,
    tables=tables(),
)
