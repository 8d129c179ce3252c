"""Highway/parking-v0: drive a car into a spot, in the direction that is asked for.

As in highway-env 1.12.1 (`ParkingEnv`), see docs/driving.md: two rows of 14 spots, walls around them, nobody else there.
Actions are acceleration and steering; an observation is the car's position, velocity and direction, and then the goal's.
"""

from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box

from gpusim.env import Env
from gpusim.envs.driving import picture
from gpusim.envs.driving.collision import Contact, Pair, contact
from gpusim.envs.driving.vehicle import LENGTH, PI, WIDTH, accelerated, moved, slip_of
from gpusim.kernels.lang import (
    Lane,
    Rng,
    absolute,
    clip,
    cos,
    floor,
    minimum,
    ones_like,
    sin,
    sqrt,
    uniform4,
    where,
    zeros_like,
)

SPOTS, SPOT_WIDTH, SPOT_MIDDLE = 14, 4.0, 14.0  # in a row; its middle is that far from the middle of the place [m]
LENGTH_OF_PLACE, WIDTH_OF_PLACE, THICK = 70.0, 42.0, 1.0  # from wall to wall [m]
DIAGONAL = 5.385164807134504  # of the car, √(LENGTH² + WIDTH²) [m]
DIAGONAL_LONG, DIAGONAL_SHORT = 70.00714249274856, 42.01190307520001  # of the walls
FRAMES, DT = 3, 1.0 / 15.0  # of a step, and the time between two [s]
HARDEST = 5.0  # acceleration [m/s²]
TANGENT = 1.0  # of the greatest steering angle, 45°
FIELD, SPEED = 100.0, 5.0  # metres and metres a second that are 1 in an observation


class State(NamedTuple):
    x: Lane  # of the car's middle [m]
    y: Lane
    heading: Lane  # from x to y [rad]
    speed: Lane  # [m/s]
    crashed: Lane
    struck: Lane  # whether it is pushed in the next frame, and has crashed then
    push_x: Lane  # [m]
    push_y: Lane
    goal_x: Lane  # [m]
    goal_y: Lane  # in the lower row, at 14, the car is to point to greater y; in the upper one to lesser


class Params(NamedTuple):
    collision_reward: Lane = -5.0
    success_goal_reward: Lane = 0.12  # distance at which the goal is reached, as the reward has it
    weight_x: Lane = 1.0  # of what is left to the goal
    weight_y: Lane = 0.3
    weight_velocity: Lane = 0.0
    weight_direction: Lane = 0.02


def init(rng: Rng, p: Params) -> State:
    """Any spot but the one nearest to the car, as which highway-env takes one of two by its direction."""
    turn, draw, _, _ = uniform4(rng, 0, 0.0, 1.0)
    heading, none = turn * (2.0 * PI), zeros_like(turn)
    nearest = where(heading <= PI, 6.0, 6.0 + SPOTS)
    spot = minimum(floor(draw * (2.0 * SPOTS - 1.0)), 2.0 * SPOTS - 2.0)
    spot = where(spot >= nearest, spot + 1.0, spot)
    upper = spot >= SPOTS
    x = (where(upper, spot - SPOTS, spot) - 0.5 * SPOTS) * SPOT_WIDTH + 0.5 * SPOT_WIDTH
    nobody = turn < 0.0
    return State(none, none, heading, none, nobody, nobody, none, none, x, where(upper, -SPOT_MIDDLE, SPOT_MIDDLE))


def step(s: State, action: tuple[Lane, Lane], rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    acceleration, angle = clip(action[0], -1.0, 1.0) * HARDEST, clip(action[1], -1.0, 1.0) * (0.25 * PI)
    slip = slip_of(sin(angle) / cos(angle), TANGENT)
    for _ in range(FRAMES):
        s = beside_walls(driven(s, acceleration, slip))
    left = distance(s, p)
    reached = left < p.success_goal_reward
    return s, where(s.crashed, p.collision_reward, 0.0) - left, s.crashed | reached


def driven(s: State, acceleration: Lane, slip: Lane) -> State:
    """A frame later, before collisions."""
    slip = where(s.crashed, 0.0, slip)
    x, y, heading = moved(s.x, s.y, s.heading, cos(s.heading), sin(s.heading), s.speed, slip, DT)
    return State(
        where(s.struck, x + s.push_x, x),
        where(s.struck, y + s.push_y, y),
        heading,
        accelerated(s.speed, acceleration, s.crashed, DT),
        s.crashed | s.struck,
        x != x,
        s.push_x,
        s.push_y,
        s.goal_x,
        s.goal_y,
    )


def beside_walls(s: State) -> State:
    """With collisions: first of the long walls, then of the short ones; of several pushes the last counts."""
    long, short = 0.5 * LENGTH_OF_PLACE, 0.5 * WIDTH_OF_PLACE
    s = hit(s, wall(s, 0.0, -short, 1.0, 0.0, long, DIAGONAL_LONG))
    s = hit(s, wall(s, 0.0, short, 1.0, 0.0, long, DIAGONAL_LONG))
    s = hit(s, wall(s, -long, 0.0, 0.0, 1.0, short, DIAGONAL_SHORT))
    return hit(s, wall(s, long, 0.0, 0.0, 1.0, short, DIAGONAL_SHORT))


def wall(s: State, x, y, cos_w, sin_w, half, diagonal) -> Contact:
    one = ones_like(s.x)
    cos_h, sin_h, way = cos(s.heading), sin(s.heading), s.speed * DT
    pair = Pair(-(s.x - x), -(s.y - y), way * cos_h, way * sin_h, cos_h, sin_h, one * cos_w, one * sin_w)
    return contact(pair, way + 0.5 * (DIAGONAL + diagonal), 0.5 * LENGTH, 0.5 * WIDTH, half, 0.5 * THICK)


def hit(s: State, c: Contact) -> State:
    return State(
        s.x, s.y, s.heading, s.speed, s.crashed | c.touching, s.struck | c.meeting,
        where(c.meeting, c.push_x, s.push_x), where(c.meeting, c.push_y, s.push_y), s.goal_x, s.goal_y,
    )  # fmt: skip


def distance(s: State, p: Params) -> Lane:
    """From the goal: the root of a weighted sum."""
    cos_h, sin_h = cos(s.heading), sin(s.heading)
    far = absolute(s.x - s.goal_x) * p.weight_x / FIELD + absolute(s.y - s.goal_y) * p.weight_y / FIELD
    fast = (absolute(s.speed * cos_h) + absolute(s.speed * sin_h)) * p.weight_velocity / SPEED
    askew = (absolute(cos_h) + absolute(sin_h - where(s.goal_y > 0.0, 1.0, -1.0))) * p.weight_direction
    return sqrt(far + fast + askew)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    cos_h, sin_h, none = cos(s.heading), sin(s.heading), zeros_like(s.x)
    return (
        s.x / FIELD, s.y / FIELD, s.speed * cos_h / SPEED, s.speed * sin_h / SPEED, cos_h, sin_h,
        s.goal_x / FIELD, s.goal_y / FIELD, none, none, none, where(s.goal_y > 0.0, 1.0, -1.0),
    )  # fmt: skip


def render(s: State, p: Params) -> np.ndarray:
    return picture.parking(s, SPOTS, SPOT_WIDTH, SPOT_MIDDLE, (LENGTH_OF_PLACE, WIDTH_OF_PLACE, THICK))


render.fps = 15  # type: ignore[attr-defined]  # a step is a fifth of a second


PARKING = Env(
    id="Highway/parking-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-np.inf, np.inf, (12,), np.float32),
    action_space=Box(-1.0, 1.0, (2,), np.float32),
    render=render,
    max_episode_steps=500,
)
