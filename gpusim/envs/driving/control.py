"""The low-level controllers of highway-env's vehicles: they keep to the middle of a lane, and to a speed."""

from gpusim.envs.driving.vehicle import LENGTH, not_zero, wrapped
from gpusim.kernels.lang import Lane, atan2, clip, sqrt

SPEED_GAIN, HEADING_GAIN, LATERAL_GAIN = 1.0 / 0.6, 1.0 / 0.2, 1.0 / 0.6  # [1/s]
STEEPEST = 0.7071067811865476  # sine of the greatest angle to a lane, 45°
GREATEST_SLIP = 0.6546536707079771  # sine of the slip angle at the greatest steering angle, 60°


def lane_keeping(offset: Lane, heading: Lane, speed: Lane) -> Lane:
    """The sine of the slip angle that brings a vehicle to a straight lane along x.

    A lateral speed in proportion to the `offset` [m] asks for a heading, and its error for a rate of turning. The steering
    angle would be that of this slip angle, tan δ = 2 tan β.
    """
    speed = not_zero(speed)
    across = clip(offset * -LATERAL_GAIN / speed, -STEEPEST, STEEPEST)
    error = wrapped(atan2(across, sqrt(1.0 - across * across)) - heading)
    return clip(error * (HEADING_GAIN * LENGTH / 2.0) / speed, -GREATEST_SLIP, GREATEST_SLIP)


def cruise(target: Lane, speed: Lane) -> Lane:
    """Acceleration towards a speed [m/s²]."""
    return (target - speed) * SPEED_GAIN
