"""MinAtar/Breakout: bounce a ball off a paddle to break three rows of bricks; a new wall comes when the last is gone.

Reward 1 for a brick; the episode ends when the ball passes the paddle. Channels: paddle, ball, trail (where the ball was),
brick. Same game as MinAtar 1.0.15 (Young & Tian, 2019), see `gpusim.envs.minatar.shared`.
"""

from dataclasses import replace
from typing import NamedTuple

from gymnasium.spaces import Discrete

from gpusim.env import Env
from gpusim.envs.minatar.shared import LEFT, RIGHT, board, moved, sticky
from gpusim.kernels.lang import (
    Lane,
    Rng,
    below,
    clip,
    false_like,
    floor_divide,
    ones_like,
    remainder,
    to_float,
    to_int,
    where,
    words,
    zeros_like,
)

WALL = 2**30 - 1  # every brick of rows 1 to 3


class State(NamedTuple):
    """Whole numbers are int32."""

    x: Lane  # column of the ball
    y: Lane  # its row
    dx: Lane  # 1: to the right, -1: to the left
    dy: Lane  # 1: down, -1: up
    trail: Lane  # the cell it was in before, 10 * row + column
    paddle: Lane  # column
    bricks: Lane  # bit 10 * row + column - 10
    struck: Lane  # whether it is still in the wall after breaking a brick, and breaks no other; bool
    last_action: Lane


class Params(NamedTuple):
    sticky: Lane = 0.1  # probability that the last action is repeated


def init(rng: Rng, p: Params) -> State:
    side = below(words(rng, 0)[0], 2)
    zero, one = zeros_like(side), ones_like(side)
    return State(side * 9, zero + 3, one - 2 * side, one, side * 9 + 30, zero + 4, zero + WALL, false_like(side), zero)


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    action = sticky(words(rng, 0)[0], p.sticky, s.last_action, action)
    paddle = moved(s.paddle, action, LEFT, RIGHT, 0, 9)
    x, y = clip(s.x + s.dx, 0, 9), s.y + s.dy
    dx = where(x == s.x, -s.dx, s.dx)  # off a wall
    brick = where((y >= 1) & (y <= 3), ones_like(x) << clip(10 * y + x - 10, 0, 29), 0)
    touched = (s.bricks & brick) != 0
    broken = touched & ~s.struck
    low = y == 9
    bricks = where(low & (s.bricks == 0), WALL, where(broken, s.bricks & ~brick, s.bricks))
    saved = low & (s.x == paddle)
    edged = low & ~saved & (x == paddle)  # straight back where it came from
    dx = where(edged, -dx, dx)
    dy = where((y < 0) | broken | saved | edged, -s.dy, s.dy)
    y = where(y < 0, 0, where(broken | saved | edged, s.y, y))
    new = State(x, y, dx, dy, 10 * s.y + s.x, paddle, bricks, touched, action)
    return new, to_float(broken), low & ~saved & ~edged


def step_minimal(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    """Actions: nothing, left, right."""
    return step(s, action + to_int(action == 2), rng, p)


def observe(s: State, cell: Lane, p: Params) -> Lane:
    place, channel = floor_divide(cell, 4), remainder(cell, 4)
    one = where(channel == 0, s.paddle + 90, where(channel == 1, 10 * s.y + s.x, s.trail))
    brick = ((s.bricks >> clip(place - 10, 0, 29)) & 1) == 1
    return where(channel == 3, brick & (place >= 10) & (place < 40), place == one)


BREAKOUT = Env(
    id="MinAtar/Breakout-v1",
    init=init,
    step=step_minimal,
    observe=observe,
    params=Params(),
    observation_space=board(4),
    action_space=Discrete(3),
    max_episode_steps=None,
)
BREAKOUT_ALL_ACTIONS = replace(BREAKOUT, id="MinAtar/Breakout-v0", step=step, action_space=Discrete(6))
