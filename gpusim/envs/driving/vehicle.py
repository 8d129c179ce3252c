"""A vehicle and how it moves: a bicycle model of which both axles are as far from the middle, integrated by Euler's method.

Steering by an angle δ moves the middle at a slip angle β to the heading, tan β = tan δ / 2. Here steering is given as sin β.
"""

from gpusim.kernels.lang import Lane, clip, floor, maximum, minimum, sqrt, where

LENGTH, WIDTH = 5.0, 2.0  # [m]
LANE = 4.0  # width of a lane [m]
MAX_SPEED = 40.0  # [m/s], beyond which a vehicle brakes
PI = 3.141592653589793


def moved(x: Lane, y: Lane, heading: Lane, cos_h: Lane, sin_h: Lane, speed: Lane, slip: Lane, dt):
    """Position and heading after `dt` seconds at sin β = `slip`."""
    along = sqrt(1.0 - slip * slip)
    way = speed * dt
    x = x + way * (cos_h * along - sin_h * slip)
    y = y + way * (sin_h * along + cos_h * slip)
    return x, y, heading + way * slip * (2.0 / LENGTH)


def accelerated(speed: Lane, acceleration: Lane, crashed: Lane, dt) -> Lane:
    """Speed after `dt` seconds; what has crashed comes to rest by itself, what is too fast is held back."""
    acceleration = where(crashed, -speed, acceleration)
    acceleration = where(speed > MAX_SPEED, minimum(acceleration, MAX_SPEED - speed), acceleration)
    acceleration = where(speed < -MAX_SPEED, maximum(acceleration, -MAX_SPEED - speed), acceleration)
    return speed + acceleration * dt


def slip_of(tangent: Lane, steepest) -> Lane:
    """sin β of tan δ, which is at most `steepest` either way."""
    half = clip(tangent, -steepest, steepest) * 0.5
    return half / sqrt(1.0 + half * half)


def wrapped(angle: Lane) -> Lane:
    """The same angle from -π to π [rad]."""
    return angle - floor((angle + PI) * (0.5 / PI)) * (2.0 * PI)


def not_zero(x: Lane) -> Lane:
    """`x`, but at least 0.01 away from 0."""
    return where(x >= 0.0, maximum(x, 0.01), minimum(x, -0.01))
