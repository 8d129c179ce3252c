"""MuJoCo/Walker2d-v5: two legs walk forward without falling.

Gymnasium's `Walker2dEnv` of that version in MuJoCo 4, see docs/robots.md and tests/envs/mujoco.
"""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from gpusim.env import Env
from gpusim.envs.mujoco.model import Body, Contact, Joint, Motor, Robot, capsule
from gpusim.envs.mujoco.robot import Picture, Told, box, stepped, unbounded
from gpusim.kernels.lang import Lane, Rng, clip, uniform4, where

hinge = partial(Joint, axis="-y", damping=0.1, armature=0.01)
FOLDED, HALF = math.radians(150.0), math.radians(45.0)


def limb(side: str) -> tuple[Body, ...]:
    return (
        Body(
            f"thigh{side}", "torso", (0.0, -0.2),
            (hinge(f"thigh{side}_joint", range=(-FOLDED, 0.0)),), (capsule((0.0, -0.225), 0.225, 0.05, friction=0.9),),
        ),
        Body(
            f"leg{side}", f"thigh{side}", (0.0, -0.7),
            (hinge(f"leg{side}_joint", pos=(0.0, 0.25), range=(-FOLDED, 0.0)),),
            (capsule((0.0, 0.0), 0.25, 0.04, friction=0.9),),
        ),
        Body(
            f"foot{side}", f"leg{side}", (0.2, -0.35),
            (hinge(f"foot{side}_joint", pos=(-0.2, 0.1), range=(-HALF, HALF)),),
            (capsule((-0.1, 0.1), 0.1, 0.06, -math.pi / 2, friction=1.9),),
        ),
    )  # fmt: skip


ROBOT = Robot(
    plane="xz",
    timestep=0.002,
    frame_skip=4,
    runge_kutta=True,
    sweeps=8,
    bodies=(
        Body(
            "torso", "", (0.0, 1.25),
            (Joint("rootx", "x"), Joint("rootz", "z", ref=1.25), Joint("rooty", "+y")),
            (capsule((0.0, 0.0), 0.2, 0.05, friction=0.9),),
        ),
        *limb(""),
        *limb("_left"),
    ),
    motors=(
        Motor("thigh_joint", 100.0), Motor("leg_joint", 100.0), Motor("foot_joint", 100.0),
        Motor("thigh_left_joint", 100.0), Motor("leg_left_joint", 100.0), Motor("foot_left_joint", 100.0),
    ),
    contact=Contact(friction=0.7),
    gravity=(0.0, -9.81),
)  # fmt: skip
DT = ROBOT.dt


class State(NamedTuple):
    rootx: Lane  # how far forward [m]
    rootz: Lane  # height of the torso's middle [m]
    rooty: Lane  # pitch of the torso, forwards [rad]
    thigh_joint: Lane  # right hip [rad]
    leg_joint: Lane  # right knee [rad]
    foot_joint: Lane  # right ankle [rad]
    thigh_left_joint: Lane  # left hip [rad]
    leg_left_joint: Lane  # left knee [rad]
    foot_left_joint: Lane  # left ankle [rad]
    rootx_dot: Lane  # [m/s]
    rootz_dot: Lane  # [m/s]
    rooty_dot: Lane  # [rad/s]
    thigh_joint_dot: Lane  # [rad/s]
    leg_joint_dot: Lane  # [rad/s]
    foot_joint_dot: Lane  # [rad/s]
    thigh_left_joint_dot: Lane  # [rad/s]
    leg_left_joint_dot: Lane  # [rad/s]
    foot_left_joint_dot: Lane  # [rad/s]


class Params(NamedTuple):
    forward_reward_weight: Lane = 1.0
    ctrl_cost_weight: Lane = 1e-3
    healthy_reward: Lane = 1.0
    terminate_when_unhealthy: Lane = 1.0  # 0: episodes go on
    healthy_z_low: Lane = 0.8  # height [m]
    healthy_z_high: Lane = 2.0
    healthy_angle_low: Lane = -1.0  # pitch [rad]
    healthy_angle_high: Lane = 1.0
    reset_noise_scale: Lane = 5e-3
    gravity: Lane = 9.81  # [m/s²]
    friction_scale: Lane = 1.0  # what the model's friction is multiplied by
    damping_scale: Lane = 1.0  # of joints
    gear_scale: Lane = 1.0  # of motors
    mass_scale: Lane = 1.0  # masses and inertias


def init(rng: Rng, p: Params) -> State:
    scale = p.reset_noise_scale
    x, z, y, a1 = uniform4(rng, 0, -1.0, 1.0)
    a2, a3, b1, b2 = uniform4(rng, 1, -1.0, 1.0)
    b3, vx, vz, vy = uniform4(rng, 2, -1.0, 1.0)
    w1, w2, w3, w4 = uniform4(rng, 3, -1.0, 1.0)
    w5, w6, _, _ = uniform4(rng, 4, -1.0, 1.0)
    return State(
        scale * x, 1.25 + scale * z, scale * y, scale * a1, scale * a2, scale * a3, scale * b1, scale * b2, scale * b3,
        scale * vx, scale * vz, scale * vy, scale * w1, scale * w2, scale * w3, scale * w4, scale * w5, scale * w6,
    )  # fmt: skip


def outcome(s: State, action: tuple[Lane, ...], new: State, told: Told, p: Params) -> tuple[Lane, Lane]:
    a1, a2, a3, b1, b2, b3 = action
    high = (new.rootz > p.healthy_z_low) & (new.rootz < p.healthy_z_high)
    healthy = high & (new.rooty > p.healthy_angle_low) & (new.rooty < p.healthy_angle_high)
    cost = p.ctrl_cost_weight * (a1 * a1 + a2 * a2 + a3 * a3 + b1 * b1 + b2 * b2 + b3 * b3)
    reward = p.forward_reward_weight * (told.dx / DT) + where(healthy, p.healthy_reward, 0.0) - cost
    return reward, ~healthy & (p.terminate_when_unhealthy > 0.0)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return (
        s.rootz, s.rooty, s.thigh_joint, s.leg_joint, s.foot_joint, s.thigh_left_joint, s.leg_left_joint, s.foot_left_joint,
        clip(s.rootx_dot, -10.0, 10.0), clip(s.rootz_dot, -10.0, 10.0), clip(s.rooty_dot, -10.0, 10.0),
        clip(s.thigh_joint_dot, -10.0, 10.0), clip(s.leg_joint_dot, -10.0, 10.0), clip(s.foot_joint_dot, -10.0, 10.0),
        clip(s.thigh_left_joint_dot, -10.0, 10.0), clip(s.leg_left_joint_dot, -10.0, 10.0),
        clip(s.foot_left_joint_dot, -10.0, 10.0),
    )  # fmt: skip


def observe_all(s: State, p: Params) -> tuple[Lane, ...]:
    """With how far it is."""
    return (
        s.rootx, s.rootz, s.rooty, s.thigh_joint, s.leg_joint, s.foot_joint,
        s.thigh_left_joint, s.leg_left_joint, s.foot_left_joint,
        clip(s.rootx_dot, -10.0, 10.0), clip(s.rootz_dot, -10.0, 10.0), clip(s.rooty_dot, -10.0, 10.0),
        clip(s.thigh_joint_dot, -10.0, 10.0), clip(s.leg_joint_dot, -10.0, 10.0), clip(s.foot_joint_dot, -10.0, 10.0),
        clip(s.thigh_left_joint_dot, -10.0, 10.0), clip(s.leg_left_joint_dot, -10.0, 10.0),
        clip(s.foot_left_joint_dot, -10.0, 10.0),
    )  # fmt: skip


WALKER2D = Env(
    id="MuJoCo/Walker2d-v5",
    init=init,
    step=stepped(ROBOT, State, outcome),
    observe=observe,
    params=Params(),
    observation_space=unbounded(17),
    action_space=box(6),
    max_episode_steps=1000,
    render=Picture(ROBOT, width=3.2, height=2.0, centre=(0.0, 0.8)),
)


def walker2d(exclude_current_positions_from_observation: bool = True) -> Env:
    """The environment with Gymnasium's option that changes the shape of observations."""
    if exclude_current_positions_from_observation:
        return WALKER2D
    return replace(WALKER2D, observe=observe_all, observation_space=unbounded(18))
