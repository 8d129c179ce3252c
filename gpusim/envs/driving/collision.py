"""Collisions of rectangles, as highway-env finds them: separating axes, with the way of the next frame.

Two may touch already, or be about to; then they are pushed apart along the axis of least overlap. A rectangle that moves is
made longer by its way relative to the other, so which of two is the first does matter.
"""

from typing import NamedTuple

from gpusim.kernels.lang import Lane, absolute, maximum, minimum, sqrt, where, zeros_like


class Contact(NamedTuple):
    touching: Lane
    meeting: Lane  # within the next frame
    push_x: Lane  # what brings the first out of the second [m]
    push_y: Lane


class Pair(NamedTuple):
    """Two rectangles, as the first sees the second."""

    dx: Lane  # to the middle of the second [m]
    dy: Lane
    way_x: Lane  # of the first in a frame, less that of the second [m]
    way_y: Lane
    cos_a: Lane
    sin_a: Lane
    cos_b: Lane
    sin_b: Lane


class Axes(NamedTuple):
    """What has been found along some of the axes."""

    apart: Lane  # by which they are, or, below 0, overlap [m]
    apart_soon: Lane
    least: Lane  # the least overlap [m]
    x: Lane  # its axis, out of the second
    y: Lane


def contact(pair: Pair, reach: Lane, length_a, width_a, length_b, width_b) -> Contact:
    """Whether two rectangles collide, of half lengths and half widths [m].

    Args:
        reach: distance beyond which nobody looks [m].
    """
    none = zeros_like(pair.dx)
    cos_ab = absolute(pair.cos_a * pair.cos_b + pair.sin_a * pair.sin_b)
    sin_ab = absolute(pair.cos_a * pair.sin_b - pair.sin_a * pair.cos_b)
    found = Axes(none - 1e6, none - 1e6, none + 1e6, none, none)
    found = along(found, -pair.cos_a, -pair.sin_a, none + length_a, cos_ab * length_b + sin_ab * width_b, pair)
    found = along(found, -pair.sin_a, pair.cos_a, none + width_a, sin_ab * length_b + cos_ab * width_b, pair)
    found = along(found, -pair.cos_b, -pair.sin_b, cos_ab * length_a + sin_ab * width_a, none + length_b, pair)
    found = along(found, -pair.sin_b, pair.cos_b, sin_ab * length_a + cos_ab * width_a, none + width_b, pair)
    near = sqrt(pair.dx * pair.dx + pair.dy * pair.dy) <= reach
    return Contact(
        near & (found.apart <= 0.0), near & (found.apart_soon <= 0.0), found.least * found.x, found.least * found.y
    )


def along(found: Axes, x: Lane, y: Lane, a: Lane, b: Lane, pair: Pair) -> Axes:
    """With the axis (x, y), along which the rectangles reach as far as `a` and `b`, and its opposite.

    Sides of a rectangle have both. Where one interval lies within the other, they differ: either end may be the one to
    leave by.
    """
    middle, way = pair.dx * x + pair.dy * y, pair.way_x * x + pair.way_y * y
    low, high, first, last = middle - b, middle + b, minimum(way, 0.0) - a, maximum(way, 0.0) + a
    before, after = low - last, first - high
    least = minimum(absolute(where(first < low, before, after)), absolute(where(last > high, after, before)))
    closer, out = least < found.least, where(middle < 0.0, 1.0, -1.0)
    return Axes(
        maximum(found.apart, absolute(middle) - (a + b)),
        maximum(found.apart_soon, maximum(before, after)),
        where(closer, least, found.least),
        where(closer, out * x, found.x),
        where(closer, out * y, found.y),
    )
