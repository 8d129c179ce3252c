"""Portfolio-v0: weights of eight assets and cash, at prices that are drawn for every episode.

All assets share a market (`gpusim.envs.trading.market`) and have a drift of their own, which an episode draws, and noise of
their own. A decision is made at the close of a bar and filled at the open of the next, with costs in proportion to what is
traded. Checked against a float64 reference in tests/envs/test_portfolio.py.
"""

from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box

from gpusim.env import Env
from gpusim.envs.trading.market import drawn, first_regime, noise
from gpusim.envs.trading.weights import ASSETS, RATE, SLOW, beside, observed, rewarded, settled, wanted
from gpusim.kernels.lang import (
    Lane,
    Rng,
    floor,
    log,
    maximum,
    ones_like,
    sqrt,
    uniform,
    where,
    zeros_like,
)


class State(NamedTuple):
    holdings: Lane  # [N, 8] worth of each asset by that of the portfolio; the rest is cash
    last: Lane  # [N, 8] log-return of the last bar
    slow: Lane  # [N, 8] its mean over the last bars
    merit: Lane  # [N, 8] log of the expected growth a bar beside the market's; not observed
    mean: Lane  # of the portfolio's returns over the last bars
    square: Lane  # of their squares
    left: Lane  # bars until the end
    wealth: Lane  # log of the worth by that at the beginning
    turnover: Lane  # traded in the last bar, by the worth
    heat: Lane  # the market's variance by that of the regime; not observed
    down: Lane  # whether the regime is the worse one; not observed


class Params(NamedTuple):
    cost: Lane = 0.001  # of what is traded
    borrow: Lane = 0.0001  # interest for what is borrowed, a bar
    assets: Lane = 8  # of the eight places those that hold an asset
    shorts: Lane = 0.0  # weights reach down to -shorts
    leverage: Lane = 1.0  # the greatest sum of the absolute weights
    sharpe: Lane = 0.0  # 0: the reward is the log-return, 1: the differential Sharpe ratio
    ruin: Lane = -5.0  # reward where nothing is left
    shortest: Lane = 252.0  # bars of an episode, drawn from shortest to longest
    longest: Lane = 252.0
    spread: Lane = 0.001  # standard deviation of the assets' own drifts
    noise: Lane = 0.008  # volatility of the assets' own log-returns
    drift: Lane = 0.0008  # of the market, as in Trading-v0
    drift_down: Lane = -0.0008
    volatility: Lane = 0.007
    volatility_down: Lane = 0.01
    turn_down: Lane = 0.01
    turn_up: Lane = 0.014
    reversion: Lane = 0.05
    vol_of_vol: Lane = 0.15
    correlation: Lane = -0.5
    gap: Lane = 0.2


def init(rng: Rng, p: Params) -> State:
    draw = uniform(rng, 5, 0.0, 1.0)
    length = p.shortest + floor(draw * (p.longest - p.shortest + 1.0))
    luck, other = noise(rng, 2, ASSETS)
    none, own, down = zeros_like(draw), beside(draw, p.noise), first_regime(rng, 4, p)
    bar, merit = drawn(rng, ones_like(draw), down, p), luck * beside(draw, p.spread)
    last = (bar.gap + bar.day)[:, None] + merit - 0.5 * own * own + own * other
    variance = p.noise * p.noise + p.volatility * p.volatility
    return State(
        luck * 0.0, last, last * SLOW, merit, none, none + variance, length, none, none, bar.heat, bar.down,
    )  # fmt: skip


def step(s: State, action: tuple[Lane, ...], rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    bar, (early, late) = drawn(rng, s.heat, s.down, p), noise(rng, 2, ASSETS)
    own, share, rest = beside(s.left, p.noise), beside(s.left, p.gap), beside(s.left, 1.0 - p.gap)
    drift = s.merit - 0.5 * own * own
    gap = bar.gap[:, None] + drift * share + sqrt(share) * own * early
    day = bar.day[:, None] + drift * rest + sqrt(rest) * own * late
    after = settled(s.holdings, wanted(action, p), gap, day, p)
    reward, left, last = rewarded(after.growth, s.mean, s.square, p), s.left - 1.0, gap + day
    alive = after.growth > 0.0
    more = after.growth - 1.0
    new = State(
        after.holdings, last, s.slow + (last - s.slow) * SLOW, s.merit,
        s.mean + (more - s.mean) * RATE, s.square + (more * more - s.square) * RATE,
        left, s.wealth + where(alive, log(maximum(after.growth, 1e-30)), p.ruin), after.turnover, bar.heat, bar.down,
    )  # fmt: skip
    return new, reward, ~alive | (left < 0.5)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return observed(s, p)


_HIGH = np.array([100] * 16 + [10] * 8 + [1], np.float32)

PORTFOLIO = Env(
    id="Portfolio-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-_HIGH, _HIGH),
    action_space=Box(-1.0, 1.0, (ASSETS,)),
    max_episode_steps=None,
)
