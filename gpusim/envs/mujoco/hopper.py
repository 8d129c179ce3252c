"""MuJoCo/Hopper-v5: a leg with a foot hops forward without falling.

Gymnasium's `HopperEnv` of that version in MuJoCo 4 (Erez, Tassa & Todorov, 2012), see docs/robots.md and tests/envs/mujoco.
"""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from gpusim.env import Env
from gpusim.envs.mujoco.model import Body, Contact, Joint, Motor, Robot, capsule
from gpusim.envs.mujoco.robot import Picture, Told, box, stepped, unbounded
from gpusim.kernels.lang import Lane, Rng, clip, maximum, uniform4, where

leg = partial(Joint, axis="-y", damping=1.0, armature=1.0)
FOLDED, HALF = math.radians(150.0), math.radians(45.0)

ROBOT = Robot(
    plane="xz",
    timestep=0.002,
    frame_skip=4,
    runge_kutta=True,
    sweeps=5,
    bodies=(
        Body(
            "torso", "", (0.0, 1.25),
            (Joint("rootx", "x"), Joint("rootz", "z", ref=1.25), Joint("rooty", "+y")),
            (capsule((0.0, 0.0), 0.2, 0.05, friction=0.9),),
        ),
        Body(
            "thigh", "torso", (0.0, -0.2),
            (leg("thigh_joint", range=(-FOLDED, 0.0)),), (capsule((0.0, -0.225), 0.225, 0.05, friction=0.9),),
        ),
        Body(
            "leg", "thigh", (0.0, -0.7),
            (leg("leg_joint", pos=(0.0, 0.25), range=(-FOLDED, 0.0)),), (capsule((0.0, 0.0), 0.25, 0.04, friction=0.9),),
        ),
        Body(
            "foot", "leg", (0.13, -0.35),
            (leg("foot_joint", pos=(-0.13, 0.1), range=(-HALF, HALF)),),
            (capsule((-0.065, 0.1), 0.195, 0.06, -math.pi / 2, friction=2.0),),
        ),
    ),
    motors=(Motor("thigh_joint", 200.0), Motor("leg_joint", 200.0), Motor("foot_joint", 200.0)),
    contact=Contact(margin=0.002, solimp=(0.8, 0.8, 0.01), with_itself=True),
    gravity=(0.0, -9.81),
)  # fmt: skip
DT = ROBOT.dt


class State(NamedTuple):
    rootx: Lane  # how far forward [m]
    rootz: Lane  # height of the torso's middle [m]
    rooty: Lane  # pitch of the torso, forwards [rad]
    thigh_joint: Lane  # hip [rad]
    leg_joint: Lane  # knee [rad]
    foot_joint: Lane  # ankle [rad]
    rootx_dot: Lane  # [m/s]
    rootz_dot: Lane  # [m/s]
    rooty_dot: Lane  # [rad/s]
    thigh_joint_dot: Lane  # [rad/s]
    leg_joint_dot: Lane  # [rad/s]
    foot_joint_dot: Lane  # [rad/s]


class Params(NamedTuple):
    forward_reward_weight: Lane = 1.0
    ctrl_cost_weight: Lane = 1e-3
    healthy_reward: Lane = 1.0
    terminate_when_unhealthy: Lane = 1.0  # 0: episodes go on
    healthy_state_low: Lane = -100.0  # within which all angles and rates are, but the height
    healthy_state_high: Lane = 100.0
    healthy_z_low: Lane = 0.7  # height [m]
    healthy_z_high: Lane = 1e9
    healthy_angle_low: Lane = -0.2  # pitch [rad]
    healthy_angle_high: Lane = 0.2
    reset_noise_scale: Lane = 5e-3
    gravity: Lane = 9.81  # [m/s²]
    friction_scale: Lane = 1.0  # what the model's friction is multiplied by
    damping_scale: Lane = 1.0  # of joints
    gear_scale: Lane = 1.0  # of motors
    mass_scale: Lane = 1.0  # masses and inertias


def init(rng: Rng, p: Params) -> State:
    scale = p.reset_noise_scale
    x, z, y, q1 = uniform4(rng, 0, -1.0, 1.0)
    q2, q3, vx, vz = uniform4(rng, 1, -1.0, 1.0)
    vy, w1, w2, w3 = uniform4(rng, 2, -1.0, 1.0)
    return State(
        scale * x, 1.25 + scale * z, scale * y, scale * q1, scale * q2, scale * q3,
        scale * vx, scale * vz, scale * vy, scale * w1, scale * w2, scale * w3,
    )  # fmt: skip


def outcome(s: State, action: tuple[Lane, ...], new: State, told: Told, p: Params) -> tuple[Lane, Lane]:
    thigh, leg, foot = action
    well = healthy(new, p)
    cost = p.ctrl_cost_weight * (thigh * thigh + leg * leg + foot * foot)
    reward = p.forward_reward_weight * (told.dx / DT) + where(well, p.healthy_reward, 0.0) - cost
    return reward, ~well & (p.terminate_when_unhealthy > 0.0)


def healthy(s: State, p: Params) -> Lane:
    upright = (s.rooty > p.healthy_angle_low) & (s.rooty < p.healthy_angle_high)
    high = (s.rootz > p.healthy_z_low) & (s.rootz < p.healthy_z_high)
    least, most = -s.rooty, s.rooty
    least, most = maximum(least, -s.thigh_joint), maximum(most, s.thigh_joint)
    least, most = maximum(least, -s.leg_joint), maximum(most, s.leg_joint)
    least, most = maximum(least, -s.foot_joint), maximum(most, s.foot_joint)
    least, most = maximum(least, -s.rootx_dot), maximum(most, s.rootx_dot)
    least, most = maximum(least, -s.rootz_dot), maximum(most, s.rootz_dot)
    least, most = maximum(least, -s.rooty_dot), maximum(most, s.rooty_dot)
    least, most = maximum(least, -s.thigh_joint_dot), maximum(most, s.thigh_joint_dot)
    least, most = maximum(least, -s.leg_joint_dot), maximum(most, s.leg_joint_dot)
    least, most = maximum(least, -s.foot_joint_dot), maximum(most, s.foot_joint_dot)
    return upright & high & (-least > p.healthy_state_low) & (most < p.healthy_state_high)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return (
        s.rootz, s.rooty, s.thigh_joint, s.leg_joint, s.foot_joint,
        clip(s.rootx_dot, -10.0, 10.0), clip(s.rootz_dot, -10.0, 10.0), clip(s.rooty_dot, -10.0, 10.0),
        clip(s.thigh_joint_dot, -10.0, 10.0), clip(s.leg_joint_dot, -10.0, 10.0), clip(s.foot_joint_dot, -10.0, 10.0),
    )  # fmt: skip


def observe_all(s: State, p: Params) -> tuple[Lane, ...]:
    """With how far it is."""
    return (
        s.rootx, s.rootz, s.rooty, s.thigh_joint, s.leg_joint, s.foot_joint,
        clip(s.rootx_dot, -10.0, 10.0), clip(s.rootz_dot, -10.0, 10.0), clip(s.rooty_dot, -10.0, 10.0),
        clip(s.thigh_joint_dot, -10.0, 10.0), clip(s.leg_joint_dot, -10.0, 10.0), clip(s.foot_joint_dot, -10.0, 10.0),
    )  # fmt: skip


HOPPER = Env(
    id="MuJoCo/Hopper-v5",
    init=init,
    step=stepped(ROBOT, State, outcome),
    observe=observe,
    params=Params(),
    observation_space=unbounded(11),
    action_space=box(3),
    max_episode_steps=1000,
    reward_threshold=3800.0,
    render=Picture(ROBOT, width=3.2, height=2.0, centre=(0.0, 0.8)),
)


def hopper(exclude_current_positions_from_observation: bool = True) -> Env:
    """The environment with Gymnasium's option that changes the shape of observations."""
    if exclude_current_positions_from_observation:
        return HOPPER
    return replace(HOPPER, observe=observe_all, observation_space=unbounded(12))
