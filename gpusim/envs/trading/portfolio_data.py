"""PortfolioData-v0: Portfolio-v0 at the prices of a table, `bars` `[T, 16]`: the opens of eight assets and then their
closes; see `gpusim.envs.trading.data`.

Until it is given others, the table holds a thousand made-up bars.
"""

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box

from gpusim.env import Env
from gpusim.envs.trading.example import example
from gpusim.envs.trading.history import begun, following
from gpusim.envs.trading.weights import ASSETS, RATE, SLOW, observed, rewarded, settled, wanted
from gpusim.kernels.lang import Lane, Rng, log, maximum, slots, take, where, zeros_like


class State(NamedTuple):
    holdings: Lane  # [N, 8] worth of each asset by that of the portfolio; the rest is cash
    last: Lane  # [N, 8] log-return of the last bar
    slow: Lane  # [N, 8] its mean over the last bars
    mean: Lane  # of the portfolio's returns over the last bars
    square: Lane  # of their squares
    left: Lane  # bars until the end
    wealth: Lane  # log of the worth by that at the beginning
    turnover: Lane  # traded in the last bar, by the worth
    row: Lane  # int32, of the last bar seen


class Params(NamedTuple):
    cost: Lane = 0.001  # of what is traded
    borrow: Lane = 0.0001  # interest for what is borrowed, a bar
    assets: Lane = 8  # of the eight places those that hold an asset
    shorts: Lane = 0.0  # weights reach down to -shorts
    leverage: Lane = 1.0  # the greatest sum of the absolute weights
    sharpe: Lane = 0.0  # 0: the reward is the log-return, 1: the differential Sharpe ratio
    ruin: Lane = -5.0  # reward where nothing is left
    shortest: Lane = 252.0  # bars of an episode, drawn from shortest to longest, where the table has so many
    longest: Lane = 252.0
    jump: Lane = 0.0  # chance that the next bar is any of the table's; 0: they follow one another


class Tables(NamedTuple):
    bars: Lane  # [T, 16] opens and closes


def init(rng: Rng, p: Any) -> State:
    at = begun(rng, p.bars, p)
    none, k = zeros_like(at.left), slots(at.row, ASSETS)
    last = log(take(p.bars, at.row[:, None], k + ASSETS) / take(p.bars, at.row[:, None], k))
    return State(zeros_like(last), last, last * SLOW, none, none + 0.0001, at.left, none, none, at.row)


def step(s: State, action: tuple[Lane, ...], rng: Rng, p: Any) -> tuple[State, Lane, Lane]:
    row, k = following(rng, s.row, p.bars, p), slots(s.row, ASSETS)
    before = take(p.bars, row[:, None] - 1, k + ASSETS)
    opened, closed = take(p.bars, row[:, None], k), take(p.bars, row[:, None], k + ASSETS)
    gap, day = log(opened / before), log(closed / opened)
    after = settled(s.holdings, wanted(action, p), gap, day, p)
    reward, left, last = rewarded(after.growth, s.mean, s.square, p), s.left - 1.0, gap + day
    alive = after.growth > 0.0
    more = after.growth - 1.0
    new = State(
        after.holdings, last, s.slow + (last - s.slow) * SLOW,
        s.mean + (more - s.mean) * RATE, s.square + (more * more - s.square) * RATE,
        left, s.wealth + where(alive, log(maximum(after.growth, 1e-30)), p.ruin), after.turnover, row,
    )  # fmt: skip
    return new, reward, ~alive | (left < 0.5)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return observed(s, p)


_HIGH = np.array([100] * 16 + [10] * 8 + [1], np.float32)

PORTFOLIO_DATA = Env(
    id="PortfolioData-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-_HIGH, _HIGH),
    action_space=Box(-1.0, 1.0, (ASSETS,)),
    max_episode_steps=None,
    tables=Tables(example(ASSETS)),
)
