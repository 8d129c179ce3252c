"""MuJoCo/Reacher-v5: an arm of two links brings its tip to a target; it never terminates.

Gymnasium's `ReacherEnv` of that version in MuJoCo 4, see docs/robots.md and tests/envs/mujoco. As there, reward and
observation take the tip where MuJoCo's last forward computation had it, a part of a timestep ago.
"""

import math
from functools import partial
from typing import NamedTuple

from gpusim.env import Env
from gpusim.envs.mujoco.model import Body, Joint, Motor, Robot, between, capsule
from gpusim.envs.mujoco.robot import Picture, Told, box, stepped, unbounded
from gpusim.kernels.lang import Lane, Rng, cos, false_like, sin, sqrt, uniform, uniform4, zeros_like

hinge = partial(Joint, axis="+z", armature=1.0, damping=1.0)

ROBOT = Robot(
    plane="xy",
    timestep=0.01,
    frame_skip=2,
    runge_kutta=True,
    sweeps=3,
    bodies=(
        Body("body0", "", (0.0, 0.0), (hinge("joint0"),), (between((0.0, 0.0), (0.1, 0.0), 0.01),)),
        Body("body1", "body0", (0.1, 0.0), (hinge("joint1", range=(-3.0, 3.0)),), (between((0.0, 0.0), (0.1, 0.0), 0.01),)),
        Body("fingertip", "body1", (0.11, 0.0), (), (capsule((0.0, 0.0), 0.0, 0.01),)),
        Body(
            "target", "", (0.1, -0.1),
            (Joint("target_x", "x", range=(-0.27, 0.27), ref=0.1), Joint("target_y", "y", range=(-0.27, 0.27), ref=-0.1)),
            (capsule((0.0, 0.0), 0.0, 0.009),),
        ),
    ),
    motors=(Motor("joint0", 200.0), Motor("joint1", 200.0)),
    tip=("fingertip", (0.0, 0.0)),
    aim="target",
)  # fmt: skip
TURN = 2.0 * math.pi


class State(NamedTuple):
    joint0: Lane  # shoulder [rad]
    joint1: Lane  # elbow [rad]
    target_x: Lane  # [m]
    target_y: Lane  # [m]
    joint0_dot: Lane  # [rad/s]
    joint1_dot: Lane  # [rad/s]
    target_x_dot: Lane  # [m/s]
    target_y_dot: Lane  # [m/s]
    tip_x: Lane  # from the target to the tip, in MuJoCo's last forward computation [m]
    tip_y: Lane  # [m]


class Params(NamedTuple):
    reward_dist_weight: Lane = 1.0
    reward_control_weight: Lane = 1.0
    damping_scale: Lane = 1.0  # what the joints' damping is multiplied by
    gear_scale: Lane = 1.0  # of motors
    mass_scale: Lane = 1.0  # masses and inertias


def init(rng: Rng, p: Params) -> State:
    joint0, joint1, _, _ = uniform4(rng, 0, -0.1, 0.1)
    rate0, rate1, _, _ = uniform4(rng, 1, -0.005, 0.005)
    share, direction = uniform(rng, 2, 0.0, 1.0), uniform(rng, 3, 0.0, TURN)
    radius = 0.2 * sqrt(share)  # evenly over a disc
    x, y, still = radius * cos(direction), radius * sin(direction), zeros_like(radius)
    tip_x = 0.1 * cos(joint0) + 0.11 * cos(joint0 + joint1) - x
    tip_y = 0.1 * sin(joint0) + 0.11 * sin(joint0 + joint1) - y
    return State(joint0, joint1, x, y, rate0, rate1, still, still, tip_x, tip_y)


def outcome(s: State, action: tuple[Lane, ...], new: State, told: Told, p: Params) -> tuple[Lane, Lane]:
    first, second = action
    distance = sqrt(told.tip_x * told.tip_x + told.tip_y * told.tip_y)
    cost = first * first + second * second
    return -p.reward_dist_weight * distance - p.reward_control_weight * cost, false_like(new.joint0)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return (
        cos(s.joint0), cos(s.joint1), sin(s.joint0), sin(s.joint1),
        s.target_x, s.target_y, s.joint0_dot, s.joint1_dot, s.tip_x, s.tip_y,
    )  # fmt: skip


REACHER = Env(
    id="MuJoCo/Reacher-v5",
    init=init,
    step=stepped(ROBOT, State, outcome),
    observe=observe,
    params=Params(),
    observation_space=unbounded(10),
    action_space=box(2),
    max_episode_steps=50,
    reward_threshold=-3.75,
    render=Picture(ROBOT, width=0.6, height=0.6, follow=False, ground=False, pixels=400),
)
