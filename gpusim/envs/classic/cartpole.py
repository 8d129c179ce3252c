"""CartPole-v1: balance a pole on a cart by pushing it left or right (Barto, Sutton & Anderson, 1983).

Same dynamics, reward and limits as Gymnasium's `CartPoleEnv` (Euler integration, reward 1 for every step, the last
included), checked against it step by step in tests/envs/test_parity.py. StatelessCartPole-v1 shows the two positions
alone, as POPGym's does (Morad et al., 2023): how fast they change has to be remembered.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim.env import Env
from gpusim.kernels.lang import Lane, Rng, absolute, cos, ones_like, sin, uniform4, where
from gpusim.render.classic import gymnasium_renderer


class State(NamedTuple):
    x: Lane  # cart position [m]
    x_dot: Lane  # [m/s]
    theta: Lane  # pole angle from upright [rad]
    theta_dot: Lane  # [rad/s]


class Params(NamedTuple):
    gravity: Lane = 9.8  # [m/s²]
    mass_cart: Lane = 1.0  # [kg]
    mass_pole: Lane = 0.1  # [kg]
    half_length: Lane = 0.5  # of the pole [m]
    force: Lane = 10.0  # of a push [N]
    dt: Lane = 0.02  # [s]
    theta_limit: Lane = 12 * math.pi / 180  # [rad]
    x_limit: Lane = 2.4  # [m]


def init(rng: Rng, p: Params) -> State:
    x, x_dot, theta, theta_dot = uniform4(rng, 0, -0.05, 0.05)
    return State(x, x_dot, theta, theta_dot)


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    sin_theta, cos_theta = sin(s.theta), cos(s.theta)
    mass = p.mass_cart + p.mass_pole
    pole = p.mass_pole * p.half_length / mass
    push = where(action == 1, p.force / mass, -p.force / mass)
    drive = push + s.theta_dot * s.theta_dot * sin_theta * pole
    inertia = p.half_length * (4.0 / 3.0) - cos_theta * cos_theta * pole
    theta_acc = (sin_theta * p.gravity - cos_theta * drive) / inertia
    x_acc = drive - theta_acc * cos_theta * pole
    new = State(
        s.x + p.dt * s.x_dot,
        s.x_dot + p.dt * x_acc,
        s.theta + p.dt * s.theta_dot,
        s.theta_dot + p.dt * theta_acc,
    )
    fallen = (absolute(new.x) > p.x_limit) | (absolute(new.theta) > p.theta_limit)
    return new, ones_like(s.x), fallen


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return s.x, s.x_dot, s.theta, s.theta_dot


def observe_positions(s: State, p: Params) -> tuple[Lane, ...]:
    return s.x, s.theta


_HIGH = np.array([4.8, np.inf, 24 * math.pi / 180, np.inf], dtype=np.float32)

CARTPOLE = Env(
    id="CartPole-v1",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-_HIGH, _HIGH),
    action_space=Discrete(2),
    max_episode_steps=500,
    reward_threshold=475.0,
    render=gymnasium_renderer("CartPole-v1", fps=50, length="half_length", x_threshold="x_limit"),
)

STATELESS_CARTPOLE = replace(
    CARTPOLE,
    id="StatelessCartPole-v1",
    observe=observe_positions,
    observation_space=Box(-_HIGH[[0, 2]], _HIGH[[0, 2]]),
)
