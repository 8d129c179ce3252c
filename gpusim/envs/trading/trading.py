"""Trading-v0: be long in one asset, flat or short in it, at prices that are drawn for every episode.

A decision is made at the close of a bar and filled at the open of the next. The account is that of gym-trading-env 0.3.5,
checked against it bar by bar in tests/envs/test_trading.py; what differs by default is said at `accrue` and `ruin`.
"""

from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim.env import Env
from gpusim.envs.trading.market import drawn, first_regime
from gpusim.envs.trading.single import observed, seen_after, seen_first, settled, wanted
from gpusim.kernels.lang import Lane, Rng, floor, ones_like, uniform, zeros_like


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
    heat: Lane  # variance by that of the regime; not observed
    down: Lane  # whether the regime is the worse one; not observed


class Params(NamedTuple):
    fee: Lane = 0.0005  # of what is traded
    borrow: Lane = 0.0001  # interest for what is borrowed, a bar
    accrue: Lane = 1.0  # how much of the interest owed is still owed a bar later; 0 is gym-trading-env's forgiveness
    short: Lane = -1.0  # the position of action 0; action 1 is flat
    long: Lane = 1.0  # of action 2
    ruin: Lane = -5.0  # reward where nothing is left; gym-trading-env gives 0
    shortest: Lane = 252.0  # bars of an episode, drawn from shortest to longest
    longest: Lane = 252.0
    drift: Lane = 0.0015  # log of the expected growth a bar
    drift_down: Lane = -0.0015  # in the worse regime
    volatility: Lane = 0.009  # of a bar's log-return
    volatility_down: Lane = 0.012
    turn_down: Lane = 0.01  # chance of a change of regime, a bar
    turn_up: Lane = 0.014
    reversion: Lane = 0.05  # of the variance to that of the regime, a bar
    vol_of_vol: Lane = 0.15
    correlation: Lane = -0.5  # of returns and the shocks of variance
    gap: Lane = 0.2  # share of a bar's variance between the close before and the open


def init(rng: Rng, p: Params) -> State:
    draw = uniform(rng, 3, 0.0, 1.0)
    length = p.shortest + floor(draw * (p.longest - p.shortest + 1.0))
    none, one, down = zeros_like(draw), ones_like(draw), first_regime(rng, 2, p)
    bar = drawn(rng, one, down, p)
    seen = seen_first(bar.gap + bar.day)
    return State(
        none, one, none, none, none, seen.last, seen.fast, seen.slow, seen.square, length, none, none, none, bar.heat,
        bar.down,
    )  # fmt: skip


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    bar, target = drawn(rng, s.heat, s.down, p), wanted(action, p)
    after = settled(s, target, bar.gap, bar.day, p)
    seen, left = seen_after(s, bar.gap + bar.day), s.left - 1.0
    new = State(
        after.account.asset, after.account.cash, after.account.asset_owed, after.account.cash_owed, target,
        seen.last, seen.fast, seen.slow, seen.square,
        left, s.price + seen.last, s.wealth + after.reward, after.turnover, bar.heat, bar.down,
    )  # fmt: skip
    return new, after.reward, after.ruined | (left < 0.5)


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return observed(s, p)


_HIGH = np.array([100, 100, 100, 100, 10, 10, 1], np.float32)

TRADING = Env(
    id="Trading-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-_HIGH, _HIGH),
    action_space=Discrete(3),
    max_episode_steps=None,
)
