"""What the MinAtar games share: a board of 10 × 10 cells, six actions of which the last may stick, and bits.

Young & Tian, "MinAtar: An Atari-Inspired Testbed for Thorough and Reproducible Reinforcement Learning Experiments"
(2019). The oracle of every game is the package MinAtar 1.0.15, held to in tests/envs/test_minatar.py. As there, `-v0` of a
game takes all six actions and `-v1` only those that do something in it; an episode has no time limit.

One thing differs: an episode begins with no action to repeat, while MinAtar repeats the last of the episode before.
"""

import numpy as np
from gymnasium.spaces import Box

from gpusim.kernels.lang import Lane, clip, ones_like, sum_, to_int, unit, where

SIZE = 10
LEFT, UP, RIGHT, DOWN, FIRE = 1, 2, 3, 4, 5  # 0: nothing


def board(channels: int) -> Box:
    """The space of observations `[10, 10, channels]`."""
    return Box(0, 1, (SIZE, SIZE, channels), dtype=np.bool_)  # type: ignore[arg-type]


def sticky(word: Lane, probability: Lane, last: Lane, action: Lane) -> Lane:
    """The action that is taken: the last one again with the given probability."""
    return where(unit(word) < probability, last, to_int(action))


def moved(place: Lane, action: Lane, back: Lane, forth: Lane, low: Lane, high: Lane) -> Lane:
    """A coordinate of the player after `action`, which may be one that lessens it or one that adds to it."""
    return clip(place + to_int(action == forth) - to_int(action == back), low, high)


def down_to_zero(timer: Lane) -> Lane:
    return timer - to_int(timer > 0)


def free_before(free: Lane, slot: Lane) -> Lane:
    """`[N, k]` for each of at most 32 entities, whose numbers are `slot`, which of those before it are free, as bits."""
    return sum_(to_int(free) << slot)[:, None] & ((ones_like(slot) << slot) - 1)


def count_bits(x: Lane) -> Lane:
    """How many of the bits 0 to 30 are set."""
    x = x - ((x >> 1) & 0x55555555)
    x = (x & 0x33333333) + ((x >> 2) & 0x33333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F
    x = x + (x >> 8)
    return (x + (x >> 16)) & 63


def lowest_bit(x: Lane) -> Lane:
    """The place of the lowest of the bits 0 to 30; at least one has to be set."""
    return count_bits((x & -x) - 1)


def highest_bit(x: Lane) -> Lane:
    """The place of the highest of the bits 0 to 15, -1 where none is set."""
    x = x | (x >> 1)
    x = x | (x >> 2)
    x = x | (x >> 4)
    return count_bits(x | (x >> 8)) - 1
