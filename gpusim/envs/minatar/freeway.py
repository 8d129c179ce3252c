"""MinAtar/Freeway: cross eight lanes of traffic; the player is slow, a car sends it back to where it began.

Reward 1 for each crossing, after which the cars have new speeds; the episode ends after 2,500 steps. Channels: chicken,
car, and where a car was before it moved last, by how often it moves (each step to every fifth). Same game as
MinAtar 1.0.15 (Young & Tian, 2019), see `gpusim.envs.minatar.shared`.
"""

from dataclasses import replace
from typing import NamedTuple

from gymnasium.spaces import Discrete

from gpusim.env import Env
from gpusim.envs.minatar.shared import DOWN, UP, board, down_to_zero, moved, sticky
from gpusim.kernels.lang import (
    Lane,
    Rng,
    absolute,
    any_,
    below,
    clip,
    floor_divide,
    remainder,
    slots,
    sum_,
    to_float,
    to_int,
    where,
    words,
    zeros_like,
)

PLAYER_SPEED = 3  # steps between two moves
TIME_LIMIT = 2500
CARS = 8  # car k drives in row k + 1
COLUMN = 4  # of the chicken


class State(NamedTuple):
    """int32."""

    row: Lane  # of the chicken
    rest: Lane  # steps until it can move
    time: Lane  # left
    x: Lane  # [N, 8] column of each car
    wait: Lane  # [N, 8] steps until it moves
    speed: Lane  # [N, 8] steps between two moves, 1 to 5, negative: to the left
    last_action: Lane


class Params(NamedTuple):
    sticky: Lane = 0.1  # probability that the last action is repeated


def init(rng: Rng, p: Params) -> State:
    _, b, c, d = words(rng, 0)
    speed = speeds(b, c, d)
    zero = below(b, 1)
    return State(zero + 9, zero + PLAYER_SPEED, zero + TIME_LIMIT, zeros_like(speed), absolute(speed), speed, zero)


def speeds(b: Lane, c: Lane, d: Lane) -> Lane:
    """`[N, 8]` drawn from three words: four digits to base 5 from each of two, and eight signs."""
    digits, k = below(b, 625), slots(below(b, 1), CARS)
    digits = where(k < 4, digits[:, None], below(c, 625)[:, None])
    k = k & 3
    inverse = 525 + to_int(k < 3) * 2097 + to_int(k < 2) * 10486 + to_int(k < 1) * 52428  # 65536 / 5**k, rounded up
    digit = digits * inverse >> 16
    size = digit - 5 * (digit * 13108 >> 16) + 1
    k = slots(below(b, 1), CARS)
    return where(((below(d, 256)[:, None] >> k) & 1) == 1, size, -size)


def wrapped(x: Lane) -> Lane:
    """A column that has left the board by one comes in at the other side."""
    return where(x < 0, 9, where(x > 9, 0, x))


def heading(speed: Lane) -> Lane:
    return 2 * to_int(speed > 0) - 1


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    a, b, c, d = words(rng, 0)
    action = sticky(a, p.sticky, s.last_action, action)
    goes = (s.rest == 0) & ((action == UP) | (action == DOWN))
    row = where(goes, moved(s.row, action, UP, DOWN, 0, 9), s.row)
    rest = where(goes, PLAYER_SPEED, s.rest)
    won = row == 0
    row = where(won, 9, row)
    speed = where(won[:, None], speeds(b, c, d), s.speed)
    wait = where(won[:, None], absolute(speed), s.wait)
    x = where(wait == 0, wrapped(s.x + heading(speed)), s.x)
    wait = where(wait == 0, absolute(speed), wait - 1)
    crushed = any_((slots(row, CARS) + 1 == row[:, None]) & ((s.x == COLUMN) | (x == COLUMN)))
    new = State(where(crushed, 9, row), down_to_zero(rest), s.time - 1, x, wait, speed, action)
    return new, to_float(won), new.time < 0


def step_minimal(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    """Actions: nothing, up, down."""
    return step(s, action * 2, rng, p)


def observe(s: State, cell: Lane, p: Params) -> Lane:
    place, channel = floor_divide(cell, 7), remainder(cell, 7)
    row, column = floor_divide(place, 10), remainder(place, 10)
    shift = 4 * slots(s.row, CARS)  # four bits for each car: a row finds its own without a search
    car = 4 * clip(row - 1, 0, 7)
    x = (sum_(s.x << shift) >> car) & 15
    trail = (sum_(wrapped(s.x - heading(s.speed)) << shift) >> car) & 15
    speed = (sum_(absolute(s.speed) << shift) >> car) & 15
    seen = where(channel == 1, x == column, (trail == column) & (channel - 1 == speed))
    return where(channel == 0, (column == COLUMN) & (row == s.row), seen & (row >= 1) & (row <= CARS))


FREEWAY = Env(
    id="MinAtar/Freeway-v1",
    init=init,
    step=step_minimal,
    observe=observe,
    params=Params(),
    observation_space=board(7),
    action_space=Discrete(3),
    max_episode_steps=None,
)
FREEWAY_ALL_ACTIONS = replace(FREEWAY, id="MinAtar/Freeway-v0", step=step, action_space=Discrete(6))
