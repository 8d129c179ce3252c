"""TradingData-v0: Trading-v0 at the prices of a table, `bars` `[T, 2]` of opens and closes; see `gpusim.envs.trading.data`.

Until it is given others, the table holds a thousand made-up bars.
"""

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim.env import Env
from gpusim.envs.trading.example import example
from gpusim.envs.trading.history import begun, following
from gpusim.envs.trading.single import observed, seen_after, seen_first, settled, wanted
from gpusim.kernels.lang import Lane, Rng, log, ones_like, take, zeros_like


class State(NamedTuple):
    asset: Lane  # worth of the asset by that of the account
    cash: Lane
    asset_owed: Lane  # interest
    cash_owed: Lane
    target: Lane  # the position asked for last
    last: Lane  # log-return of the last bar
    fast: Lane  # its means over the last bars
    slow: Lane
    square: Lane
    left: Lane  # bars until the end
    price: Lane  # log of the last close by the first
    wealth: Lane  # log of the worth by that at the beginning
    turnover: Lane  # traded in the last bar, by the worth
    row: Lane  # int32, of the last bar seen


class Params(NamedTuple):
    fee: Lane = 0.0005  # of what is traded
    borrow: Lane = 0.0001  # interest for what is borrowed, a bar
    accrue: Lane = 1.0  # how much of the interest owed is still owed a bar later; 0 is gym-trading-env's forgiveness
    short: Lane = -1.0  # the position of action 0; action 1 is flat
    long: Lane = 1.0  # of action 2
    ruin: Lane = -5.0  # reward where nothing is left; gym-trading-env gives 0
    shortest: Lane = 252.0  # bars of an episode, drawn from shortest to longest, where the table has so many
    longest: Lane = 252.0
    jump: Lane = 0.0  # chance that the next bar is any of the table's; 0: they follow one another


class Tables(NamedTuple):
    bars: Lane  # [T, 2] open and close


def init(rng: Rng, p: Any) -> State:
    at = begun(rng, p.bars, p)
    none = zeros_like(at.left)
    seen = seen_first(log(take(p.bars, at.row, 1) / take(p.bars, at.row, 0)))
    return State(
        none, ones_like(none), none, none, none, seen.last, seen.fast, seen.slow, seen.square, at.left, none, none, none,
        at.row,
    )  # fmt: skip


def step(s: State, action: Lane, rng: Rng, p: Any) -> tuple[State, Lane, Lane]:
    row, target = following(rng, s.row, p.bars, p), wanted(action, p)
    before, opened, closed = take(p.bars, row - 1, 1), take(p.bars, row, 0), take(p.bars, row, 1)
    gap, day = log(opened / before), log(closed / opened)
    after = settled(s, target, gap, day, p)
    seen, left = seen_after(s, gap + day), s.left - 1.0
    new = State(
        after.account.asset, after.account.cash, after.account.asset_owed, after.account.cash_owed, target,
        seen.last, seen.fast, seen.slow, seen.square,
        left, s.price + seen.last, s.wealth + after.reward, after.turnover, row,
    )  # fmt: skip
    return new, after.reward, after.ruined | (left < 0.5)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return observed(s, p)


_HIGH = np.array([100, 100, 100, 100, 10, 10, 1], np.float32)

TRADING_DATA = Env(
    id="TradingData-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-_HIGH, _HIGH),
    action_space=Discrete(3),
    max_episode_steps=None,
    tables=Tables(example(1)),
)
