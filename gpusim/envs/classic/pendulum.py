"""Pendulum-v1: swing a pendulum up and hold it, paying for angle, speed and torque; it never terminates.

Same dynamics as Gymnasium's `PendulumEnv` (semi-implicit Euler), checked against it step by step in
tests/envs/test_parity.py. StatelessPendulum-v1 shows the angle alone, as POPGym's does (Morad et al., 2023): the speed has
to be remembered.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box

from gpusim.env import Env
from gpusim.kernels.lang import Lane, Rng, clip, cos, false_like, remainder, sin, uniform4
from gpusim.render.classic import gymnasium_renderer

PI = math.pi
TWO_PI = 2 * math.pi


class State(NamedTuple):
    theta: Lane  # angle from upright, not wrapped [rad]
    theta_dot: Lane  # [rad/s]


class Params(NamedTuple):
    gravity: Lane = 10.0  # [m/s²]
    mass: Lane = 1.0  # [kg]
    length: Lane = 1.0  # [m]
    max_speed: Lane = 8.0  # [rad/s]
    max_torque: Lane = 2.0  # [N·m]
    dt: Lane = 0.05  # [s]


def init(rng: Rng, p: Params) -> State:
    theta, theta_dot, _, _ = uniform4(rng, 0, -1.0, 1.0)
    return State(theta * PI, theta_dot)


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    torque = clip(action, -p.max_torque, p.max_torque)
    angle = remainder(s.theta + PI, TWO_PI) - PI
    cost = angle * angle + 0.1 * s.theta_dot * s.theta_dot + 0.001 * torque * torque
    acceleration = 3.0 * p.gravity / (2.0 * p.length) * sin(s.theta) + 3.0 / (p.mass * p.length * p.length) * torque
    theta_dot = clip(s.theta_dot + acceleration * p.dt, -p.max_speed, p.max_speed)
    theta = s.theta + theta_dot * p.dt
    return State(theta, theta_dot), -cost, false_like(theta)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return cos(s.theta), sin(s.theta), s.theta_dot


def observe_angle(s: State, p: Params) -> tuple[Lane, ...]:
    return cos(s.theta), sin(s.theta)


_HIGH = np.array([1.0, 1.0, 8.0], dtype=np.float32)

PENDULUM = Env(
    id="Pendulum-v1",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-_HIGH, _HIGH),
    action_space=Box(-2.0, 2.0, (1,)),
    max_episode_steps=200,
    reward_threshold=None,
    render=gymnasium_renderer("Pendulum-v1", fps=30, torque="last_u"),
)

STATELESS_PENDULUM = replace(
    PENDULUM,
    id="StatelessPendulum-v1",
    observe=observe_angle,
    observation_space=Box(-_HIGH[:2], _HIGH[:2]),
)
