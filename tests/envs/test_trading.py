"""Trading-v0 and TradingData-v0: the account of gym-trading-env, the future unseen, and markets as they are meant."""

import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gpusim
from gpusim import Uniform
from gpusim.envs.trading import account, market
from gpusim.envs.trading.portfolio import PORTFOLIO
from gpusim.envs.trading.portfolio_data import PORTFOLIO_DATA
from gpusim.envs.trading.trading import TRADING
from gpusim.envs.trading.trading_data import TRADING_DATA
from gpusim.kernels import launch
from gpusim.kernels.lang import rows, take
from gpusim.kernels.launch import recording
from gpusim.kernels.offline import compile_for
from gpusim.testing import check_vector_env
from tests import interpreter
from tests.envs.trading_oracle import MISSING, gym_trading_env, installed

T = 400
ENVS = (TRADING, TRADING_DATA, PORTFOLIO, PORTFOLIO_DATA)
each = pytest.mark.parametrize("env", ENVS, ids=lambda e: e.id)
each_on_data = pytest.mark.parametrize("env", [TRADING_DATA, PORTFOLIO_DATA], ids=lambda e: e.id)
with_oracle = pytest.mark.skipif(not installed(), reason=MISSING)
ORACLES = {"accrue": 0.0, "ruin": 0.0}  # what it does otherwise
WHOLE = {"shortest": 1e6, "longest": 1e6}


def make(env, num_envs=5, **kwargs):
    return gpusim.make(env, num_envs, **({"device": "cpu", "backend": "eager"} | kwargs))


def random_bars(seed=0, volatility=0.02, gaps=0.3, length=T, assets=1):
    draw = np.random.default_rng(seed)
    gap = gaps * volatility * draw.normal(size=(length, assets))
    day = volatility * draw.normal(size=(length, assets))
    opens = 50.0 * np.exp(np.cumsum(gap + day, 0) - day)
    return np.concatenate([opens, opens * np.exp(day)], 1).astype(np.float32)


def walked(bars, actions, backend="eager", **params):
    """One environment, bar by bar, from the first to the last."""
    given = {**WHOLE, **ORACLES, **params}
    vec = make(TRADING_DATA, 1, tables={"bars": bars}, params=given, backend=backend, autoreset_mode="disabled")
    obs, _ = vec.reset(seed=0)
    seen, rewards, over = [obs[0]], [], []
    for action in actions:
        obs, reward, terminated, _, _ = vec.step(torch.tensor([action]))
        seen.append(obs[0])
        rewards.append(float(reward[0]))
        over.append(bool(terminated[0]))
        if over[-1]:
            break
    return torch.stack(seen).numpy(), np.array(rewards), over, vec


CASES = {
    "plain": {},
    "fees": {"fee": 0.002},
    "interest": {"borrow": 0.001},
    "both": {"fee": 0.001, "borrow": 0.0005},
    "leverage": {"fee": 0.001, "borrow": 0.0005, "short": -2.0, "long": 3.0},
    "halves": {"fee": 0.003, "short": -0.5, "long": 0.5},
    "far": {"fee": 0.01, "borrow": 0.01, "short": -1.5, "long": 1.5},
    "no gaps": {"fee": 0.001, "gaps": 0.0},
}


@with_oracle
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_every_bar_is_gym_trading_envs(case, seed):
    """Rewards, the position that prices made of the one asked for, and where it ends. Exact to what float32 holds."""
    given = dict(CASES[case])
    bars = random_bars(seed, gaps=given.pop("gaps", 0.3))
    short, long = given.get("short", -1.0), given.get("long", 1.0)
    actions = np.random.default_rng(seed + 100).integers(0, 3, T - 1)
    actions = np.where(np.random.default_rng(seed).random(T - 1) < 0.6, np.roll(actions, 1), actions)
    theirs = gym_trading_env(bars, [short, 0, long], given.get("fee", 0.0), given.get("borrow", 0.0))
    theirs.reset(seed=0)
    seen, rewards, over, vec = walked(bars, actions, **{"fee": 0.0, "borrow": 0.0} | given)
    total = 0.0
    for t, action in enumerate(actions[: len(rewards)]):
        _, reward, done, truncated, info = theirs.step(int(action))
        assert over[t] == (done or truncated), t
        if done:
            assert rewards[t] == 0
            break
        np.testing.assert_allclose(rewards[t], reward, rtol=2e-6, atol=1e-6, err_msg=f"bar {t}")
        np.testing.assert_allclose(seen[t + 1][4], info["position"], atol=1e-6)
        np.testing.assert_allclose(seen[t + 1][5], np.clip(info["real_position"], -10, 10), rtol=1e-5, atol=1e-5)
        total += reward
    np.testing.assert_allclose(float(vec.get_state().state.wealth[0]), total, atol=2e-4)


@with_oracle
def test_any_account_is_traded_as_gym_trading_envs():
    """To targets and from accounts that no episode of three positions meets, interest owed on both sides."""
    with warnings.catch_warnings():  # it makes errors of all warnings as it is imported
        from gym_trading_env.utils.portfolio import Portfolio

    draw = np.random.default_rng(0)
    for fee in (0.0, 0.001, 0.02):
        held, target = draw.uniform(-3, 3, 400), draw.choice([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.5], 400)
        owed = np.stack([np.maximum(-held, 0), np.maximum(held - 1, 0)]) * draw.uniform(0, 0.05, (2, 400))
        ours = account.Account(*(torch.from_numpy(x) for x in (held, 1 - held, *owed)))
        ours = account.charged(account.traded(ours, torch.from_numpy(target), fee), 0.01, 0.0)
        for i in range(400):
            theirs = Portfolio(held[i], 1 - held[i], *owed[:, i])
            theirs.trade_to_position(target[i], 1.0, fee)
            theirs.update_interest(0.01)
            expected = theirs.asset, theirs.fiat, theirs.interest_asset, theirs.interest_fiat
            np.testing.assert_allclose([float(x[i]) for x in ours], expected, atol=1e-12)


@with_oracle
def test_ruin_is_where_gym_trading_env_has_it():
    bars = random_bars(3)
    bars[20:] *= 0.9
    bars[25:] *= 0.6
    theirs = gym_trading_env(bars, [-3, 0, 3], 0.001, 0.0)
    theirs.reset(seed=0)
    _, rewards, over, _ = walked(bars, [2] * (T - 1), short=-3.0, long=3.0, fee=0.001, borrow=0.0)
    for t in range(len(rewards)):
        _, _, done, _, _ = theirs.step(2)
        assert done == over[t]
    assert done
    assert 20 < len(rewards) < 60
    assert walked(bars, [2] * (T - 1), long=3.0, fee=0.001, borrow=0.0, ruin=-5.0)[1][-1] == -5.0


def test_bars_by_hand():
    """100 -> opens at 110, closes at 121: what is bought at the open earns a tenth, less the fee; what is held, all."""
    bars = np.float32([[100, 100], [110, 121], [121, 121], [110, 133.1], [133.1, 133.1]])
    _, rewards, over, _ = walked(bars, [2, 2, 1, 1], fee=0.01, borrow=0.0)
    bought = 0.99  # of what is paid arrives; target 1
    np.testing.assert_allclose(np.exp(rewards), [bought * 1.1, 1.0, 110 / 121 * 0.99, 1.0], rtol=1e-6)
    assert over == [False, False, False, True]
    _, rewards, _, _ = walked(bars, [0, 1, 1, 1], fee=0.0, borrow=0.05)
    np.testing.assert_allclose(
        np.exp(rewards[0]), 1 - 0.1 - 0.05 * 1.1, rtol=1e-6
    )  # short of 1, which grows by a tenth
    _, rewards, _, _ = walked(bars, [1, 1, 1, 1])
    assert (rewards == 0).all()


def test_interest_accrues():
    """It is owed until it is paid; gym-trading-env forgets all but the last bar's."""
    flat = np.full((12, 2), 7.0, np.float32)
    for accrue, owed in ((1.0, 10 * 0.01), (0.0, 0.01)):
        _, rewards, _, _ = walked(flat, [0] * 10, borrow=0.01, fee=0.0, accrue=accrue)
        np.testing.assert_allclose(np.exp(rewards.sum()), 1 - owed, rtol=1e-4)


@pytest.mark.parametrize("action", [0, 1, 2])
def test_a_constant_price_earns_nothing(action):
    flat = np.full((30, 2), 123.25, np.float32)
    _, rewards, _, _ = walked(flat, [action] * 20, fee=0.0, borrow=0.0)
    np.testing.assert_allclose(rewards, 0, atol=1e-7)
    _, rewards, _, _ = walked(flat, [action, 1] * 10, fee=0.01, borrow=0.0)
    assert rewards.sum() == pytest.approx(0 if action == 1 else 20 * math.log(0.99), rel=0.02)


# The future.


def permuted(env, row, seed=0):
    """The tables of `env`, all bars after `row` in another order."""
    bars = env.tables.bars.numpy().copy()
    bars[row + 1 :] = np.random.default_rng(seed).permutation(bars[row + 1 :])
    return bars


def until(env, row, bars):
    """All that is observed and given up to the bar `row`, at random actions."""
    vec = make(env, 3, tables={"bars": bars}, params=WHOLE)
    obs, _ = vec.reset(seed=0)
    seen, rewards = [obs], []
    for action in actions_of(env, row, 3):
        obs, reward, *_ = vec.step(action)
        seen.append(obs)
        rewards.append(reward)
    return torch.stack(seen), torch.stack(rewards)


def actions_of(env, count, num_envs):
    draw = torch.Generator().manual_seed(1)
    if env.action_space.shape == ():
        return [torch.randint(0, 3, (num_envs,), generator=draw) for _ in range(count)]
    return [torch.rand(num_envs, *env.action_space.shape, generator=draw) * 2 - 1 for _ in range(count)]


def looks_ahead(env, row=60):
    """Whether anything up to the bar `row` is another where only later bars are."""
    one, two = until(env, row, env.tables.bars), until(env, row, permuted(env, row))
    return not all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@each_on_data
@pytest.mark.parametrize("row", [1, 60, 400])
def test_nothing_before_it_depends_on_the_future(env, row):
    assert not looks_ahead(env, row)
    before, after = until(env, row + 5, env.tables.bars), until(env, row + 5, permuted(env, row))
    assert not torch.equal(before[0][row + 1 :], after[0][row + 1 :])  # what is permuted does tell


def sees_the_next_close(s, p):
    return (*TRADING_DATA.observe(s, p)[:6], take(p.bars, s.row + 1, 1))


def is_paid_the_next_bar(s, action, rng, p):
    new, reward, over = TRADING_DATA.step(s, action, rng, p)
    return new, reward + take(p.bars, new.row + 1, 0) * 1e-3, over


def knows_how_it_ends(s, p):
    return (*PORTFOLIO_DATA.observe(s, p)[:24], s.left * 0.0 + take(p.bars, rows(p.bars) - 1, 9))


@pytest.mark.parametrize(
    "env",
    [
        replace(TRADING_DATA, observe=sees_the_next_close),
        replace(TRADING_DATA, step=is_paid_the_next_bar),
        replace(PORTFOLIO_DATA, observe=knows_how_it_ends),
    ],
    ids=["observe", "step", "the end"],
)
@pytest.mark.filterwarnings("ignore:the observe of")
def test_a_look_ahead_is_seen(env):
    assert looks_ahead(env)


# Markets.


def drawn(count, steps, **params):
    """Log-returns `[T, N]` of gaps and of days, heat and regime, beginning as an episode does."""
    state = TRADING.params._replace(**params)
    index = torch.arange(count)
    rng = gpusim.kernels.lang.Rng(torch.tensor(7), index, torch.zeros_like(index), 0, 0)
    heat, down = torch.ones(count), market.first_regime(rng, 2, state)
    bars = []
    for t in range(steps):
        bar = market.drawn(rng._replace(step=t, stream=1), heat, down, state)
        bars.append(torch.stack([bar.gap, bar.day, heat, down.float()]))
        heat, down = bar.heat, bar.down
    return torch.stack(bars, 1).double().numpy()


def test_geometric_brownian_motion():
    gap, day, heat, down = drawn(4096, 64, **market.GBM, drift=0.003, volatility=0.02, gap=0.25)
    total, n = gap + day, gap.size
    assert (heat == 1).all()
    assert not down.any()
    assert total.mean() == pytest.approx(0.003 - 0.02**2 / 2, abs=5 * 0.02 / math.sqrt(n))
    assert total.std() == pytest.approx(0.02, rel=5 / math.sqrt(2 * n))
    assert gap.var() / total.var() == pytest.approx(0.25, rel=0.02)
    assert np.exp(total).mean() == pytest.approx(math.exp(0.003), abs=5 * 0.02 / math.sqrt(n))
    lagged = [np.corrcoef(x[1:].ravel(), y[:-1].ravel())[0, 1] for x, y in ((total, total), (total**2, total**2))]
    assert np.abs([*lagged, np.corrcoef(gap.ravel(), day.ravel())[0, 1]]).max() < 5 / math.sqrt(n)
    kurtosis = ((total - total.mean()) ** 4).mean() / total.var() ** 2
    assert kurtosis == pytest.approx(3, abs=5 * math.sqrt(24 / n))


def test_heston():
    """Variance has its stationary mean and spread; returns have fat tails, and fall where variance rises."""
    kappa, xi, rho = 0.1, 0.15, -0.6
    gap, day, heat, _ = drawn(4096, 300, **market.HESTON, reversion=kappa, vol_of_vol=xi, correlation=rho, drift=0.0)
    late = heat[150:]
    assert late.mean() == pytest.approx(1, rel=0.02)
    assert late.var() == pytest.approx(xi**2 / (2 * kappa - kappa**2), rel=0.06)  # of the scheme, kept above 0
    total = gap + day
    shock = heat[1:] - heat[:-1] - kappa * (1 - heat[:-1])
    assert np.corrcoef((total[:-1] / np.sqrt(heat[:-1].clip(1e-9))).ravel(), shock.ravel())[0, 1] == pytest.approx(
        rho, abs=0.05
    )
    kurtosis = ((total[150:] - total[150:].mean()) ** 4).mean() / total[150:].var() ** 2
    assert kurtosis == pytest.approx(3 * (1 + late.var()), rel=0.04)
    assert (heat >= 0).all()


def test_regimes():
    """They last as long as is meant, begin as often as they are met, and differ in drift and volatility."""
    given = {
        "turn_down": 0.05,
        "turn_up": 0.1,
        "drift": 0.01,
        "drift_down": -0.02,
        "volatility": 0.01,
        "volatility_down": 0.03,
    }
    gap, day, _, down = drawn(4096, 100, **market.REGIMES, **given)
    total, worse = gap + day, down.astype(bool)
    for t in (0, 50, 99):
        assert worse[t].mean() == pytest.approx(1 / 3, abs=5 * 0.5 / 64)
    assert worse[1:][~worse[:-1]].mean() == pytest.approx(0.05, rel=0.05)
    assert (~worse)[1:][worse[:-1]].mean() == pytest.approx(0.1, rel=0.05)
    assert total[worse].mean() == pytest.approx(-0.02 - 0.03**2 / 2, rel=0.03)
    assert total[~worse].mean() == pytest.approx(0.01 - 0.01**2 / 2, rel=0.03)
    assert total[worse].std() == pytest.approx(0.03, rel=0.02)
    assert total[~worse].std() == pytest.approx(0.01, rel=0.02)


def test_no_two_episodes_are_alike():
    vec = make(TRADING, 64, params={"shortest": 3.0, "longest": 9.0})
    vec.reset(seed=0)
    out = vec.rollout(40)
    returns = out.next_obs[:, :, 0]
    assert returns.unique().numel() == returns.numel()
    lengths = out.episode_length[out.terminated].int()
    assert set(lengths.tolist()) == set(range(3, 10))


@each_on_data
def test_starts_and_lengths(env):
    """Every row from which an episode fits is a beginning, and none beyond; the table is never left."""
    short = env.tables.bars[:12]
    vec = make(env, 256, tables={"bars": short}, params={"shortest": 4.0, "longest": 8.0})
    vec.reset(seed=0)
    begun = vec.get_state().state
    assert set(begun.left.int().tolist()) == {4, 5, 6, 7, 8}
    assert set(begun.row.tolist()) == set(range(8))
    assert ((begun.row + begun.left) <= 11).all()
    out = vec.rollout(30)
    assert out.reward.isfinite().all()
    vec = make(env, 64, tables={"bars": short}, params=WHOLE)
    vec.reset(seed=0)
    assert (vec.get_state().state.row == 0).all()
    assert (vec.get_state().state.left == 11).all()


def test_blocks_of_a_table():
    """Every bar is one of the table's; blocks are as long as the chance says; no episode is another's."""
    bars = TRADING_DATA.tables.bars
    vec = make(TRADING_DATA, 200, params={"jump": 0.1, **WHOLE})
    vec.reset(seed=0)
    rows_, price = [vec.get_state().state.row], []
    for _ in range(100):
        vec.step(torch.zeros(200, dtype=torch.int64))
        rows_.append(vec.get_state().state.row)
        price.append(vec.get_state().state.last)
    at, last = torch.stack(rows_), torch.stack(price)
    torch.testing.assert_close(last, (bars[at[1:].long(), 1] / bars[at[1:].long() - 1, 1]).log(), rtol=1e-4, atol=1e-6)
    assert float((at[1:] != at[:-1] + 1).float().mean()) == pytest.approx(0.1, rel=0.1)
    assert at.min() >= 0
    assert at[1:].min() >= 1
    assert at.max() <= len(bars) - 1
    assert at.T.unique(dim=0).shape[0] == 200


# On every backend.


@each
def test_the_contract_is_kept(env):
    check_vector_env(make(env, 6))


@each
def test_native_is_eager(env):
    params = (
        {"shortest": 3.0, "longest": 9.0, "fee": Uniform(0.0, 0.01)}
        if "fee" in env.params._fields
        else {"longest": 6.0, "shortest": 2.0}
    )
    both = [make(env, 67, backend=backend, params=params) for backend in ("native", "eager")]
    for vec in both:
        vec.reset(seed=3)
    ours, theirs = (vec.rollout(30) for vec in both)
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)
    assert torch.equal(ours.terminated, theirs.terminated)
    assert both[1]._stepper.arrays


@pytest.mark.slow
def test_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    interpreter.passes(Path(__file__).parent / "trading_in_interpreter.py")


@pytest.mark.slow
@pytest.mark.skipif(launch.interpreted(), reason="kernels are interpreted in this process")
@each
def test_kernels_compile_for_a_gpu_without_spills(env):
    pytest.importorskip("triton")
    with recording() as launches:
        vec = make(env, 64, backend="triton", validate=False)
        vec.reset(seed=0)
        vec.rollout(2)
    compiled = compile_for(launches[-1], "sm_90")
    assert (compiled.spill_stores, compiled.spill_loads) == (0, 0)
