"""MinAtar/SpaceInvaders: shoot a fleet of aliens that comes down step by step, the faster the fewer are left.

Reward 1 for an alien; the episode ends when an alien or its bullet meets the cannon, or the fleet goes beyond the bottom.
The next fleet is faster. Channels: cannon, alien, alien moving left, alien moving right, friendly bullet, enemy bullet.
Same game as MinAtar 1.0.15 (Young & Tian, 2019), see `gpusim.envs.minatar.shared`.

The cannon fires every fifth step at most and its bullet flies nine, so there are two at most; the aliens fire every tenth
and their bullet falls for ten, so there is one.
"""

from dataclasses import replace
from typing import NamedTuple

from gymnasium.spaces import Discrete

from gpusim.env import Env
from gpusim.envs.minatar.shared import (
    FIRE,
    LEFT,
    RIGHT,
    board,
    count_bits,
    down_to_zero,
    highest_bit,
    lowest_bit,
    moved,
    sticky,
)
from gpusim.kernels.lang import (
    Lane,
    Rng,
    clip,
    floor_divide,
    maximum,
    minimum,
    ones_like,
    remainder,
    to_float,
    to_int,
    where,
    words,
)

COOL_DOWN = 5  # steps between two shots of the cannon
ENEMY_SHOT_INTERVAL = 10
MOVE_INTERVAL, LEAST_MOVE_INTERVAL = 12, 6  # steps between two moves of the first fleet, and of the fastest
FLEET = 2**24 - 1  # four rows of six


class State(NamedTuple):
    """int32."""

    cannon: Lane  # column
    aliens: Lane  # the fleet
    fleet_x: Lane
    fleet_y: Lane
    fleet_dx: Lane
    old_x: Lane  # the older friendly bullet
    old_y: Lane  # -1: none
    new_x: Lane  # the other, fired last
    new_y: Lane  # -1: none
    bomb_x: Lane  # the enemy bullet
    bomb_y: Lane  # 10: none
    shot_timer: Lane
    bomb_timer: Lane
    move_timer: Lane
    move_interval: Lane
    last_action: Lane


class Fleet(NamedTuple):
    aliens: Lane  # bit 6 * row + column within the fleet
    x: Lane  # column of its left end on the board; below 0 when what is beyond is gone
    y: Lane  # row of its top; what is beyond the bottom comes in at the top, as the episode ends
    dx: Lane  # 1: to the right, -1: to the left


class Params(NamedTuple):
    sticky: Lane = 0.1  # probability that the last action is repeated
    ramping: Lane = 1  # 0: each fleet is as fast as the first


def init(rng: Rng, p: Params) -> State:
    zero = to_int(rng.env * 0)
    none, interval = zero - 1, zero + MOVE_INTERVAL
    return State(
        zero + 5, zero + FLEET, zero + 2, zero, none, zero, none, zero, none, zero, zero + 10, zero,
        zero + ENEMY_SHOT_INTERVAL, interval, interval, zero,
    )  # fmt: skip


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    action = sticky(words(rng, 0)[0], p.sticky, s.last_action, action)
    fires, bombs, marches = (action == FIRE) & (s.shot_timer == 0), s.bomb_timer == 0, s.move_timer == 0
    old_x, old_y = where(fires, s.new_x, s.old_x), maximum(where(fires, s.new_y, s.old_y) - 1, -1)
    new_x, new_y = where(fires, s.cannon, s.new_x), maximum(where(fires, 9, s.new_y) - 1, -1)
    cannon = moved(s.cannon, action, LEFT, RIGHT, 0, 9)
    bomb_y = minimum(s.bomb_y + 1, 10)
    before = Fleet(s.aliens, s.fleet_x, s.fleet_y, s.fleet_dx)
    fleet, landed = march(before, marches)
    rammed = (alien_at(before, cannon, 9) | alien_at(fleet, cannon, 9)) != 0
    ended = landed | rammed | ((bomb_y == 9) & (s.bomb_x == cannon))
    column, row = nearest(fleet, cannon)
    old_hit, new_hit = alien_at(fleet, old_x, old_y), alien_at(fleet, new_x, new_y)
    aliens = fleet.aliens & ~(old_hit | new_hit)
    over = aliens == 0
    faster = over & (s.move_interval > LEAST_MOVE_INTERVAL) & (p.ramping > 0)
    new = State(
        cannon,
        where(over, FLEET, aliens), where(over, 2, fleet.x), where(over, 0, fleet.y), fleet.dx,
        old_x, where(old_hit != 0, -1, old_y), new_x, where(new_hit != 0, -1, new_y),
        where(bombs, column, s.bomb_x), where(bombs, row, bomb_y),
        down_to_zero(where(fires, COOL_DOWN, s.shot_timer)),
        where(bombs, ENEMY_SHOT_INTERVAL, s.bomb_timer) - 1,
        where(marches, minimum(count_bits(s.aliens), s.move_interval), s.move_timer) - 1,
        s.move_interval - to_int(faster),
        action,
    )  # fmt: skip
    return new, to_float(count_bits(old_hit | new_hit)), ended


def step_minimal(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    """Actions: nothing, left, right, fire."""
    return step(s, action + maximum(action - 1, 0), rng, p)


def march(f: Fleet, due: Lane) -> tuple[Fleet, Lane]:
    """The fleet after a move that may be due, sideways or, at an edge, down; whether it went beyond the bottom."""
    columns = occupied(f)
    down = due & (where(f.dx < 0, columns, columns >> 9) & 1 == 1)
    bottom = remainder(9 - f.y, 10)  # the fleet's row that is in the board's last
    landed = down & (bottom < 4) & (((f.aliens >> (6 * minimum(bottom, 3))) & 63) != 0)
    dx = where(down, -f.dx, f.dx)
    return Fleet(f.aliens, where(due & ~down, f.x + dx, f.x), f.y + to_int(down), dx), landed


def occupied(f: Fleet) -> Lane:
    """The board's columns that have aliens, as bits."""
    columns = f.aliens | (f.aliens >> 12)
    return (((columns | (columns >> 6)) & 63) << (f.x + 5)) >> 5


def alien_at(f: Fleet, x: Lane, y: Lane) -> Lane:
    """The bit of the alien in a cell, 0 where there is none; `y` may be -1."""
    column, row = x - f.x, remainder(y - f.y, 10)
    bit = f.aliens & (ones_like(row) << clip(6 * row + column, 0, 23))
    return where((y >= 0) & (row < 4) & (column >= 0) & (column < 6), bit, 0)


def nearest(f: Fleet, cannon: Lane) -> tuple[Lane, Lane]:
    """Column and row of the lowest alien in the column nearest to the cannon; of two, in the left one."""
    columns = occupied(f)
    left = columns & ((ones_like(cannon) << (cannon + 1)) - 1)
    a, b = highest_bit(left), lowest_bit((columns & ~left) | (ones_like(cannon) << 20))
    x = where((left != 0) & (cannon - a <= b - cannon), a, b)
    of = f.aliens >> clip(x - f.x, 0, 5)
    rows = ((of & 1) | ((of >> 5) & 2) | ((of >> 10) & 4) | ((of >> 15) & 8)) << f.y
    return x, highest_bit((rows | (rows >> 10)) & 1023)


def observe(s: State, cell: Lane, p: Params) -> Lane:
    place, channel = floor_divide(cell, 6), remainder(cell, 6)
    row, column = floor_divide(place, 10), remainder(place, 10)
    alien = alien_at(Fleet(s.aliens, s.fleet_x, s.fleet_y, s.fleet_dx), column, row) != 0
    shot = ((row == s.old_y) & (column == s.old_x)) | ((row == s.new_y) & (column == s.new_x))
    bomb = (row == s.bomb_y) & (column == s.bomb_x)
    alien = alien & ((channel == 1) | (2 * channel == 5 + s.fleet_dx))
    seen = where(channel == 4, shot, where(channel == 5, bomb, alien))
    return where(channel == 0, (row == 9) & (column == s.cannon), seen)


SPACE_INVADERS = Env(
    id="MinAtar/SpaceInvaders-v1",
    init=init,
    step=step_minimal,
    observe=observe,
    params=Params(),
    observation_space=board(6),
    action_space=Discrete(4),
    max_episode_steps=None,
)
SPACE_INVADERS_ALL_ACTIONS = replace(SPACE_INVADERS, id="MinAtar/SpaceInvaders-v0", step=step, action_space=Discrete(6))
