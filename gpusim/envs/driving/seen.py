"""What the ego of a highway sees, and what it earns."""

from typing import NamedTuple

from gpusim.envs.driving.neighbours import FAR, entry
from gpusim.envs.driving.traffic import Params, State, lane_of
from gpusim.envs.driving.vehicle import LANE, LENGTH
from gpusim.kernels.lang import (
    Lane,
    absolute,
    any_,
    clip,
    cos,
    cumsum,
    entity,
    min_,
    ones_like,
    sin,
    slots,
    sqrt,
    sum_,
    to_float,
    where,
)

SIGHT = 200.0  # [m]
FASTEST = 80.0  # difference of speeds that is 1 in an observation [m/s]


class Row(NamedTuple):
    """A vehicle in an observation."""

    there: Lane
    x: Lane
    y: Lane
    vx: Lane
    vy: Lane


def row(it: Lane, x: Lane, y: Lane, vx: Lane, vy: Lane, lanes) -> Row:
    """Of the vehicle that `it` holds for; zeros where it holds for none."""
    return Row(
        to_float(any_(it)),
        clip(sum_(where(it, x, 0.0)) / SIGHT, -1.0, 1.0),
        clip(sum_(where(it, y, 0.0)) / (LANE * lanes), -1.0, 1.0),
        clip(sum_(where(it, vx, 0.0)) / FASTEST, -1.0, 1.0),
        clip(sum_(where(it, vy, 0.0)) / FASTEST, -1.0, 1.0),
    )


def first(left: Lane) -> Lane:
    """The nearest of those at a distance of `left`, where there is any."""
    it = (left == min_(left)[:, None]) & (left < FAR)
    return it & (cumsum(it) == 1)


def observed(s: State, count, size, lanes) -> tuple[Lane, ...]:
    """Five vehicles of five entries in [-1, 1]: whether it is there, x, y, and how fast they change.

    First the ego, of the road; then the four nearest along the road, of the ego, none farther than 200 m away or more than
    two lengths behind.
    """
    slot = slots(sum_(s.x), size)
    ego, other = slot == 0, (slot > 0) & (slot < count)
    vx, vy = s.speed * cos(s.heading), s.speed * sin(s.heading)
    me = row(ego, s.x, s.y, vx, vy, lanes)
    x, y = s.x - entry(s.x, 0), s.y - entry(s.y, 0)
    vx, vy = vx - entry(vx, 0), vy - entry(vy, 0)
    there = (sqrt(x * x + y * y) < SIGHT) & (x > -2.0 * LENGTH) & other
    left = where(there, absolute(x), FAR)
    it = first(left)
    a, left = row(it, x, y, vx, vy, lanes), where(it, FAR, left)
    it = first(left)
    b, left = row(it, x, y, vx, vy, lanes), where(it, FAR, left)
    it = first(left)
    c, left = row(it, x, y, vx, vy, lanes), where(it, FAR, left)
    d = row(first(left), x, y, vx, vy, lanes)
    return (
        ones_like(me.x), me.x, me.y, me.vx, me.vy, a.there, a.x, a.y, a.vx, a.vy, b.there, b.x, b.y, b.vx, b.vy,
        c.there, c.x, c.y, c.vx, c.vy, d.there, d.x, d.y, d.vx, d.vy,
    )  # fmt: skip


def rewarded(s: State, p: Params, lanes) -> tuple[Lane, Lane]:
    """The reward of the ego, 0 to 1 from the worst to the best that its parameters know, and whether it has crashed."""
    crashed, y = entity(s.crashed, 0), entity(s.y, 0)
    speed, target = entity(s.speed, 0) * cos(entity(s.heading, 0)), to_float(entity(s.target, 0))
    total = to_float(crashed) * p.collision_reward + target / (lanes - 1.0) * p.right_lane_reward
    total = total + clip((speed - p.slow) / (p.fast - p.slow), 0.0, 1.0) * p.high_speed_reward
    scaled = (total - p.collision_reward) / (p.high_speed_reward + p.right_lane_reward - p.collision_reward)
    on_road = absolute(y - to_float(lane_of(y, lanes)) * LANE) <= 0.5 * LANE
    return where(on_road, scaled, 0.0), crashed
