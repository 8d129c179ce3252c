"""Prices of a table: an episode walks down its rows, or along blocks of them, each from a row of its own."""

from typing import NamedTuple

from gpusim.kernels.lang import Lane, Rng, floor, minimum, rows, to_float, to_int, uniform4, where


class Begun(NamedTuple):
    row: Lane  # of the last bar that is seen
    left: Lane  # bars until the end


def begun(rng: Rng, table, p) -> Begun:
    """Some length from `shortest` to `longest` that the table has room for, and some row from which it fits."""
    first, length, _, _ = uniform4(rng, 0, 0.0, 1.0)
    most = to_float(to_int(first) + rows(table) - 1)
    longest = minimum(most, p.longest)
    shortest = minimum(most, p.shortest)
    left = minimum(shortest + floor(length * (longest - shortest + 1.0)), longest)
    free = where(first < p.jump, most, most - left)  # blocks begin anywhere
    return Begun(to_int(minimum(floor(first * (free + 1.0)), free)), left)


def following(rng: Rng, row: Lane, table, p) -> Lane:
    """The next bar's row; with the chance `jump` any (the stationary bootstrap of Politis & Romano, 1994).

    Whoever is at the table's end goes on anywhere too. A bar is what it makes of the close before it in the table.
    """
    chance, place, _, _ = uniform4(rng, 0, 0.0, 1.0)
    others = rows(table) - 1
    jumped = minimum(to_int(place * (others * 1.0)), others - 1) + 1
    return where((chance < p.jump) | (row >= others), jumped, row + 1)
