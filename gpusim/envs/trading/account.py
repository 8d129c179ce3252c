"""An account of one asset and cash, as gym-trading-env 0.3.5 keeps it (its `Portfolio`), in shares of what it is worth.

Owed interest is counted apart until a position is reduced; a short position owes the asset, one above 1 owes cash.
"""

from typing import NamedTuple

from gpusim.kernels.lang import Lane, maximum, minimum, where


class Account(NamedTuple):
    asset: Lane  # worth of the asset, below 0 where it is sold short
    cash: Lane
    asset_owed: Lane  # interest
    cash_owed: Lane


def worth(a: Account) -> Lane:
    return a.asset + a.cash - a.asset_owed - a.cash_owed


def moved(a: Account, growth: Lane) -> Account:
    """After the price has grown by that factor."""
    return Account(a.asset * growth, a.cash, a.asset_owed * growth, a.cash_owed)


def traded(a: Account, target: Lane, fee) -> Account:
    """After a trade that brings the asset to a share `target` of the worth, the fee taken of what is traded."""
    value = worth(a)
    held = a.asset / value
    short = where((target <= 0.0) & (held < 0.0), minimum(target / where(held < 0.0, held, -1.0), 1.0), 1.0)
    kept = where(
        (target >= 1.0) & (held > 1.0), minimum((target - 1.0) / where(held > 1.0, held - 1.0, 1.0), 1.0), short
    )
    asset, cash = a.asset - (1.0 - kept) * a.asset_owed, a.cash - (1.0 - kept) * a.cash_owed
    move = target * value - asset
    buy, sell = move / (1.0 - fee + fee * target), move / (1.0 - fee * target)
    asset = asset + where(move > 0.0, buy * (1.0 - fee), sell)
    cash = cash - where(move > 0.0, buy, sell * (1.0 - fee))
    return Account(asset, cash, kept * a.asset_owed, kept * a.cash_owed)


def charged(a: Account, rate, accrue) -> Account:
    """With the interest of a bar, beside a share `accrue` of what was owed before."""
    return Account(
        a.asset,
        a.cash,
        a.asset_owed * accrue + maximum(-a.asset, 0.0) * rate,
        a.cash_owed * accrue + maximum(-a.cash, 0.0) * rate,
    )


def chosen(condition: Lane, a: Account, b: Account) -> Account:
    return Account(
        where(condition, a.asset, b.asset),
        where(condition, a.cash, b.cash),
        where(condition, a.asset_owed, b.asset_owed),
        where(condition, a.cash_owed, b.cash_owed),
    )


def by(a: Account, value: Lane) -> Account:
    """In shares of that worth."""
    return Account(a.asset / value, a.cash / value, a.asset_owed / value, a.cash_owed / value)
