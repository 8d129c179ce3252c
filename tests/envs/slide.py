"""A puck that slides between two walls, twice: as an `Env`, and as a simulator with its state in memory of its own.

Both compute with additions and products alone, so that they are equal bit for bit, on NumPy and on torch.
"""

from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from gpusim import Env
from gpusim.kernels.lang import STREAM_INIT, Lane, Rng, absolute, uniform4, where


class State(NamedTuple):
    x: Lane  # [m]
    speed: Lane  # [m/s]


class Params(NamedTuple):
    push: Lane = 0.25
    dt: Lane = 0.25
    wall: Lane = 1.0


def init(rng: Rng, p: Params) -> State:
    x, speed, _, _ = uniform4(rng, 0, -0.5, 0.5)
    return State(x, speed)


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    speed = s.speed + where(action == 1, p.push, -p.push)
    x = s.x + speed * p.dt
    return State(x, speed), 1.0 - absolute(x), absolute(x) > p.wall


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return s.x, s.speed


SLIDE = Env(
    id="Slide-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-np.inf, np.inf, (2,)),
    action_space=Discrete(2),
    max_episode_steps=20,
)


class Slides:
    """`gpusim.sim.protocol.Simulator`: places and speeds lie in one tensor, which every step writes to."""

    task = SLIDE

    def __init__(self, num_envs):
        self.num_envs, self.device = num_envs, torch.device("cpu")
        self.pucks = torch.full((num_envs, 2), torch.nan)  # place, speed
        self.seen = torch.empty(num_envs, 2)

    def begin(self, mask, seed, index, episode):
        x, speed, _, _ = uniform4(Rng(seed, index, episode, 0, STREAM_INIT), 0, -0.5, 0.5)
        self.pucks.copy_(torch.where(mask[:, None], torch.stack([x, speed], 1), self.pucks))

    def step(self, actions):
        self.pucks[:, 1] += torch.where(actions == 1, 0.25, -0.25)
        self.pucks[:, 0] += self.pucks[:, 1] * 0.25
        x = self.pucks[:, 0]
        return 1.0 - x.abs(), x.abs() > 1.0

    def observe(self):
        return self.seen.copy_(self.pucks)

    def state(self):
        return Pucks(self.pucks)

    def load(self, state):
        self.pucks.copy_(state.pucks)


class Pucks(NamedTuple):
    pucks: torch.Tensor  # [N, 2]
