"""An environment that uses all an `Env` may: draws in its step, ints, entities, two actions, shared tensors."""

from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box

from gpusim import Env
from gpusim.kernels.lang import Lane, Rng, clip, uniform4, where, zeros_like


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
