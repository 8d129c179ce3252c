"""What vehicles on a highway do in a frame: the ego as it is told, the others by the intelligent driver model and MOBIL."""

from gpusim.envs.driving.control import cruise, lane_keeping
from gpusim.envs.driving.idm import HARDEST, driver, free, pace
from gpusim.envs.driving.mobil import DELAY, agreed, chosen, taken_by
from gpusim.envs.driving.neighbours import Seen, neighbours
from gpusim.envs.driving.traffic import Params, State, lane_of
from gpusim.envs.driving.vehicle import LANE, accelerated, moved
from gpusim.kernels.lang import Lane, clip, cos, false_like, maximum, sin, slots, sum_, to_float, to_int, where

LEFT, IDLE, RIGHT, FASTER, SLOWER = 0, 1, 2, 3, 4
SLOWEST, STEP = 20.0, 5.0  # of the speeds that the ego keeps to, of which there are three [m/s]
ROUNDING = 8e-16  # float64 takes lanes for reachable that are so much further than two lanes away [m]


def told(s: State, action: Lane, size, lanes) -> State:
    """With what the ego heads for after an action."""
    ego = slots(action, size) == 0
    side = (to_int(action == RIGHT) - to_int(action == LEFT))[:, None]
    aim = clip(s.target + side, 0, lanes - 1)
    middle = to_float(aim) * LANE
    reachable = (s.y >= middle - 2.0 * LANE - ROUNDING) & (s.y <= middle + 2.0 * LANE + ROUNDING)
    step = (to_int(action == FASTER) - to_int(action == SLOWER))[:, None]
    nearest = to_int(s.speed > SLOWEST + 0.5 * STEP) + to_int(s.speed >= SLOWEST + 1.5 * STEP)
    speed = to_float(clip(nearest + step, 0, 2)) * STEP + SLOWEST
    return State(
        s.x, s.y, s.heading, s.speed,
        where(ego & reachable, aim, s.target),
        where(ego & (step != 0), speed, s.target_speed),
        s.timer, s.exponent, s.crashed, s.struck, s.push_x, s.push_y,
    )  # fmt: skip


def driven(s: State, p: Params, dt, count, size, lanes) -> State:
    """A frame of `dt` seconds later, before collisions."""
    slot = slots(sum_(s.x), size)
    cos_h, sin_h, lane = cos(s.heading), sin(s.heading), lane_of(s.y, lanes)
    d, seen = driver(sum_(s.x), s.exponent, p), Seen(s.x, s.y, s.speed, cos_h, sin_h, pace(s.speed, s.target_speed))
    near = neighbours(seen, to_float(lane) * LANE, count, size, d)
    taken = taken_by(near, s.speed, d)
    able = (slot > 0) & ~s.crashed
    changing = able & (lane != s.target)
    due = able & (lane == s.target) & (s.timer > DELAY)
    wanted = chosen(lane, s.target, due, s.speed, near, taken, lanes, d)
    target = agreed(lane, s.target, wanted, changing, seen, count, size, d)
    aimed = where(target < lane, taken.left, where(target > lane, taken.right, taken.own))
    followed = clip(free(seen.pace, d) - maximum(taken.own, aimed), -HARDEST, HARDEST)
    acceleration = where(slot == 0, cruise(s.target_speed, s.speed), followed)
    slip = where(s.crashed, 0.0, lane_keeping(s.y - to_float(target) * LANE, s.heading, s.speed))
    x, y, heading = moved(s.x, s.y, s.heading, cos_h, sin_h, s.speed, slip, dt)
    there = slot < count
    return State(
        where(there, where(s.struck, x + s.push_x, x), s.x),
        where(there, where(s.struck, y + s.push_y, y), s.y),
        where(there, heading, s.heading),
        where(there, accelerated(s.speed, acceleration, s.crashed, dt), s.speed),
        where(there, target, s.target),
        s.target_speed,
        where(there, where(due, 0.0, s.timer) + dt, s.timer),
        s.exponent,
        s.crashed | s.struck,
        false_like(s.x),
        s.push_x,
        s.push_y,
    )
