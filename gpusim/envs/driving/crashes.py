"""Collisions of the vehicles on a highway, after they have moved.

Two that touch have crashed. Two that will touch within a frame are pushed apart in the next, each by half, and crash then;
of several pushes the last counts, in the order of the vehicles.
"""

from gpusim.envs.driving.collision import Pair, contact
from gpusim.envs.driving.neighbours import entry
from gpusim.envs.driving.traffic import State
from gpusim.envs.driving.vehicle import LENGTH, WIDTH
from gpusim.kernels.lang import Lane, any_, cos, max_, sin, slots, sum_, where

DIAGONAL = 5.385164807134504  # of a vehicle, √(LENGTH² + WIDTH²) [m]


def of_ego(s: State, dt, count, size) -> State:
    """Where vehicles look for collisions with the ego alone."""
    slot, cos_h, sin_h = slots(sum_(s.x), size), cos(s.heading), sin(s.heading)
    ego, other = slot == 0, (slot > 0) & (slot < count)
    x, y, speed, cos_e, sin_e = entry(s.x, 0), entry(s.y, 0), entry(s.speed, 0), entry(cos_h, 0), entry(sin_h, 0)
    pair = Pair(
        s.x - x, s.y - y, (speed * cos_e - s.speed * cos_h) * dt, (speed * sin_e - s.speed * sin_h) * dt,
        cos_e, sin_e, cos_h, sin_h,
    )  # fmt: skip
    c = contact(pair, speed * dt + DIAGONAL, 0.5 * LENGTH, 0.5 * WIDTH, 0.5 * LENGTH, 0.5 * WIDTH)
    touching, meeting = c.touching & other, c.meeting & other
    last = meeting & (slot == max_(where(meeting, slot, -1))[:, None])
    return hit(
        s,
        touching | (ego & any_(touching)[:, None]),
        meeting | (ego & any_(meeting)[:, None]),
        where(ego, sum_(where(last, c.push_x, 0.0))[:, None], -c.push_x) * 0.5,
        where(ego, sum_(where(last, c.push_y, 0.0))[:, None], -c.push_y) * 0.5,
    )


def of_all(s: State, dt, count, size) -> State:
    """Where every vehicle looks for collisions with every other."""
    slot, cos_h, sin_h = slots(sum_(s.x), size), cos(s.heading), sin(s.heading)
    there, found = slot < count, s
    for j in range(count):
        mine, first = slot - j == 0, slot - j < 0  # whether the other one is met by it, and not it by the other
        x, y, speed, cos_j, sin_j = entry(s.x, j), entry(s.y, j), entry(s.speed, j), entry(cos_h, j), entry(sin_h, j)
        to = where(first, 1.0, -1.0)
        way_x, way_y = (s.speed * cos_h - speed * cos_j) * dt, (s.speed * sin_h - speed * sin_j) * dt
        pair = Pair(to * (x - s.x), to * (y - s.y), to * way_x, to * way_y, cos_h, sin_h, cos_j, sin_j)
        c = contact(
            pair, where(first, s.speed, speed) * dt + DIAGONAL, 0.5 * LENGTH, 0.5 * WIDTH, 0.5 * LENGTH, 0.5 * WIDTH
        )
        found = hit(
            found, c.touching & there & ~mine, c.meeting & there & ~mine, c.push_x * to * 0.5, c.push_y * to * 0.5
        )  # fmt: skip
    return found


def hit(s: State, touching: Lane, meeting: Lane, push_x: Lane, push_y: Lane) -> State:
    return State(
        s.x, s.y, s.heading, s.speed, s.target, s.target_speed, s.timer, s.exponent,
        s.crashed | touching,
        s.struck | meeting,
        where(meeting, push_x, s.push_x),
        where(meeting, push_y, s.push_y),
    )  # fmt: skip
