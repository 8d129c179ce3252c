"""Acrobot-v1: swing a two-link arm above the line by a torque at its elbow (Sutton, 1996; Sutton & Barto, 2018).

Same dynamics as Gymnasium's `AcrobotEnv` (the book's equations, one Runge-Kutta 4 step of 0.2 s), checked against it
step by step in tests/envs/test_parity.py. Reward −1 for every step but the one that arrives.
"""

import math
from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim.env import Env
from gpusim.kernels.lang import Lane, Rng, absolute, ceil, clip, cos, sin, to_float, uniform4, where
from gpusim.render.classic import gymnasium_renderer

PI = math.pi
TWO_PI = 2 * math.pi


class State(NamedTuple):
    theta1: Lane  # first link from hanging down, in [-pi, pi] [rad]
    theta2: Lane  # second link relative to the first, in [-pi, pi] [rad]
    theta1_dot: Lane  # [rad/s]
    theta2_dot: Lane  # [rad/s]


class Params(NamedTuple):
    gravity: Lane = 9.8  # [m/s²]
    length1: Lane = 1.0  # of the first link [m]
    mass1: Lane = 1.0  # [kg]
    mass2: Lane = 1.0  # [kg]
    com1: Lane = 0.5  # from the joint to the link's centre of mass [m]
    com2: Lane = 0.5  # [m]
    inertia: Lane = 1.0  # of either link [kg·m²]
    max_speed1: Lane = 4 * math.pi  # [rad/s]
    max_speed2: Lane = 9 * math.pi  # [rad/s]
    torque: Lane = 1.0  # [N·m]
    dt: Lane = 0.2  # [s]


def init(rng: Rng, p: Params) -> State:
    theta1, theta2, theta1_dot, theta2_dot = uniform4(rng, 0, -0.1, 0.1)
    return State(theta1, theta2, theta1_dot, theta2_dot)


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    torque = to_float(action - 1) * p.torque
    k1 = _derivative(s, torque, p)
    k2 = _derivative(_move(s, k1, 0.5 * p.dt), torque, p)
    k3 = _derivative(_move(s, k2, 0.5 * p.dt), torque, p)
    k4 = _derivative(_move(s, k3, p.dt), torque, p)
    end = _move(_move(_move(_move(s, k1, p.dt / 6.0), k2, p.dt / 3.0), k3, p.dt / 3.0), k4, p.dt / 6.0)
    new = State(
        _wrap(end.theta1),
        _wrap(end.theta2),
        clip(end.theta1_dot, -p.max_speed1, p.max_speed1),
        clip(end.theta2_dot, -p.max_speed2, p.max_speed2),
    )
    arrived = -cos(new.theta1) - cos(new.theta1 + new.theta2) > 1.0
    return new, where(arrived, 0.0, -1.0), arrived


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return cos(s.theta1), sin(s.theta1), cos(s.theta2), sin(s.theta2), s.theta1_dot, s.theta2_dot


def _move(s: State, rate: State, dt: Lane) -> State:
    return State(
        s.theta1 + dt * rate.theta1,
        s.theta2 + dt * rate.theta2,
        s.theta1_dot + dt * rate.theta1_dot,
        s.theta2_dot + dt * rate.theta2_dot,
    )


def _derivative(s: State, torque: Lane, p: Params) -> State:
    sin2, cos2 = sin(s.theta2), cos(s.theta2)
    coupling = p.mass2 * p.length1 * p.com2
    d1 = (
        p.mass1 * p.com1 * p.com1
        + p.mass2 * (p.length1 * p.length1 + p.com2 * p.com2)
        + 2.0 * p.inertia
        + 2.0 * coupling * cos2
    )
    d2 = p.mass2 * p.com2 * p.com2 + p.inertia + coupling * cos2
    phi2 = p.mass2 * p.com2 * p.gravity * sin(s.theta1 + s.theta2)
    phi1 = (
        phi2
        + (p.mass1 * p.com1 + p.mass2 * p.length1) * p.gravity * sin(s.theta1)
        - coupling * s.theta2_dot * (s.theta2_dot + 2.0 * s.theta1_dot) * sin2
    )
    acc2 = (torque + d2 / d1 * phi1 - coupling * s.theta1_dot * s.theta1_dot * sin2 - phi2) / (
        p.mass2 * p.com2 * p.com2 + p.inertia - d2 * d2 / d1
    )
    acc1 = -(d2 * acc2 + phi1) / d1
    return State(s.theta1_dot, s.theta2_dot, acc1, acc2)


def _wrap(angle: Lane) -> Lane:
    turns = ceil((absolute(angle) - PI) / TWO_PI)
    return angle - TWO_PI * where(angle > 0.0, turns, -turns)


_HIGH = np.array([1.0, 1.0, 1.0, 1.0, 4 * math.pi, 9 * math.pi], dtype=np.float32)

ACROBOT = Env(
    id="Acrobot-v1",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-_HIGH, _HIGH),
    action_space=Discrete(3),
    max_episode_steps=500,
    reward_threshold=-100.0,
    render=gymnasium_renderer("Acrobot-v1", fps=15, LINK_LENGTH_1="length1"),
)
