"""Prices that are drawn: a stochastic volatility (Heston, 1993) with two regimes that follow one another (Hamilton, 1989).

Geometric Brownian motion, Heston's model and regimes alone are special cases, `GBM`, `HESTON` and `REGIMES`, for
`gpusim.make(..., params=...)`. A bar opens some way from the close before it: a share `gap` of its variance falls there.
"""

from typing import NamedTuple

from gpusim.kernels.lang import (
    Lane,
    Rng,
    cos,
    log,
    maximum,
    sin,
    slot_words,
    sqrt,
    to_float,
    uniform,
    uniform4,
    where,
    zeros_like,
)

TWO_PI = 6.283185307179586

GBM = {"turn_down": 0.0, "turn_up": 1.0, "reversion": 0.0, "vol_of_vol": 0.0}
HESTON = {"turn_down": 0.0, "turn_up": 1.0}
REGIMES = {"reversion": 0.0, "vol_of_vol": 0.0}


class Bar(NamedTuple):
    gap: Lane  # log of the open by the close before
    day: Lane  # log of the close by the open
    heat: Lane  # variance by that of the regime, from this bar on
    down: Lane  # whether the regime is the worse one, from this bar on


def normals(u: Lane, v: Lane) -> tuple[Lane, Lane]:
    """Two independent standard normal draws of two uniform ones from [0, 1) (Box & Muller, 1958)."""
    radius = sqrt(log(1.0 - u) * -2.0)
    return radius * cos(v * TWO_PI), radius * sin(v * TWO_PI)


def noise(rng: Rng, block, count) -> tuple[Lane, Lane]:
    """Two standard normal draws for each entity `[N, count]`, of the halves of a word: they reach up to 4.7."""
    word = slot_words(rng, block, count)
    return normals(to_float(word >> 16) * 2.0**-16, to_float(word & 65535) * 2.0**-16)


def first_regime(rng: Rng, block, p) -> Lane:
    """Whether an episode begins in the worse regime, as often as it is met in the long run."""
    return uniform(rng, block, 0.0, 1.0) * (p.turn_down + p.turn_up) < p.turn_down


def drawn(rng: Rng, heat: Lane, down: Lane, p) -> Bar:
    """The next bar; draws of blocks 0 and 1.

    Its expected growth is e to the drift; variance follows Euler's scheme, kept from going below 0.
    """
    a, b, c, d = uniform4(rng, 0, 0.0, 1.0)
    early, late = normals(a, b)
    other, _ = normals(c, d)
    volatility = where(down, p.volatility_down, p.volatility)
    variance = volatility * volatility * heat
    drift = where(down, p.drift_down, p.drift) - 0.5 * variance
    gap = drift * p.gap + sqrt(variance * p.gap) * early
    day = drift * (1.0 - p.gap) + sqrt(variance * (1.0 - p.gap)) * late
    even = zeros_like(heat)
    shock = (sqrt(even + p.gap) * early + sqrt(even + (1.0 - p.gap)) * late) * p.correlation
    shock = shock + sqrt(even + (1.0 - p.correlation * p.correlation)) * other
    hotter = maximum(heat + p.reversion * (1.0 - heat) + p.vol_of_vol * sqrt(heat) * shock, 0.0)
    turn = uniform(rng, 1, 0.0, 1.0)
    return Bar(gap, day, hotter, (down & (turn >= p.turn_up)) | (~down & (turn < p.turn_down)))
