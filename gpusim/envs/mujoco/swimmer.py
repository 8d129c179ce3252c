"""MuJoCo/Swimmer-v5: three links swim forward in a thick medium; it never terminates.

Gymnasium's `SwimmerEnv` of that version in MuJoCo 4 (Coulom, 2002), see docs/robots.md and tests/envs/mujoco.
"""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from gpusim.env import Env
from gpusim.envs.mujoco.model import Body, Joint, Motor, Robot, between
from gpusim.envs.mujoco.robot import Picture, Told, box, stepped, unbounded
from gpusim.kernels.lang import Lane, Rng, false_like, uniform4

joint = partial(Joint, armature=0.1)
link = partial(between, radius=0.1)
WIDE = math.radians(100.0)

ROBOT = Robot(
    plane="xy",
    timestep=0.01,
    frame_skip=4,
    runge_kutta=True,
    sweeps=3,
    bodies=(
        Body(
            "torso", "", (0.0, 0.0),
            (joint("slider1", "x"), joint("slider2", "y"), joint("free_body_rot", "+z")),
            (link((1.5, 0.0), (0.5, 0.0)),),
        ),
        Body(
            "mid", "torso", (0.5, 0.0),
            (joint("motor1_rot", "+z", range=(-WIDE, WIDE)),), (link((0.0, 0.0), (-1.0, 0.0)),),
        ),
        Body(
            "back", "mid", (-1.0, 0.0),
            (joint("motor2_rot", "+z", range=(-WIDE, WIDE)),), (link((0.0, 0.0), (-1.0, 0.0)),),
        ),
    ),
    motors=(Motor("motor1_rot", 150.0), Motor("motor2_rot", 150.0)),
    fluid=True,
)  # fmt: skip
DT = ROBOT.dt


class State(NamedTuple):
    slider1: Lane  # how far forward [m]
    slider2: Lane  # and to the left [m]
    free_body_rot: Lane  # heading of the first link [rad]
    motor1_rot: Lane  # first joint [rad]
    motor2_rot: Lane  # second joint [rad]
    slider1_dot: Lane  # [m/s]
    slider2_dot: Lane  # [m/s]
    free_body_rot_dot: Lane  # [rad/s]
    motor1_rot_dot: Lane  # [rad/s]
    motor2_rot_dot: Lane  # [rad/s]


class Params(NamedTuple):
    forward_reward_weight: Lane = 1.0
    ctrl_cost_weight: Lane = 1e-4
    reset_noise_scale: Lane = 0.1
    density: Lane = 4000.0  # of the medium [kg/m³]
    viscosity: Lane = 0.1  # [kg/(m·s)]
    gear_scale: Lane = 1.0  # what the motors' gears are multiplied by
    mass_scale: Lane = 1.0  # masses and inertias


def init(rng: Rng, p: Params) -> State:
    scale = p.reset_noise_scale
    x, y, turn, q1 = uniform4(rng, 0, -1.0, 1.0)
    q2, vx, vy, w0 = uniform4(rng, 1, -1.0, 1.0)
    w1, w2, _, _ = uniform4(rng, 2, -1.0, 1.0)
    return State(
        scale * x, scale * y, scale * turn, scale * q1, scale * q2,
        scale * vx, scale * vy, scale * w0, scale * w1, scale * w2,
    )  # fmt: skip


def outcome(s: State, action: tuple[Lane, ...], new: State, told: Told, p: Params) -> tuple[Lane, Lane]:
    first, second = action
    cost = p.ctrl_cost_weight * (first * first + second * second)
    return p.forward_reward_weight * (told.dx / DT) - cost, false_like(new.slider1)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return (
        s.free_body_rot, s.motor1_rot, s.motor2_rot,
        s.slider1_dot, s.slider2_dot, s.free_body_rot_dot, s.motor1_rot_dot, s.motor2_rot_dot,
    )  # fmt: skip


def observe_all(s: State, p: Params) -> tuple[Lane, ...]:
    """With where it is."""
    return (
        s.slider1, s.slider2, s.free_body_rot, s.motor1_rot, s.motor2_rot,
        s.slider1_dot, s.slider2_dot, s.free_body_rot_dot, s.motor1_rot_dot, s.motor2_rot_dot,
    )  # fmt: skip


SWIMMER = Env(
    id="MuJoCo/Swimmer-v5",
    init=init,
    step=stepped(ROBOT, State, outcome),
    observe=observe,
    params=Params(),
    observation_space=unbounded(8),
    action_space=box(2),
    max_episode_steps=1000,
    reward_threshold=360.0,
    render=Picture(ROBOT, width=6.4, height=4.0, ground=False),
)


def swimmer(exclude_current_positions_from_observation: bool = True) -> Env:
    """The environment with Gymnasium's option that changes the shape of observations."""
    if exclude_current_positions_from_observation:
        return SWIMMER
    return replace(SWIMMER, observe=observe_all, observation_space=unbounded(10))
