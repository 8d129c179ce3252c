"""MuJoCo/HalfCheetah-v5: a flat cheetah runs as fast as it can and pays for its torques; it never terminates.

Gymnasium's `HalfCheetahEnv` of that version in MuJoCo 4 (Wawrzyński, 2007), see docs/robots.md and tests/envs/mujoco.
"""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from gpusim.env import Env
from gpusim.envs.mujoco.model import Body, Contact, Joint, Motor, Robot, capsule
from gpusim.envs.mujoco.robot import Picture, Told, box, normal4, stepped, unbounded
from gpusim.kernels.lang import Lane, Rng, false_like, uniform4

leg = partial(Joint, axis="+y", armature=0.1, solimp=(0.0, 0.8, 0.03))
bone = partial(capsule, radius=0.046, friction=0.4)

ROBOT = Robot(
    plane="xz",
    timestep=0.01,
    frame_skip=5,
    runge_kutta=False,
    sweeps=5,
    bodies=(
        Body(
            "torso", "", (0.0, 0.7),
            (Joint("rootx", "x"), Joint("rootz", "z"), Joint("rooty", "+y")),
            (bone((0.0, 0.0), 0.5, angle=math.pi / 2), bone((0.6, 0.1), 0.15, angle=0.87)),
        ),
        Body(
            "bthigh", "torso", (-0.5, 0.0),
            (leg("bthigh", range=(-0.52, 1.05), damping=6.0, stiffness=240.0),),
            (bone((0.1, -0.13), 0.145, angle=-3.8),),
        ),
        Body(
            "bshin", "bthigh", (0.16, -0.25),
            (leg("bshin", range=(-0.785, 0.785), damping=4.5, stiffness=180.0),),
            (bone((-0.14, -0.07), 0.15, angle=-2.03),),
        ),
        Body(
            "bfoot", "bshin", (-0.28, -0.14),
            (leg("bfoot", range=(-0.4, 0.785), damping=3.0, stiffness=120.0),),
            (bone((0.03, -0.097), 0.094, angle=-0.27),),
        ),
        Body(
            "fthigh", "torso", (0.5, 0.0),
            (leg("fthigh", range=(-1.0, 0.7), damping=4.5, stiffness=180.0),),
            (bone((-0.07, -0.12), 0.133, angle=0.52),),
        ),
        Body(
            "fshin", "fthigh", (-0.14, -0.24),
            (leg("fshin", range=(-1.2, 0.87), damping=3.0, stiffness=120.0),),
            (bone((0.065, -0.09), 0.106, angle=-0.6),),
        ),
        Body(
            "ffoot", "fshin", (0.13, -0.18),
            (leg("ffoot", range=(-0.5, 0.5), damping=1.5, stiffness=60.0),),
            (bone((0.045, -0.07), 0.07, angle=-0.6),),
        ),
    ),
    motors=(
        Motor("bthigh", 120.0), Motor("bshin", 90.0), Motor("bfoot", 60.0),
        Motor("fthigh", 120.0), Motor("fshin", 60.0), Motor("ffoot", 30.0),
    ),
    contact=Contact(friction=0.4, solimp=(0.0, 0.8, 0.01)),
    total_mass=14.0,
    gravity=(0.0, -9.81),
)  # fmt: skip
DT = ROBOT.dt


class State(NamedTuple):
    rootx: Lane  # how far forward [m]
    rootz: Lane  # height, from 0.7 m [m]
    rooty: Lane  # pitch of the torso, nose down [rad]
    bthigh: Lane  # back hip [rad]
    bshin: Lane  # back knee [rad]
    bfoot: Lane  # back ankle [rad]
    fthigh: Lane  # front hip [rad]
    fshin: Lane  # front knee [rad]
    ffoot: Lane  # front ankle [rad]
    rootx_dot: Lane  # [m/s]
    rootz_dot: Lane  # [m/s]
    rooty_dot: Lane  # [rad/s]
    bthigh_dot: Lane  # [rad/s]
    bshin_dot: Lane  # [rad/s]
    bfoot_dot: Lane  # [rad/s]
    fthigh_dot: Lane  # [rad/s]
    fshin_dot: Lane  # [rad/s]
    ffoot_dot: Lane  # [rad/s]


class Params(NamedTuple):
    forward_reward_weight: Lane = 1.0
    ctrl_cost_weight: Lane = 0.1
    reset_noise_scale: Lane = 0.1  # of positions the greatest, of rates the deviation
    gravity: Lane = 9.81  # [m/s²]
    friction_scale: Lane = 1.0  # what the model's friction is multiplied by
    damping_scale: Lane = 1.0  # of joints
    gear_scale: Lane = 1.0  # of motors
    mass_scale: Lane = 1.0  # masses and inertias


def init(rng: Rng, p: Params) -> State:
    scale = p.reset_noise_scale
    x, z, y, b1 = uniform4(rng, 0, -1.0, 1.0)
    b2, b3, f1, f2 = uniform4(rng, 1, -1.0, 1.0)
    f3, _, _, _ = uniform4(rng, 2, -1.0, 1.0)
    vx, vz, vy, w1 = normal4(rng, 3)
    w2, w3, w4, w5 = normal4(rng, 4)
    w6, _, _, _ = normal4(rng, 5)
    return State(
        scale * x, scale * z, scale * y, scale * b1, scale * b2, scale * b3, scale * f1, scale * f2, scale * f3,
        scale * vx, scale * vz, scale * vy, scale * w1, scale * w2, scale * w3, scale * w4, scale * w5, scale * w6,
    )  # fmt: skip


def outcome(s: State, action: tuple[Lane, ...], new: State, told: Told, p: Params) -> tuple[Lane, Lane]:
    b1, b2, b3, f1, f2, f3 = action
    cost = b1 * b1 + b2 * b2 + b3 * b3 + f1 * f1 + f2 * f2 + f3 * f3
    reward = p.forward_reward_weight * (told.dx / DT) - p.ctrl_cost_weight * cost
    return reward, false_like(new.rootx)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return (
        s.rootz, s.rooty, s.bthigh, s.bshin, s.bfoot, s.fthigh, s.fshin, s.ffoot,
        s.rootx_dot, s.rootz_dot, s.rooty_dot,
        s.bthigh_dot, s.bshin_dot, s.bfoot_dot, s.fthigh_dot, s.fshin_dot, s.ffoot_dot,
    )  # fmt: skip


def observe_all(s: State, p: Params) -> tuple[Lane, ...]:
    """With how far it is."""
    return (
        s.rootx, s.rootz, s.rooty, s.bthigh, s.bshin, s.bfoot, s.fthigh, s.fshin, s.ffoot,
        s.rootx_dot, s.rootz_dot, s.rooty_dot,
        s.bthigh_dot, s.bshin_dot, s.bfoot_dot, s.fthigh_dot, s.fshin_dot, s.ffoot_dot,
    )  # fmt: skip


HALF_CHEETAH = Env(
    id="MuJoCo/HalfCheetah-v5",
    init=init,
    step=stepped(ROBOT, State, outcome),
    observe=observe,
    params=Params(),
    observation_space=unbounded(17),
    action_space=box(6),
    max_episode_steps=1000,
    reward_threshold=4800.0,
    render=Picture(ROBOT, width=3.6, height=1.8, centre=(0.0, 0.7)),
)


def half_cheetah(exclude_current_positions_from_observation: bool = True) -> Env:
    """The environment with Gymnasium's option that changes the shape of observations."""
    if exclude_current_positions_from_observation:
        return HALF_CHEETAH
    return replace(HALF_CHEETAH, observe=observe_all, observation_space=unbounded(18))
