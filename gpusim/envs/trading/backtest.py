"""A policy on prices that it has not learned on, beside what needs no learning. None of this is advice."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gpusim.envs.trading.data import Prices
from gpusim.errors import InputError

FLAT, LONG = 1, 2  # actions of Trading-v0
BLOCK = 21  # bars that are drawn together, as returns of near bars are alike


@dataclass(frozen=True)
class Course:
    """How a strategy fared.

    Attributes:
        worth: `[T]` at every close by that at the first.
        weights: `[T, K]` of the assets; the rest is cash.
        turnover: `[T]` what was traded in every bar, by the worth then.
        interval: of the mean log-return of a bar, with 95 % confidence.
    """

    worth: np.ndarray
    weights: np.ndarray
    turnover: np.ndarray
    interval: tuple[float, float]

    @property
    def returns(self) -> np.ndarray:
        """`[T - 1]` log-returns."""
        return np.diff(np.log(np.maximum(self.worth, 1e-12)))

    @property
    def drawdown(self) -> np.ndarray:
        """`[T]` what is lost since the highest worth so far, a share of that."""
        return 1.0 - self.worth / np.maximum.accumulate(self.worth)

    def summary(self, bars_a_year: float = 252.0) -> dict[str, float]:
        """`growth`, a year's `sharpe`, the greatest `drawdown`, the mean `turnover`, and of a bar's log-return its `mean`
        and the `low` and `high` end of its interval."""
        returns = self.returns
        spread = float(returns.std())
        return {
            "growth": float(self.worth[-1]),
            "sharpe": float(returns.mean() / spread * np.sqrt(bars_a_year)) if spread > 0 else 0.0,
            "drawdown": float(self.drawdown.max()),
            "turnover": float(self.turnover[1:].mean()),
            "mean": float(returns.mean()),
            "low": self.interval[0],
            "high": self.interval[1],
        }


def backtest(policy: Callable[[Any], Any], env: Any, prices: Prices, seed: int = 0) -> dict[str, Course]:
    """`policy` over all of `prices`, once, in their order, and three strategies beside it at the same costs: "buy and hold",
    "equal weights" (at every bar) and "cash". Of one asset the first two are one.

    Args:
        policy: from observations `[1, *obs]` to actions, as `gpusim.agents.load_policy` gives it.
        env: the environment that it learned on, made of `TradingData-v0` or `PortfolioData-v0`.
        prices: others than it learned on.
        seed: of the bootstrap.

    Raises:
        InputError: these are the prices that it learned on, or scipy is missing.
    """
    import gpusim  # here, as it imports this package

    given = prices.tables(env)
    if _shared(env.tables.bars.numpy(), given["bars"]):
        raise InputError(
            f"some of these prices are those of {env.id}, on which its policy has learned: test it on later ones."
        )
    few = len(prices.names)
    params = {"shortest": float(len(prices)), "longest": float(len(prices)), "jump": 0.0}
    if "assets" in env.params._fields:
        params["assets"] = few
    venv = gpusim.make(env, 1, device="cpu", backend="eager", params=params, tables=given, autoreset_mode="disabled")
    strategies: dict[str, Callable[[Any], Any]] = {"policy": policy, **_others(venv, few)}
    courses = {name: _played(venv, each, few, seed) for name, each in strategies.items()}
    return courses


def _shared(learned: np.ndarray, given: np.ndarray, run: int = 3) -> bool:
    """Whether some bars that follow one another are the same in both."""
    known, new = ({x[i : i + run].tobytes() for i in range(len(x) - run + 1)} for x in (learned, given))
    return not known.isdisjoint(new)


def _others(venv: Any, few: int) -> dict[str, Callable[[Any], Any]]:
    if venv.single_action_space.shape == ():
        return {"buy and hold": lambda obs: torch.tensor([LONG]), "cash": lambda obs: torch.tensor([FLAT])}
    places = venv.single_action_space.shape[0]
    even = torch.zeros(1, places)
    even[:, :few] = 1.0 / few

    def held(obs: torch.Tensor) -> torch.Tensor:
        """What prices have made of the weights, so that nothing but a gap's rest is traded."""
        weights = obs[:, 2 * places : 3 * places]
        return even if float(weights.abs().sum()) == 0.0 else weights.clamp(-1.0, 1.0)

    return {"buy and hold": held, "equal weights": lambda obs: even, "cash": lambda obs: torch.zeros(1, places)}


def _played(venv: Any, policy: Callable[[Any], Any], few: int, seed: int) -> Course:
    obs, _ = venv.reset(seed=0)
    worth, weights, turnover = [0.0], [np.zeros(few)], [0.0]
    over = False
    while not over:
        obs, _, terminated, truncated, _ = venv.step(policy(obs))
        state, over = venv.get_state().state, bool((terminated | truncated)[0])
        worth.append(float(state.wealth[0]))
        single = not hasattr(state, "holdings")
        held = [float(state.asset[0])] if single else state.holdings[0, :few].tolist()
        moved = float(state.turnover[0])
        weights.append(np.array(held))
        turnover.append(moved)
    curve = np.exp(np.array(worth))
    return Course(curve, np.array(weights), np.array(turnover), interval(np.diff(np.array(worth)), seed))


def interval(returns: np.ndarray, seed: int = 0, confidence: float = 0.95) -> tuple[float, float]:
    """Of the mean of `returns`, by a bootstrap of blocks of bars (Künsch, 1989), as returns of near bars are alike.

    Raises:
        InputError: scipy is missing.
    """
    try:
        from scipy.stats import bootstrap
    except ImportError:
        raise InputError("an interval is drawn by scipy, which is missing: pip install scipy") from None
    size = max(1, min(BLOCK, len(returns) // 8))
    blocks = returns[: len(returns) // size * size].reshape(-1, size).mean(1)
    if len(blocks) < 2 or float(np.ptp(blocks)) == 0.0:
        return float(returns.mean()), float(returns.mean())
    draw = np.random.default_rng(seed)
    found = bootstrap((blocks,), np.mean, confidence_level=confidence, method="percentile", rng=draw, n_resamples=2000)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
