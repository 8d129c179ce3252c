"""MuJoCo/InvertedDoublePendulum-v5: a cart on a rail balances two poles, one upon the other.

Gymnasium's `InvertedDoublePendulumEnv` of that version in MuJoCo 4, see docs/robots.md and tests/envs/mujoco. As there, the
tip of the reward and the force of the rail's end are those of MuJoCo's last forward computation, a part of a timestep ago.
"""

import math
from typing import NamedTuple

from gpusim.env import Env
from gpusim.envs.mujoco.model import Body, Joint, Motor, Robot, between, capsule
from gpusim.envs.mujoco.robot import Picture, Told, box, normal4, stepped, unbounded
from gpusim.kernels.lang import Lane, Rng, clip, cos, sin, uniform4, where, zeros_like

ROBOT = Robot(
    plane="xz",
    timestep=0.01,
    frame_skip=5,
    runge_kutta=True,
    sweeps=2,
    bodies=(
        Body(
            "cart", "", (0.0, 0.0),
            (Joint("slider", "x", range=(-1.0, 1.0), damping=0.05, margin=0.01),),
            (capsule((0.0, 0.0), 0.1, 0.1, math.pi / 2),),
        ),
        Body("pole", "cart", (0.0, 0.0), (Joint("hinge", "+y", damping=0.05),), (between((0.0, 0.0), (0.0, 0.6), 0.045),)),
        Body("pole2", "pole", (0.0, 0.6), (Joint("hinge2", "+y", damping=0.05),), (between((0.0, 0.0), (0.0, 0.6), 0.045),)),
    ),
    motors=(Motor("slider", 500.0),),
    gravity=(1e-5, -9.81),
    tip=("pole2", (0.0, 0.6)),
    felt="slider",
)  # fmt: skip


class State(NamedTuple):
    slider: Lane  # the cart's place on the rail [m]
    hinge: Lane  # the lower pole's angle from upright [rad]
    hinge2: Lane  # the upper pole's from the lower's [rad]
    slider_dot: Lane  # [m/s]
    hinge_dot: Lane  # [rad/s]
    hinge2_dot: Lane  # [rad/s]
    felt: Lane  # the force of the rail's end, in MuJoCo's last forward computation [N]


class Params(NamedTuple):
    healthy_reward: Lane = 10.0
    reset_noise_scale: Lane = 0.1  # of positions the greatest, of rates the deviation
    gravity: Lane = 9.81  # [m/s²]
    damping_scale: Lane = 1.0  # what the joints' damping is multiplied by
    gear_scale: Lane = 1.0  # of the motor
    mass_scale: Lane = 1.0  # masses and inertias


def init(rng: Rng, p: Params) -> State:
    x, first, second, _ = uniform4(rng, 0, -1.0, 1.0)
    speed, rate1, rate2, _ = normal4(rng, 1)
    scale = p.reset_noise_scale
    return State(scale * x, scale * first, scale * second, scale * speed, scale * rate1, scale * rate2, zeros_like(x))


def outcome(s: State, action: Lane, new: State, told: Told, p: Params) -> tuple[Lane, Lane]:
    fallen = told.tip_y <= 1.0
    low = told.tip_y - 2.0
    place = 0.01 * told.tip_x * told.tip_x + low * low
    speed = 1e-3 * new.hinge_dot * new.hinge_dot + 5e-3 * new.hinge2_dot * new.hinge2_dot
    return where(fallen, 0.0, p.healthy_reward) - place - speed, fallen


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return (
        s.slider, sin(s.hinge), sin(s.hinge2), cos(s.hinge), cos(s.hinge2),
        clip(s.slider_dot, -10.0, 10.0), clip(s.hinge_dot, -10.0, 10.0), clip(s.hinge2_dot, -10.0, 10.0),
        clip(s.felt, -10.0, 10.0),
    )  # fmt: skip


INVERTED_DOUBLE_PENDULUM = Env(
    id="MuJoCo/InvertedDoublePendulum-v5",
    init=init,
    step=stepped(ROBOT, State, outcome),
    observe=observe,
    params=Params(),
    observation_space=unbounded(9),
    action_space=box(1),
    max_episode_steps=1000,
    reward_threshold=9100.0,
    render=Picture(ROBOT, width=3.2, height=2.0, centre=(0.0, 0.5), follow=False, ground=False),
)
