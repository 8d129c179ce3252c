"""Trading as others keep its books: gym-trading-env, told each fill, and a portfolio in float64 NumPy."""

import importlib.util
import warnings
from typing import NamedTuple

import numpy as np

MISSING = "gym-trading-env 0.3.5 is not installed (make dev installs it without what it asks for)"


class TradingOracle(NamedTuple):
    """What an environment is compared with."""

    source: str
    name: str

    @property
    def against(self):
        return self.source, self.name


GYM_TRADING_ENV = TradingOracle("gym-trading-env", "TradingEnv")
REFERENCE = TradingOracle("gpusim", "tests/envs/trading_oracle.py")


def installed():
    return importlib.util.find_spec("gym_trading_env") is not None


def gym_trading_env(bars, positions, fee, borrow):
    """Their environment on `bars` `[T, 2]` of opens and closes, flat at first, in which what is decided at a close is filled
    at the next open; it says nothing, and neither seeds nor breaks anything."""
    import pandas as pd

    with warnings.catch_warnings():  # it makes errors of all warnings as it is imported
        from gym_trading_env.environments import TradingEnv

    class FilledAtTheOpen(TradingEnv):
        def _get_price(self, delta=0):
            return float(bars[self._idx + delta, 1])

        def _trade(self, position, price=None):
            super()._trade(position, float(bars[self._idx + 1, 0]))

    index = pd.date_range("2020-01-01", periods=len(bars), freq="D")
    frame = pd.DataFrame(bars.astype(np.float64), columns=["open", "close"], index=index)
    return FilledAtTheOpen(
        frame, positions=positions, trading_fees=fee, borrow_interest_rate=borrow, initial_position=0, verbose=0
    )


class Portfolio:
    """Money in float64, asset by asset: what `Portfolio-v0` has to come to."""

    def __init__(self, assets, cost, borrow, cash=1000.0):
        self.shares, self.cash, self.cost, self.borrow = np.zeros(assets), cash, cost, borrow

    def worth(self, prices):
        return self.cash + float(self.shares @ prices)

    def trade(self, weights, prices):
        """To `weights` of what is left after costs; that is found by halving, as costs make it smaller."""
        before, value = self.shares * prices, self.worth(prices)
        low, high = 0.0, value
        for _ in range(200):
            middle = (low + high) / 2
            spent = self.cost * np.abs(weights * middle - before).sum()
            low, high = (middle, high) if middle + spent <= value else (low, middle)
        traded = np.abs(weights * low - before).sum()
        self.shares = weights * low / prices
        self.cash = low - float(self.shares @ prices)
        return traded, self.cost * traded

    def bar(self, weights, opens, closes):
        """Log-return of a bar."""
        traded, paid = self.trade(weights, opens)
        self.cash -= self.borrow * (np.maximum(-self.shares * closes, 0).sum() + max(-self.cash, 0.0))
        return traded, paid


def weights(action, assets, shorts, leverage):
    """As the environment takes an action `[8]`."""
    asked = np.where(np.arange(8) < assets, np.maximum(np.asarray(action, np.float64), -shorts), 0.0)
    return asked * leverage / max(np.abs(asked).sum(), leverage)
