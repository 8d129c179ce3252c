"""What `Trading-v0` and `TradingData-v0` share: a bar, seen from an account, and what is observed of it."""

from typing import NamedTuple

from gpusim.envs.trading.account import Account, by, charged, chosen, moved, traded, worth
from gpusim.kernels.lang import Lane, absolute, clip, exp, log, sqrt, to_float, where

FAST, SLOW = 0.2, 0.02  # of what is remembered, the weight of the last bar


class Seen(NamedTuple):
    """Of the closes so far."""

    last: Lane  # log-return of the last bar
    fast: Lane  # mean log-return of the last bars, weighted exponentially
    slow: Lane
    square: Lane  # of its square


def seen_first(last: Lane) -> Seen:
    """Where nothing is known but one bar."""
    return Seen(last, last * FAST, last * SLOW, last * last)


def seen_after(s, last: Lane) -> Seen:
    return Seen(
        last,
        s.fast + (last - s.fast) * FAST,
        s.slow + (last - s.slow) * SLOW,
        s.square + (last * last - s.square) * FAST,
    )


def wanted(action: Lane, p) -> Lane:
    """The position that an action asks for."""
    return where(action == 0, p.short, where(action == 1, 0.0, p.long))


class Outcome(NamedTuple):
    account: Account
    reward: Lane  # the log of what its worth has grown by
    ruined: Lane  # whether nothing is left
    turnover: Lane  # traded at the open, by the worth then


def settled(s, target: Lane, gap: Lane, day: Lane, p) -> Outcome:
    """The account after a bar. What was decided at the close before is filled at the open."""
    opened = moved(Account(s.asset, s.cash, s.asset_owed, s.cash_owed), exp(gap))
    account = chosen(target == s.target, opened, traded(opened, target, p.fee))
    turnover = absolute((account.asset - opened.asset) / worth(opened))
    account = charged(moved(account, exp(day)), p.borrow, p.accrue)
    value = worth(account)
    ruined = value <= 0.0
    value = where(ruined, 1.0, value)
    return Outcome(by(account, value), where(ruined, p.ruin, log(value)), ruined, turnover)


def observed(s, p) -> tuple[Lane, ...]:
    """Returns in percent, the position asked for and what prices have made of it, and what is left of the episode."""
    return (
        100.0 * s.last,
        100.0 * s.fast,
        100.0 * s.slow,
        100.0 * sqrt(absolute(s.square)),
        to_float(s.target),
        clip(s.asset - s.asset_owed, -10.0, 10.0),
        clip(s.left / p.longest, 0.0, 1.0),
    )
