"""Environments that use all an `Env` may.

Toy: draws in its step, ints, entities, two actions, shared tensors; beyond the vocabulary. Within it: Drift, three
actions, draws in its step, an int64 and a reward of bools; Swarm, entities `[N, 8]` and a reward of ints; Trail, which
is seen as an image of bools, and Dusk, as one of floats with entities and parameters in it.
"""

from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from gpusim import Env
from gpusim.kernels.lang import (
    Lane,
    Rng,
    absolute,
    any_,
    clip,
    cumsum,
    floor_divide,
    max_,
    min_,
    minimum,
    ones_like,
    remainder,
    slots,
    sum_,
    to_float,
    to_int,
    uniform,
    uniform4,
    where,
    zeros_like,
)


class State(NamedTuple):
    x: Lane
    y: Lane
    count: Lane  # int64
    trail: Lane  # [N, 4] the last places
    push: Lane  # the last action


class Params(NamedTuple):
    noise: Lane = 0.2
    edge: Lane = 1.0


def init(rng: Rng, p: Params) -> State:
    x, y, _, _ = uniform4(rng, 0, -0.5, 0.5)
    return State(x, y * p.edge, torch.zeros_like(x, dtype=torch.int64), x[:, None].repeat(1, 4), zeros_like(x))


def step(s: State, action: tuple[Lane, Lane], rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    gust, jolt, _, _ = uniform4(rng, 0, -1.0, 1.0)
    x = s.x + 0.3 * action[0] + gust * p.noise
    y = clip(s.y + 0.3 * action[1] + jolt * p.noise, -2.0, 2.0)
    new = State(x, y, s.count + 1, torch.cat([s.trail[:, 1:], x[:, None]], 1), action[0])
    return new, new.x, (x > p.edge) | (x < -p.edge)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return clip(s.x, -5.0, 5.0), s.y, where(s.count > 2, p.edge, -1.0) + zeros_like(s.x), s.trail.sum(1)


TOY = Env(
    id="Toy-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-20.0, 20.0, (4,)),
    action_space=Box(np.float32([-1, -2]), np.float32([1, 2])),
    max_episode_steps=9,
)


class Drifting(NamedTuple):
    x: Lane
    push: Lane  # the last action
    count: Lane  # int64


def drift_init(rng: Rng, p: Params) -> Drifting:
    x = uniform(rng, 0, -0.5, 0.5) * p.edge
    return Drifting(x, zeros_like(x), rng.episode * 0)


def drift_step(s: Drifting, action: tuple[Lane, Lane, Lane], rng: Rng, p: Params) -> tuple[Drifting, Lane, Lane]:
    gust, jolt, _, _ = uniform4(rng, 0, -1.0, 1.0)
    late = uniform(rng, 1, 0.0, 1.0)
    x = s.x + 0.2 * (action[0] - action[1] + action[2]) + (gust + jolt * late) * p.noise
    return Drifting(x, action[1], s.count + 1), x > s.x, absolute(x) > p.edge


def drift_observe(s: Drifting, p: Params) -> tuple[Lane, ...]:
    return s.x, s.push, to_float(s.count), p.edge + zeros_like(s.x)


DRIFT = Env(
    id="Drift-v0",
    init=drift_init,
    step=drift_step,
    observe=drift_observe,
    params=Params(),
    observation_space=Box(-20.0, 20.0, (4,)),
    action_space=Box(np.float32([-1, -2, 0]), np.float32([1, 2, 3])),
    max_episode_steps=6,
)


class Swarming(NamedTuple):
    x: Lane
    height: Lane  # [N, 8]
    alive: Lane  # [N, 8] bool
    seen: Lane  # [N, 8] int32 how many have come to each slot


class Falling(NamedTuple):
    rate: Lane = 0.7
    speed: Lane = 0.15
    reach: Lane = 0.3


SLOTS = 8


def swarm_init(rng: Rng, p: Falling) -> Swarming:
    x, rate, _, _ = uniform4(rng, 0, 0.0, 1.0)
    slot = slots(x, SLOTS)
    return Swarming(
        x, to_float(slot) * 0.1 + (1.0 - p.speed + x * 0)[:, None], slot < to_int(rate * 3)[:, None], slot * 0
    )


def swarm_step(s: Swarming, action: Lane, rng: Rng, p: Falling) -> tuple[Swarming, Lane, Lane]:
    chance, height, _, _ = uniform4(rng, 0, 0.0, 1.0)
    x = clip(s.x + where(action == 0, -0.2, where(action == 2, 0.2, 0.0)), 0.0, 1.0)
    free = ~s.alive
    come = free & (cumsum(free) == 1) & (chance < p.rate)[:, None]
    fall = where(come, (height + 1.0)[:, None], s.height) - (p.speed + x * 0)[:, None]
    alive = s.alive | come
    hit = alive & (absolute(fall - x[:, None]) < (p.reach + x * 0)[:, None]) & (action == 1)[:, None]
    alive = alive & ~hit
    return Swarming(x, fall, alive, s.seen + to_int(come)), sum_(hit), any_(alive & (fall < 0.0))


def swarm_observe(s: Swarming, p: Falling) -> tuple[Lane, ...]:
    lowest, highest = min_(where(s.alive, s.height, 3.0)), max_(where(s.alive, s.height, 0.0))
    return s.x, lowest, highest, to_float(sum_(s.alive)), to_float(sum_(s.seen))


SWARM = Env(
    id="Swarm-v0",
    init=swarm_init,
    step=swarm_step,
    observe=swarm_observe,
    params=Falling(),
    observation_space=Box(-20.0, 200.0, (5,)),
    action_space=Discrete(3),
    max_episode_steps=12,
)


class Walking(NamedTuple):
    at: Lane  # int32 place among 25
    board: Lane  # int32 bit mask of the places seen
    age: Lane  # [N, 4] how long ago each of four marks was passed


class Light(NamedTuple):
    fade: Lane = 0.25
    glow: Lane = 0.5


def trail_init(rng: Rng, p: Light) -> Walking:
    at = to_int(uniform(rng, 0, 0.0, 25.0))
    return Walking(at, ones_like(at) << at, to_float(slots(at, 4)) * (p.fade + to_float(at) * 0.01)[:, None])


def trail_step(s: Walking, action: Lane, rng: Rng, p: Light) -> tuple[Walking, Lane, Lane]:
    at = remainder(where(action == 0, s.at + 1, s.at + 5), 25)
    known = ((s.board >> at) & 1) == 1
    met = slots(at, 4) * 6 == at[:, None]
    return Walking(at, s.board | (ones_like(at) << at), where(met, 0.0, s.age + 0.25)), ~known, known & (at > 12)


def trail_observe(s: Walking, cell: Lane, p: Light) -> Lane:
    place = floor_divide(cell, 2)
    return where(remainder(cell, 2) == 0, ((s.board >> place) & 1) == 1, s.at == place)


TRAIL = Env(
    id="Trail-v0",
    init=trail_init,
    step=trail_step,
    observe=trail_observe,
    params=Light(),
    observation_space=Box(0, 1, (5, 5, 2), dtype=np.bool_),
    action_space=Discrete(2),
    max_episode_steps=9,
)


def dusk_observe(s: Walking, cell: Lane, p: Light) -> Lane:
    """The trail on the left, the marks on the right, 12 rows of 13."""
    row, column = floor_divide(cell, 13), remainder(cell, 13)
    place = minimum(row * 5 + column, 24)
    seen = to_float((s.board >> place) & 1) * p.glow + where(place == s.at, p.fade, 0.0)
    mark = slots(cell, 4) == remainder(cell, 4)[:, :, None]
    age = sum_(where(mark & (s.age < 2.0), s.age, 0.0)) * 0.2
    return where(column < 5, seen, age)


DUSK = Env(
    id="Dusk-v0",
    init=trail_init,
    step=trail_step,
    observe=dusk_observe,
    params=Light(),
    observation_space=Box(0.0, 1.0, (12, 13)),
    action_space=Discrete(2),
    max_episode_steps=7,
)

LOWERED = (DRIFT, SWARM, TRAIL, DUSK)
