"""Changes of lanes: MOBIL (Kesting, Treiber & Helbing, 2007) without politeness, as highway-env has it."""

from typing import NamedTuple

from gpusim.envs.driving.idm import Driver, free, held_back, wanted_gap
from gpusim.envs.driving.neighbours import Neighbours, Rear, Seen, entry
from gpusim.kernels.lang import Lane, absolute, any_, slots, sum_, where

DELAY = 1.0  # between two decisions [s]
SLOWEST = 1.0  # speed below which nobody changes lanes [m/s]


def better(own: Lane, front: Lane, rear: Rear, d: Driver) -> Lane:
    """Whether another lane is worth a change, and nobody there would have to brake hard.

    Args:
        own: what the vehicle in front takes of one's acceleration where one is.
        front: what the one in the other lane would take.
    """
    braked = free(rear.pace, d) - held_back(rear.gap, rear.distance, d)
    return (braked >= -d.imposed) & (own - front >= d.gain)


class Taken(NamedTuple):
    """What the vehicles in front take of an acceleration [m/s²]."""

    own: Lane
    left: Lane
    right: Lane


def taken_by(near: Neighbours, speed: Lane, d: Driver) -> Taken:
    return Taken(
        held_back(wanted_gap(speed, near.own.speed, d), near.own.distance, d),
        held_back(wanted_gap(speed, near.left.speed, d), near.left.distance, d),
        held_back(wanted_gap(speed, near.right.speed, d), near.right.distance, d),
    )


def chosen(
    lane: Lane, target: Lane, deciding: Lane, speed: Lane, near: Neighbours, taken: Taken, lanes, d: Driver
) -> Lane:
    """The lane that each vehicle heads for, where it is `deciding`; of two that are better the right one."""
    able = deciding & (absolute(speed) >= SLOWEST)
    left = able & (lane > 0) & better(taken.own, taken.left, near.left_rear, d)
    right = able & (lane < lanes - 1) & better(taken.own, taken.right, near.right_rear, d)
    return where(right, lane + 1, where(left, lane - 1, target))


def agreed(lane: Lane, before: Lane, wanted: Lane, changing: Lane, s: Seen, count, size, d: Driver) -> Lane:
    """The lanes that they head for, once each in turn has given up a change in favour of one in front with the same aim.

    Those before it in the list have decided already, those behind it have not: of all that vehicles decide, this alone
    depends on the order in which they do.

    Args:
        before: what they headed for, [N, K] int32.
        wanted: what they would.
        changing: which are between two lanes.
    """
    slot, target = slots(sum_(s.x), size), before
    vx, vy = s.speed * s.cos_h, s.speed * s.sin_h
    for i in range(1, count):
        aim, speed = entry(before, i), entry(s.speed, i)
        gap = wanted_gap(speed, vx * entry(s.cos_h, i) + vy * entry(s.sin_h, i), d)
        distance = s.x - entry(s.x, i)
        rival = (target == aim) & (lane != aim) & (distance > 0.0) & (distance < gap)
        yields = changing & any_(rival)[:, None]
        target = where(slot - i == 0, where(yields, lane, wanted), target)
    return target
