"""A portfolio of eight assets and cash, in shares of what it is worth, and what is observed of it."""

from typing import NamedTuple

from gpusim.kernels.lang import Lane, absolute, clip, exp, log, maximum, slots, sqrt, sum_, to_float, where, zeros_like

ASSETS = 8
SLOW, RATE = 0.05, 0.02  # of what is remembered, the weight of the last bar
TINY = 1e-6


class Outcome(NamedTuple):
    holdings: Lane  # [N, 8] worth of each asset by that of the portfolio
    growth: Lane  # of the worth in this bar; 0 where nothing is left
    turnover: Lane  # traded at the open, by the worth then


def beside(like: Lane, number) -> Lane:
    """`[N, 1]`, a number or a lane to meet entities."""
    return (zeros_like(like) + number)[:, None]


def entities(lanes: tuple[Lane, ...]) -> Lane:
    """`[N, 8]` of eight lanes."""
    k = slots(lanes[0], ASSETS)
    low = where(
        k < 2, where(k == 0, lanes[0][:, None], lanes[1][:, None]), where(k == 2, lanes[2][:, None], lanes[3][:, None])
    )
    high = where(
        k < 6, where(k == 4, lanes[4][:, None], lanes[5][:, None]), where(k == 6, lanes[6][:, None], lanes[7][:, None])
    )
    return where(k < 4, low, high)


def each(x: Lane) -> tuple[Lane, ...]:
    """Eight lanes of `[N, 8]`."""
    k = slots(sum_(x), ASSETS)
    return (
        sum_(where(k == 0, x, 0.0)), sum_(where(k == 1, x, 0.0)), sum_(where(k == 2, x, 0.0)), sum_(where(k == 3, x, 0.0)),
        sum_(where(k == 4, x, 0.0)), sum_(where(k == 5, x, 0.0)), sum_(where(k == 6, x, 0.0)), sum_(where(k == 7, x, 0.0)),
    )  # fmt: skip


def wanted(action: tuple[Lane, ...], p) -> Lane:
    """Weights `[N, 8]` that an action asks for: its entries, those below 0 where shorts are allowed, scaled such that their
    absolute values sum up to `leverage` at most. What is missing to 1 is cash, what is above it is borrowed."""
    low = beside(action[0], -p.shorts)
    asked = where(to_float(slots(action[0], ASSETS)) < beside(action[0], p.assets), maximum(entities(action), low), 0.0)
    gross = sum_(absolute(asked))
    return asked * (p.leverage / maximum(gross, p.leverage))[:, None]


def left_after(weights: Lane, holdings: Lane, value: Lane, cost) -> Lane:
    """What a portfolio is worth after a trade to `weights` of that very worth, which costs `cost` of what is traded.

    A fixed point, found from above: each step is nearer by the factor of `cost` times leverage.
    """
    worth = value - cost * sum_(absolute(weights * value[:, None] - holdings))
    worth = value - cost * sum_(absolute(weights * worth[:, None] - holdings))
    worth = value - cost * sum_(absolute(weights * worth[:, None] - holdings))
    worth = value - cost * sum_(absolute(weights * worth[:, None] - holdings))
    return value - cost * sum_(absolute(weights * worth[:, None] - holdings))


def settled(holdings: Lane, weights: Lane, gap: Lane, day: Lane, p) -> Outcome:
    """The portfolio after a bar of log-returns `gap` and `day`, `[N, 8]`: what was decided at the close before is traded at
    the open."""
    opened = holdings * exp(gap)
    value = 1.0 + sum_(opened - holdings)
    kept = left_after(weights, opened, value, p.cost)
    traded = weights * kept[:, None]
    closed, cash = traded * exp(day), kept - sum_(traded)
    interest = p.borrow * (sum_(maximum(-closed, 0.0)) + maximum(-cash, 0.0))
    growth = cash + sum_(closed) - interest
    alive = (growth > 0.0) & (value > 0.0)
    whole = where(alive, growth, 1.0)
    turnover = where(alive, sum_(absolute(traded - opened)) / where(alive, value, 1.0), 0.0)
    return Outcome(where(alive[:, None], closed / whole[:, None], 0.0), where(alive, growth, 0.0), turnover)


def rewarded(growth: Lane, mean: Lane, square: Lane, p) -> Lane:
    """The log of the growth, or, where `sharpe` is 1, the differential Sharpe ratio (Moody & Saffell, 2001) that a return
    adds to one of exponentially weighted `mean` and `square`; `ruin` where nothing is left."""
    alive = growth > 0.0
    more = where(alive, growth, 1.0) - 1.0
    spread = maximum(square - mean * mean, TINY)
    ratio = (square * (more - mean) - 0.5 * mean * (more * more - square)) / (spread * sqrt(spread))
    value = log(where(alive, growth, 1.0))
    return where(alive, value + p.sharpe * (ratio - value), p.ruin)


def observed(s, p) -> tuple[Lane, ...]:
    """Of each asset its last log-return and the mean of its last ones, in percent, then its weight; what is left at last."""
    market = each(100.0 * s.last) + each(100.0 * s.slow)
    return market + each(clip(s.holdings, -10.0, 10.0)) + (clip(s.left / p.longest, 0.0, 1.0),)
