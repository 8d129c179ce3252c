"""The intelligent driver model (Treiber, Hennecke & Helbing, 2000), as highway-env has it.

    acceleration = a [1 - (v / v₀)^δ - (g / d)²],   g = g₀ + v T + v Δv / (2 √(a b))

v₀ is the speed that is wanted, d the distance to the vehicle in front, middle to middle, Δv how fast they near one another.
"""

from typing import NamedTuple

from gpusim.envs.driving.vehicle import not_zero
from gpusim.kernels.lang import Lane, absolute, clip, exp, log, maximum, sqrt, zeros_like

HARDEST = 6.0  # acceleration, either way [m/s²]
SPEED_LIMIT = 30.0  # of the highway's lanes [m/s]


class Driver(NamedTuple):
    """`[N, 1]`, or `[N, K]` where drivers differ."""

    jam: Lane  # g₀, the distance wanted at rest, middle to middle [m]
    headway: Lane  # T [s]
    acceleration: Lane  # a [m/s²]
    closing: Lane  # 1 / (2 √(a b)) [s²/m]
    exponent: Lane  # δ
    gain: Lane  # acceleration that a change of lanes has to be worth [m/s²]
    imposed: Lane  # braking that it may impose on the next behind [m/s²]


def driver(like: Lane, exponent: Lane, p) -> Driver:
    """Of parameters, which are numbers or lanes `[N]` as `like`."""
    none = zeros_like(like)
    return Driver(
        (none + p.jam)[:, None],
        (none + p.headway)[:, None],
        (none + p.acceleration)[:, None],
        (0.5 / sqrt((none + p.acceleration) * p.braking))[:, None],
        exponent,
        (none + p.gain)[:, None],
        (none + p.imposed)[:, None],
    )


def wanted_gap(speed: Lane, front: Lane, d: Driver) -> Lane:
    """g, behind a vehicle that moves at the speed `front` along one's own heading [m]."""
    return d.jam + speed * (d.headway + (speed - front) * d.closing)


def pace(speed: Lane, target: Lane) -> Lane:
    """log(v / v₀), a very low number at rest."""
    return log(maximum(speed / absolute(not_zero(clip(target, 0.0, SPEED_LIMIT))), 1e-12))


def free(pace: Lane, d: Driver) -> Lane:
    """Acceleration on an empty road [m/s²]."""
    return d.acceleration * (1.0 - exp(pace * d.exponent))


def held_back(gap: Lane, distance: Lane, d: Driver) -> Lane:
    """What a vehicle in front takes of it [m/s²]."""
    ratio = gap / maximum(distance, 0.01)
    return d.acceleration * ratio * ratio
