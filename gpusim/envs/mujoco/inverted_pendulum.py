"""MuJoCo/InvertedPendulum-v5: a cart on a rail balances a pole; reward 1 for every step in which it does.

Gymnasium's `InvertedPendulumEnv` of that version in MuJoCo 4, see docs/robots.md and tests/envs/mujoco.
"""

import math
from typing import NamedTuple

from gpusim.env import Env
from gpusim.envs.mujoco.model import Body, Joint, Motor, Robot, between, capsule
from gpusim.envs.mujoco.robot import Picture, Told, box, stepped, unbounded
from gpusim.kernels.lang import Lane, Rng, absolute, uniform4, where

RIGHT = math.radians(90.0)

ROBOT = Robot(
    plane="xz",
    timestep=0.02,
    frame_skip=2,
    runge_kutta=True,
    sweeps=2,
    bodies=(
        Body(
            "cart", "", (0.0, 0.0),
            (Joint("slider", "x", range=(-1.0, 1.0), damping=1.0),), (capsule((0.0, 0.0), 0.1, 0.1, RIGHT),),
        ),
        Body(
            "pole", "cart", (0.0, 0.0),
            (Joint("hinge", "+y", range=(-RIGHT, RIGHT), damping=1.0),), (between((0.0, 0.0), (0.001, 0.6), 0.049),),
        ),
    ),
    motors=(Motor("slider", 100.0, limit=3.0),),
    gravity=(0.0, -9.81),
)  # fmt: skip


class State(NamedTuple):
    slider: Lane  # the cart's place on the rail [m]
    hinge: Lane  # the pole's angle from upright [rad]
    slider_dot: Lane  # [m/s]
    hinge_dot: Lane  # [rad/s]


class Params(NamedTuple):
    reset_noise_scale: Lane = 0.01
    gravity: Lane = 9.81  # [m/s²]
    damping_scale: Lane = 1.0  # what the joints' damping is multiplied by
    gear_scale: Lane = 1.0  # of the motor
    mass_scale: Lane = 1.0  # masses and inertias


def init(rng: Rng, p: Params) -> State:
    x, angle, speed, rate = uniform4(rng, 0, -1.0, 1.0)
    scale = p.reset_noise_scale
    return State(scale * x, scale * angle, scale * speed, scale * rate)


def outcome(s: State, action: Lane, new: State, told: Told, p: Params) -> tuple[Lane, Lane]:
    fallen = absolute(new.hinge) > 0.2
    return where(fallen, 0.0, 1.0), fallen


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return s.slider, s.hinge, s.slider_dot, s.hinge_dot


INVERTED_PENDULUM = Env(
    id="MuJoCo/InvertedPendulum-v5",
    init=init,
    step=stepped(ROBOT, State, outcome),
    observe=observe,
    params=Params(),
    observation_space=unbounded(4),
    action_space=box(1, 3.0),
    max_episode_steps=1000,
    reward_threshold=950.0,
    render=Picture(ROBOT, width=2.4, height=1.2, centre=(0.0, 0.3), follow=False, ground=False),
)
