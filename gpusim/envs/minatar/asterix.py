"""MinAtar/Asterix: gather treasure and keep away from enemies, which cross the board in eight rows.

Reward 1 for a treasure; the episode ends when the player meets an enemy. They come, and move, ever faster. Channels:
player, enemy, trail (the cell behind each), gold. Same game as MinAtar 1.0.15 (Young & Tian, 2019), see
`gpusim.envs.minatar.shared`.
"""

from dataclasses import replace
from typing import NamedTuple

from gymnasium.spaces import Discrete

from gpusim.env import Env
from gpusim.envs.minatar.shared import DOWN, LEFT, RIGHT, UP, board, count_bits, free_before, moved, sticky
from gpusim.kernels.lang import (
    Lane,
    Rng,
    below,
    clip,
    floor_divide,
    max_,
    maximum,
    remainder,
    slots,
    sum_,
    to_float,
    to_int,
    where,
    words,
)

RAMP_INTERVAL = 100
SPAWN_SPEED, MOVE_SPEED = 10, 5  # steps between two arrivals, and between two moves, at the beginning
ROWS = 8  # slot k is row k + 1 and holds one thing at most
NOTHING, ENEMY, GOLD = 0, 1, 2


class State(NamedTuple):
    """int32."""

    x: Lane  # column of the player
    y: Lane  # its row, 1 to 8
    kind: Lane  # [N, 8] NOTHING, ENEMY or GOLD
    column: Lane  # [N, 8] where it is
    dx: Lane  # [N, 8] 1: to the right, -1: to the left
    spawn_timer: Lane
    spawn_speed: Lane
    move_timer: Lane
    move_speed: Lane
    ramp_timer: Lane
    ramp_index: Lane  # how often it has become harder
    last_action: Lane


class Params(NamedTuple):
    sticky: Lane = 0.1  # probability that the last action is repeated
    ramping: Lane = 1  # 0: it does not become harder


def init(rng: Rng, p: Params) -> State:
    zero = to_int(rng.env * 0)
    none = 0 * slots(zero, ROWS)
    spawn, move = zero + SPAWN_SPEED, zero + MOVE_SPEED
    return State(zero + 5, zero + 5, none, none, none, spawn, spawn, move, move, zero + RAMP_INTERVAL, zero, zero)


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    a, b, c, d = words(rng, 0)
    action = sticky(a, p.sticky, s.last_action, action)
    x, y = moved(s.x, action, LEFT, RIGHT, 0, 9), moved(s.y, action, UP, DOWN, 1, 8)
    free, slot = s.kind == NOTHING, slots(x, ROWS)
    nth = count_bits(free_before(free, slot)) == below(d, maximum(sum_(free), 1))[:, None]
    come = slot == where(s.spawn_timer == 0, max_(where(free & nth, slot, -1)), -1)[:, None]
    right = below(b, 2)
    kind = where(come, (to_int(below(c, 3) == 0) + ENEMY)[:, None], s.kind)
    column = where(come, (9 - 9 * right)[:, None], s.column)
    dx = where(come, (2 * right - 1)[:, None], s.dx)
    kind, gathered, met = meet(kind, column, x, y)
    move = s.move_timer == 0
    column = where(move[:, None] & (kind != NOTHING), column + dx, column)
    kind = where((column < 0) | (column > 9), NOTHING, kind)
    kind, more, met_too = meet(kind, column, x, y)
    spawn_timer = where(s.spawn_timer == 0, s.spawn_speed, s.spawn_timer) - 1
    move_timer = where(move, s.move_speed, s.move_timer) - 1
    new = State(
        x, y, kind, column, dx, spawn_timer, s.spawn_speed, move_timer, s.move_speed, s.ramp_timer, s.ramp_index, action
    )
    return ramped(new, p), to_float(gathered) + to_float(more), met | met_too


def meet(kind: Lane, column: Lane, x: Lane, y: Lane) -> tuple[Lane, Lane, Lane]:
    """What is left after the player has taken the gold at its cell; whether it did, and whether it met an enemy."""
    here = (slots(x, ROWS) + 1 == y[:, None]) & (column == x[:, None])
    found = sum_(where(here, kind, NOTHING))  # there is one row at most that is its own
    return where(here & (kind == GOLD), NOTHING, kind), found == GOLD, found == ENEMY


def ramped(s: State, p: Params) -> State:
    on = ((s.spawn_speed > 1) | (s.move_speed > 1)) & (p.ramping > 0)
    harder = on & (s.ramp_timer < 0)
    faster = harder & (s.move_speed > 1) & ((s.ramp_index & 1) == 1)
    return State(
        s.x, s.y, s.kind, s.column, s.dx,
        s.spawn_timer,
        s.spawn_speed - to_int(harder & (s.spawn_speed > 1)),
        s.move_timer,
        s.move_speed - to_int(faster),
        where(harder, RAMP_INTERVAL, s.ramp_timer - to_int(on)),
        s.ramp_index + to_int(harder),
        s.last_action,
    )  # fmt: skip


def observe(s: State, cell: Lane, p: Params) -> Lane:
    place, channel = floor_divide(cell, 4), remainder(cell, 4)
    row, column = floor_divide(place, 10), remainder(place, 10)
    slot, mine = slots(s.x, ROWS), clip(row - 1, 0, 7)  # packed into bits: a row finds its own without a search
    kind = (sum_(s.kind << (2 * slot)) >> (2 * mine)) & 3
    x = (sum_(clip(s.column, 0, 9) << (4 * slot)) >> (4 * mine)) & 15
    right = (sum_(to_int(s.dx > 0) << slot) >> mine) & 1
    there = where(channel == 2, column == x + 1 - 2 * right, (column == x) & (kind == to_int(channel == 3) + ENEMY))
    there = there & (kind != NOTHING) & (row >= 1) & (row <= ROWS)
    return where(channel == 0, (row == s.y) & (column == s.x), there)


ASTERIX = Env(
    id="MinAtar/Asterix-v1",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=board(4),
    action_space=Discrete(5),  # all but the last, which does nothing
    max_episode_steps=None,
)
ASTERIX_ALL_ACTIONS = replace(ASTERIX, id="MinAtar/Asterix-v0", action_space=Discrete(6))
