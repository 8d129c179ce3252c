"""Who drives before and behind each vehicle, in its lane and beside it.

All look at one vehicle after the other, and each keeps the nearest that it has met. Who is in another lane, or on the other
side, is put far away, and is never the nearest.
"""

from typing import NamedTuple

from gpusim.envs.driving.idm import Driver, wanted_gap
from gpusim.envs.driving.vehicle import LANE
from gpusim.kernels.lang import Lane, absolute, entity, slots, sum_, where, zeros_like

FAR = 1e6  # nobody is there [m]
REACH = 3.0  # a vehicle is in every lane whose middle it is that near to [m]


class Front(NamedTuple):
    """The nearest before each vehicle, `[N, K]`."""

    distance: Lane  # [m]
    speed: Lane  # its own, along the other's heading [m/s]


class Rear(NamedTuple):
    """The nearest behind each vehicle."""

    distance: Lane
    gap: Lane  # that it wants to it [m]
    pace: Lane  # its own, of `idm.pace`


class Neighbours(NamedTuple):
    own: Front
    left: Front
    right: Front
    left_rear: Rear
    right_rear: Rear


class Seen(NamedTuple):
    """Of all vehicles `[N, K]`."""

    x: Lane
    y: Lane
    speed: Lane
    cos_h: Lane
    sin_h: Lane
    pace: Lane


def entry(x: Lane, k) -> Lane:
    """Of vehicle number `k`, `[N, 1]`."""
    return entity(x, k)[:, None]


def neighbours(s: Seen, middle: Lane, count, size, d: Driver) -> Neighbours:
    """Of the first `count` of `size` vehicles, the middles of whose lanes are at `middle` [m].

    Of two at one place before it a vehicle heeds the later, of two behind it the earlier.
    """
    slot = slots(sum_(s.x), size)
    vx, vy = s.speed * s.cos_h, s.speed * s.sin_h
    none = zeros_like(s.x)
    front, rear = Front(none + FAR, none), Rear(none + FAR, none, none - 1.0)
    own, left, right, left_rear, right_rear = front, front, front, rear, rear
    for j in range(count):
        speed, cos_h, sin_h = entry(s.speed, j), entry(s.cos_h, j), entry(s.sin_h, j)
        dx, dy = entry(s.x, j) - s.x, entry(s.y, j) - middle
        ahead, behind = where((slot - j == 0) | (dx < 0.0), FAR, dx), where(dx < 0.0, -dx, FAR)
        to_left, to_right = away(dy + LANE), away(dy - LANE)
        along = entry(vx, j) * s.cos_h + entry(vy, j) * s.sin_h
        gap, pace = wanted_gap(speed, vx * cos_h + vy * sin_h, d), entry(s.pace, j)
        own = nearer(own, ahead + away(dy), along)
        left, right = nearer(left, ahead + to_left, along), nearer(right, ahead + to_right, along)
        left_rear = nearer_behind(left_rear, behind + to_left, gap, pace)
        right_rear = nearer_behind(right_rear, behind + to_right, gap, pace)
    return Neighbours(own, left, right, left_rear, right_rear)


def away(offset: Lane) -> Lane:
    """How far a vehicle is put away that has that `offset` from a lane [m]."""
    return where(absolute(offset) <= REACH, 0.0, FAR)


def nearer(f: Front, distance: Lane, speed: Lane) -> Front:
    closer = distance <= f.distance
    return Front(where(closer, distance, f.distance), where(closer, speed, f.speed))


def nearer_behind(r: Rear, distance: Lane, gap: Lane, pace: Lane) -> Rear:
    closer = distance < r.distance
    return Rear(where(closer, distance, r.distance), where(closer, gap, r.gap), where(closer, pace, r.pace))
