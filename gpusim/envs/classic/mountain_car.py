"""MountainCar-v0: an underpowered car has to swing up a hill (Moore, 1990); reward −1 for every step.

Same dynamics as Gymnasium's `MountainCarEnv`, checked against it step by step in tests/envs/test_parity.py.
"""

from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim.env import Env
from gpusim.kernels.lang import Lane, Rng, clip, cos, ones_like, to_float, uniform, where, zeros_like
from gpusim.render.classic import gymnasium_renderer


class State(NamedTuple):
    position: Lane  # along the track
    velocity: Lane  # per step


class Params(NamedTuple):
    force: Lane = 0.001
    gravity: Lane = 0.0025
    min_position: Lane = -1.2
    max_position: Lane = 0.6
    max_speed: Lane = 0.07
    goal_position: Lane = 0.5
    goal_velocity: Lane = 0.0


def init(rng: Rng, p: Params) -> State:
    position = uniform(rng, 0, -0.6, -0.4)
    return State(position, zeros_like(position))


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    velocity = s.velocity + to_float(action - 1) * p.force - cos(3.0 * s.position) * p.gravity
    velocity = clip(velocity, -p.max_speed, p.max_speed)
    position = clip(s.position + velocity, p.min_position, p.max_position)
    velocity = where((position <= p.min_position) & (velocity < 0.0), 0.0, velocity)
    arrived = (position >= p.goal_position) & (velocity >= p.goal_velocity)
    return State(position, velocity), -ones_like(position), arrived


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return s.position, s.velocity


MOUNTAIN_CAR = Env(
    id="MountainCar-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32)),
    action_space=Discrete(3),
    max_episode_steps=200,
    reward_threshold=-110.0,
    render=gymnasium_renderer("MountainCar-v0", "min_position", "max_position", "goal_position", fps=30),
)
