"""Portfolio-v0 and PortfolioData-v0 beside a float64 reference in NumPy, and what has to hold of any portfolio."""

import numpy as np
import pytest
import torch

import gpusim
from gpusim.envs.trading.portfolio_data import PORTFOLIO_DATA
from tests.envs.test_trading import WHOLE, random_bars
from tests.envs.trading_oracle import Portfolio, weights

T = 300
FREE = {"cost": 0.0, "borrow": 0.0}


def make(bars, backend="eager", num_envs=1, **params):
    given = {**WHOLE, **params}
    vec = gpusim.make(
        PORTFOLIO_DATA,
        num_envs,
        device="cpu",
        backend=backend,
        params=given,
        tables={"bars": bars},
        autoreset_mode="disabled",
    )
    vec.reset(seed=0)
    return vec


def walked(vec, actions):
    """What is observed and given bar by bar, until it ends."""
    seen, rewards, states = [], [], []
    for action in actions:
        obs, reward, terminated, _, _ = vec.step(torch.as_tensor(action, dtype=torch.float32)[None])
        seen.append(obs[0].numpy())
        rewards.append(float(reward[0]))
        states.append(vec.get_state().state)
        if terminated[0]:
            break
    return np.array(seen), np.array(rewards), states


def at_random(seed, count=T - 1):
    draw = np.random.default_rng(seed)
    actions = draw.uniform(-1, 1, (count, 8)).astype(np.float32)
    return np.where(draw.random((count, 1)) < 0.2, np.float32(0), actions)


CASES = {
    "free": FREE,
    "costs": {"cost": 0.002, "borrow": 0.0},
    "interest": {"cost": 0.0, "borrow": 0.001, "shorts": 1.0},
    "shorts": {"cost": 0.001, "borrow": 0.0002, "shorts": 1.0},
    "leverage": {"cost": 0.003, "borrow": 0.0005, "shorts": 0.5, "leverage": 2.5},
    "dear": {"cost": 0.02, "borrow": 0.001, "shorts": 1.0, "leverage": 2.0},
    "three assets": {"cost": 0.001, "assets": 3, "shorts": 1.0},
}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("backend", ["eager", "native"])
def test_every_bar_is_the_references(case, backend):
    """Rewards, weights and turnover of every bar, to what float32 holds."""
    bars, given = random_bars(4, assets=8), CASES[case]
    actions, vec = at_random(5), make(bars, backend, **given)
    full = PORTFOLIO_DATA.params._replace(**given)
    reference = Portfolio(8, full.cost, full.borrow)
    seen, rewards, states = walked(vec, actions)
    assert len(rewards) == T - 1
    opens, closes = np.split(bars.astype(np.float64), 2, 1)
    value = start = 1000.0
    for t, action in enumerate(actions):
        wanted = weights(action, full.assets, full.shorts, full.leverage)
        before = reference.worth(opens[t + 1])
        traded, _ = reference.bar(wanted, opens[t + 1], closes[t + 1])
        now = reference.worth(closes[t + 1])
        np.testing.assert_allclose(rewards[t], np.log(now / value), rtol=1e-5, atol=2e-6, err_msg=f"bar {t}")
        np.testing.assert_allclose(seen[t, 16:24], reference.shares * closes[t + 1] / now, atol=3e-6)
        np.testing.assert_allclose(float(states[t].turnover[0]), traded / before, atol=5e-6)
        value = now
    np.testing.assert_allclose(float(states[-1].wealth[0]), np.log(value / start), atol=1e-4)


def test_the_reference_conserves_cash():
    """What assets and cash are worth changes in a trade by its costs, and by nothing else; the target is met."""
    draw = np.random.default_rng(0)
    for _ in range(200):
        reference = Portfolio(8, draw.choice([0.0, 0.001, 0.05]), 0.0)
        prices = draw.uniform(1, 100, 8)
        reference.trade(weights(draw.uniform(-1, 1, 8), 8, 1.0, 2.0), prices)
        prices = prices * np.exp(0.05 * draw.normal(size=8))
        before, wanted = reference.worth(prices), weights(draw.uniform(-1, 1, 8), 8, 1.0, 2.0)
        traded, paid = reference.trade(wanted, prices)
        assert reference.worth(prices) == pytest.approx(before - paid, rel=1e-12)
        assert paid == pytest.approx(reference.cost * traded, rel=1e-12)
        np.testing.assert_allclose(reference.shares * prices / reference.worth(prices), wanted, atol=1e-9)


def test_without_costs_turnover_costs_nothing():
    """To trade to and fro within a bar's opening is to be there at once: worth depends on weights alone."""
    bars = random_bars(6, assets=8)
    opens, closes = np.split(bars.astype(np.float64), 2, 1)
    _, rewards, states = walked(make(bars, **FREE), at_random(7))
    held = np.zeros(8)
    for t, action in enumerate(at_random(7)):
        gap, day = opens[t + 1] / closes[t] - 1, closes[t + 1] / opens[t + 1] - 1
        wanted = weights(action, 8, 0.0, 1.0)
        growth = (1 + held @ gap) * (1 + wanted @ day)
        np.testing.assert_allclose(rewards[t], np.log(growth), atol=2e-6)
        held = wanted * (1 + day) / (1 + wanted @ day)
    assert max(float(s.turnover[0]) for s in states) > 0.5


def test_a_constant_price_earns_nothing():
    flat = np.full((50, 16), 42.0, np.float32)
    _, rewards, _ = walked(make(flat, shorts=1.0, leverage=2.0, **FREE), at_random(8, 40))
    np.testing.assert_allclose(rewards, 0, atol=1e-6)
    _, rewards, states = walked(make(flat, cost=0.01, borrow=0.0, shorts=1.0), at_random(8, 40))
    paid = np.array([float(s.turnover[0]) for s in states])
    np.testing.assert_allclose(np.exp(rewards), 1 - 0.01 * paid, atol=2e-6)


def test_cash_stays_cash():
    _, rewards, _ = walked(make(random_bars(9, assets=8), cost=0.01, borrow=0.01), np.zeros((50, 8)))
    assert (rewards == 0).all()


def test_leverage_is_limited_and_shorts_are_none_unless_allowed():
    bars = np.full((50, 16), 42.0, np.float32)
    for given, low, high in (({}, 0.0, 1.0), ({"shorts": 1.0, "leverage": 1.5}, -1.5, 1.5)):
        seen, _, _ = walked(make(bars, **FREE, **given), at_random(1, 40))
        held = seen[:, 16:24]
        assert held.min() >= low - 1e-6
        assert np.abs(held).sum(1).max() <= high + 1e-5
        assert np.abs(held).sum(1).max() > high - 1e-3


def test_ruin():
    """A short of twice the worth, and prices that rise by six tenths."""
    bars = np.full((20, 16), 10.0, np.float32)
    bars[5:] *= 1.6
    vec = make(bars, shorts=1.0, leverage=2.0, **FREE)
    _, rewards, states = walked(vec, np.full((19, 8), -1.0))
    assert len(rewards) == 5
    assert rewards[-1] == -5.0
    assert (states[-1].holdings == 0).all()


def test_the_differential_sharpe_ratio_is_the_derivative_of_the_ratio():
    """Of one whose moments are weighted exponentially, by the weight; by a difference of it, in float64."""
    from gpusim.envs.trading.weights import RATE, rewarded

    draw = np.random.default_rng(3)
    p = PORTFOLIO_DATA.params._replace(sharpe=1.0)
    mean, square = 0.001 + 0.002 * draw.normal(size=50), None
    square = mean**2 + draw.uniform(1e-4, 4e-4, 50)
    more = 0.01 * draw.normal(size=50)

    def ratio(weight):
        a, b = mean + weight * (more - mean), square + weight * (more**2 - square)
        return a / np.sqrt(b - a**2)

    slope = (ratio(1e-6) - ratio(-1e-6)) / 2e-6
    ours = rewarded(*(torch.from_numpy(x) for x in (1 + more, mean, square)), p)
    np.testing.assert_allclose(ours, slope, rtol=1e-5)
    vec = make(random_bars(2, assets=8), sharpe=1.0)
    _, rewards, states = walked(vec, at_random(4, 100))
    growth = np.diff([0.0, *(float(s.wealth[0]) for s in states)])
    assert np.corrcoef(rewards, growth)[0, 1] > 0.8
    a = 0.0
    for g in np.expm1(growth):
        a += RATE * (g - a)
    np.testing.assert_allclose(float(states[-1].mean[0]), a, atol=1e-5)
