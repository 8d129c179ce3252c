"""Traffic on a straight highway along x: its lanes lie beside one another, to the right where y grows.

Vehicle 0 is the ego. Slots beyond the last vehicle hold wrecks far behind it, which nobody meets.
"""

from typing import NamedTuple

from gpusim.envs.driving.idm import SPEED_LIMIT
from gpusim.envs.driving.vehicle import LANE, PI
from gpusim.kernels.lang import (
    Lane,
    Rng,
    below,
    cumsum,
    exp,
    false_like,
    floor,
    slot_uniform,
    slot_words,
    slots,
    sum_,
    to_float,
    to_int,
    where,
    zeros_like,
)


class State(NamedTuple):
    """Of every vehicle, `[N, K]`."""

    x: Lane  # of its middle [m]
    y: Lane
    heading: Lane  # to the right of the road [rad]
    speed: Lane  # [m/s]
    target: Lane  # int32, the lane that it heads for
    target_speed: Lane  # [m/s]
    timer: Lane  # since it last thought of changing lanes [s]
    exponent: Lane  # δ of the intelligent driver model
    crashed: Lane
    struck: Lane  # whether it is pushed in the next frame, and has crashed then
    push_x: Lane  # [m]
    push_y: Lane


class Params(NamedTuple):
    collision_reward: Lane = -1.0
    right_lane_reward: Lane = 0.1  # in the rightmost lane
    high_speed_reward: Lane = 0.4  # at `fast`
    slow: Lane = 20.0  # speed that is not rewarded [m/s]
    fast: Lane = 30.0
    ego_spacing: Lane = 1.5  # room that the ego has at first, beside `spacing`, that of the others
    spacing: Lane = 1.0
    jam: Lane = 10.0  # distance that others want at rest, middle to middle [m]
    headway: Lane = 1.5  # [s]
    acceleration: Lane = 3.0  # comfortable [m/s²]
    braking: Lane = 5.0  # comfortable [m/s²]
    gain: Lane = 0.2  # of acceleration, for which they change lanes [m/s²]
    imposed: Lane = 2.0  # braking that they impose on the next behind [m/s²]


def begun(rng: Rng, p: Params, count, size, lanes) -> State:
    """`count` vehicles, one before the other, each in a lane that is drawn; there are `size` slots, 64 at most."""
    slot, draw, word = slots(rng.env, size), slot_uniform(rng, 0, size, 0.0, 1.0), slot_words(rng, 16, size)
    there, ego, none = slot < count, slot == 0, zeros_like(draw)
    lane = below(word, lanes)
    speed = where(ego, 25.0, slot_uniform(rng, 32, size, 0.7 * SPEED_LIMIT, 0.8 * SPEED_LIMIT))
    wide = sum_(none)
    spacing = where(ego, (wide + p.ego_spacing)[:, None], (wide + p.spacing)[:, None])
    offset = spacing * (12.0 + speed) * exp(none - 0.125 * lanes)
    x = cumsum(where(there, offset * (0.9 + 0.2 * draw + where(ego, 3.0, 0.0)), 0.0))
    y, nobody = to_float(lane) * LANE, false_like(none)
    phase = (x + y) * PI
    return State(
        where(there, x, to_float(slot) * -50.0),
        where(there, y, 0.0),
        none,
        where(there, speed, 0.0),
        where(there, lane, 0),
        where(there, speed, 0.0),
        phase - floor(phase),
        slot_uniform(rng, 48, size, 3.5, 4.5),
        ~there,
        nobody,
        none,
        none,
    )


def lane_of(y: Lane, lanes) -> Lane:
    """The nearest lane, int32; of two the left one."""
    lane = to_int(zeros_like(y))
    for k in range(1, lanes):
        lane = lane + to_int(y > (k - 0.5) * LANE)
    return lane
