"""Prices of one's own, splits of them, and backtests on what training never saw."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import gpusim
from gpusim import InputError
from gpusim.envs.trading.backtest import backtest, interval
from gpusim.envs.trading.data import Prices, prices, walk_forward
from gpusim.envs.trading.picture import draw
from gpusim.envs.trading.portfolio_data import PORTFOLIO_DATA
from gpusim.envs.trading.trading_data import TRADING_DATA
from tests.envs.test_trading import random_bars

pd = pytest.importorskip("pandas")
DAYS = pd.date_range("2020-01-01", periods=40, freq="D")
FRAME = pd.DataFrame({"Open": np.arange(1.0, 41), "Close": np.arange(2.0, 42), "Volume": 0.0}, index=DAYS)
WIDE = pd.DataFrame(np.exp(np.random.default_rng(0).normal(size=(40, 3))), columns=["A", "B", "C"], index=DAYS)


def test_what_may_be_given():
    for given in (FRAME, {"open": FRAME.Open, "close": FRAME.Close}):
        found = prices(given)
        assert found.names in (("Close",), ("close",))
        np.testing.assert_array_equal(found.closes[:, 0], FRAME.Close)
        np.testing.assert_array_equal(found.opens[:, 0], FRAME.Open)
    for given in (WIDE, WIDE.to_numpy(), torch.from_numpy(WIDE.to_numpy().copy())):
        found = prices(given, close=["A", "B", "C"])
        assert found.names == ("A", "B", "C")
        np.testing.assert_array_equal(found.closes, WIDE)
        np.testing.assert_array_equal(found.opens[1:], WIDE.to_numpy()[:-1])  # at the close before
    assert prices(WIDE).names == ("A", "B", "C")
    assert prices(WIDE, close="B").closes.shape == (40, 1)
    assert prices(np.ones(5)).names == ("0",)
    assert prices(WIDE, close=["A", "B"], open=["C", "A"]).opens[3].tolist() == WIDE[["C", "A"]].to_numpy()[3].tolist()
    assert prices(FRAME).labels[3] == np.datetime64("2020-01-04")


def changed(frame, row, column, value):
    new = frame.copy()
    new.iloc[row, new.columns.get_loc(column)] = value
    return new


WRONG = [
    (lambda: prices(changed(WIDE, 7, "B", np.nan)), r"the column 'B' has a gap \(nan\), nan, in row 7 \(2020-01-08"),
    (lambda: prices(changed(WIDE, 7, "B", 0.0)), r"'B' has a price that is not above 0, 0, in row 7 \(2020-01-08"),
    (lambda: prices(changed(WIDE, 39, "C", -2.5)), r"'C' has a price that is not above 0, -2.5, in row 39"),
    (lambda: prices(changed(WIDE, 0, "A", np.inf)), "'A' has a price that float32 does not hold, inf, in row 0"),
    (lambda: prices(np.array([1.0, 2.0, -1.0])), r"the column '0' has a price that is not above 0, -1, in row 2\.$"),
    (lambda: prices(changed(FRAME, 5, "Open", np.nan)), r"the column 'Open' has a gap \(nan\), nan, in row 5"),
    (lambda: prices(WIDE, close="D"), "there is no column 'D'; there are A, B, C"),
    (lambda: prices({"a": ["x", "y"]}), "the column 'a' has something else than numbers"),
    (lambda: prices({"a": [1, 2], "b": [1, 2, 3]}), "the columns of prices are not of one length"),
    (lambda: prices({}), "prices need a column or more"),
    (lambda: prices(np.ones((2, 2, 2))), r"prices are a DataFrame, or numbers \[T\] or \[T, K\], not"),
    (lambda: prices([1.0]), "prices are two bars or more, not 1"),
    (lambda: prices(WIDE.to_numpy(), close=["A"]), "there are 3 columns of prices, and 1 names for them"),
    (lambda: prices(WIDE, close=["A", "B"], open=["C"]), "there are 2 columns of closes and 1 of opens"),
    (lambda: prices(WIDE[::-1]), r"row 1 \(2020-02-08.*does not come after the one before it \(2020-02-09"),
    (lambda: prices(pd.concat([WIDE, WIDE])), r"row 40 \(2020-01-01.*does not come after .*: sort the rows"),
    (lambda: prices(WIDE).tables(TRADING_DATA), "TradingData-v0 takes prices of one asset, not of 3"),
    (lambda: prices(np.ones((5, 9))).tables(PORTFOLIO_DATA), "takes prices of at most 8 assets, not 9"),
    (lambda: prices(WIDE).part(slice(3, 4)), "a part of 40 bars has two or more"),
    (lambda: prices(WIDE).part(slice(0, 9, 2)), "a part of 40 bars has two or more that follow one another"),
    (lambda: walk_forward(100, 60, 41), "100 bars have no room for 60 to train on, 0 between and 41 to test on"),
    (lambda: walk_forward(100, 60, 20, purge=21), "no room"),
    (lambda: walk_forward(100, 1, 20), "train must be a whole number of bars, 2 or more, not 1"),
    (lambda: walk_forward(100, 60, 20, embargo=-1), "embargo must be a whole number of bars, 0 or more, not -1"),
    (lambda: walk_forward(100, 60, 2.5), "test must be a whole number of bars"),
]


@pytest.mark.parametrize(("made", "sentence"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_told_with_its_row(made, sentence):
    with pytest.raises(InputError, match=sentence):
        made()


def test_an_environment_on_prices():
    env = prices(WIDE).env(PORTFOLIO_DATA, "Three-v0")
    assert (env.id, env.params.assets) == ("Three-v0", 3)
    vec = gpusim.make(env, 4, device="cpu", params={"shortest": 20.0, "longest": 39.0})
    vec.reset(seed=0)
    out = vec.rollout(50)
    assert (out.next_obs[:, :, 19:24] == 0).all()  # empty places
    assert out.next_obs[:, :, 16:19].abs().sum() > 0
    assert out.reward.isfinite().all()
    single = prices(FRAME).env(TRADING_DATA, "One-v0")
    assert torch.equal(single.tables.bars, torch.from_numpy(FRAME[["Open", "Close"]].to_numpy(np.float32).copy()))


@pytest.mark.parametrize("anchored", [False, True])
def test_parts_walk_forward(anchored):
    parts = list(walk_forward(100, train=30, test=10, purge=5, embargo=3, anchored=anchored))
    assert [test for _, test in parts] == [slice(k, k + 10) for k in range(35, 91, 13)]
    for train, test in parts:
        assert train.stop + 5 == test.start
        assert train.start == (0 if anchored else test.start - 35)
    covered = [t for _, test in parts for t in range(test.start, test.stop)]
    assert len(set(covered)) == len(covered)
    assert max(covered) < 100
    assert [b.start - a.stop for (_, a), (_, b) in itertools.pairwise(parts)] == [3] * (len(parts) - 1)


# Backtests.


def split(bars, at):
    half = bars.shape[1] // 2
    labels = np.arange(len(bars))
    names = tuple("ABCDEFGH"[:half])
    whole = Prices(names, bars[:, :half].astype(np.float64), bars[:, half:].astype(np.float64), labels)
    return whole.part(slice(0, at)), whole.part(slice(at, None))


def test_one_asset_beside_buying_and_cash():
    train, test = split(random_bars(0), 200)
    env = replace(train.env(TRADING_DATA, "Mine-v0"), params=TRADING_DATA.params._replace(fee=0.01, borrow=0.0))
    found = backtest(lambda obs: torch.tensor([0]), env, test)
    assert list(found) == ["policy", "buy and hold", "cash"]
    for course in found.values():
        assert len(course.worth) == len(course.weights) == len(course.turnover) == 200
        assert course.worth[0] == 1
    expected = 0.99 * test.closes[1:, 0] / test.opens[1, 0]
    np.testing.assert_allclose(found["buy and hold"].worth[1:], expected, rtol=1e-4)
    assert (found["cash"].worth == 1).all()
    np.testing.assert_allclose(found["policy"].turnover[:2], [0, 1 / 1.01], rtol=1e-5)
    assert found["policy"].turnover[2:].max() == 0


def test_a_portfolio_beside_equal_weights():
    train, test = split(random_bars(1, assets=3), 200)
    env = train.env(PORTFOLIO_DATA, "Mine-v0")
    found = backtest(lambda obs: torch.full((1, 8), -1.0), env, test)
    assert list(found) == ["policy", "buy and hold", "equal weights", "cash"]
    assert (found["policy"].worth == 1).all()  # shorts are not allowed
    held = (test.closes[1:] / test.opens[1]).mean(1) / 1.001
    np.testing.assert_allclose(found["buy and hold"].worth[1:], held, rtol=4e-3)  # the gaps' rest is traded
    assert found["buy and hold"].turnover[2:].mean() < 0.3 * found["equal weights"].turnover[2:].mean() + 2e-3
    np.testing.assert_allclose(found["equal weights"].weights[1:].sum(1), 1, atol=1e-5)


def test_prices_that_were_learned_on_are_refused():
    train, test = split(random_bars(2), 200)
    env = train.env(TRADING_DATA, "Mine-v0")
    backtest(lambda obs: torch.tensor([1]), env, test)
    whole, _ = split(random_bars(2), 205)
    for seen in (train, whole.part(slice(150, 205))):
        with pytest.raises(
            InputError, match="some of these prices are those of Mine-v0, on which its policy has learned"
        ):
            backtest(lambda obs: torch.tensor([1]), env, seen)


def test_summaries_by_hand():
    train, test = split(np.float32([[8, 8]] * 5 + [[10, 10], [10, 10], [10, 20], [20, 5], [5, 15]]), 5)
    env = replace(train.env(TRADING_DATA, "Mine-v0"), params=TRADING_DATA.params._replace(fee=0.0, borrow=0.0))
    found = backtest(lambda obs: torch.tensor([2]), env, test)["policy"]
    np.testing.assert_allclose(found.worth, [1, 1, 2, 0.5, 1.5], rtol=1e-5)
    summary = found.summary(bars_a_year=4)
    returns = np.log([1, 2, 0.25, 3])
    assert summary["growth"] == pytest.approx(1.5)
    assert summary["drawdown"] == pytest.approx(0.75)
    assert summary["mean"] == pytest.approx(math.log(1.5) / 4)
    assert summary["sharpe"] == pytest.approx(returns.mean() / returns.std() * 2)
    assert summary["turnover"] == pytest.approx(0.25)


def test_an_interval_holds_the_mean_as_often_as_it_says():
    draw = np.random.default_rng(0)
    held = sum(
        low <= 0.001 <= high for low, high in (interval(0.001 + 0.01 * draw.normal(size=504), s) for s in range(100))
    )
    assert 85 <= held <= 99
    assert interval(np.zeros(50)) == (0.0, 0.0)


@pytest.mark.parametrize("shorts", [0.0, 1.0])
def test_a_picture(shorts, tmp_path):
    """Worth of each on a scale of its own, the weights of the policy stacked to one, what was lost below nought."""
    from matplotlib.figure import Figure

    train, test = split(random_bars(1, assets=3, length=900), 400)
    env = train.env(PORTFOLIO_DATA, "Mine-v0")
    env = replace(env, params=env.params._replace(shorts=shorts))
    drawn = []
    save = Figure.savefig
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, *a, **k: drawn.append(self) or save(self, *a, **k))
        courses = backtest(lambda obs: torch.tensor([[0.5, 0.25, -0.25, 0, 0, 0, 0, 0]]), env, test)
        draw(courses, test, tmp_path / "a.png", "A title")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    worth, weights, lost = drawn[0].axes
    lines = dict(zip(courses, worth.lines, strict=True))
    for name, course in courses.items():
        np.testing.assert_allclose(lines[name].get_ydata(), course.worth)
    assert len({line.get_color() for line in worth.lines}) == 4
    assert [t.get_text() for t in weights.get_legend().get_texts()] == ["A", "B", "C"]
    assert len(weights.collections) == (6 if shorts else 3)
    assert min(line.get_ydata().min() for line in lost.lines) == pytest.approx(
        -100 * max(c.drawdown.max() for c in courses.values())
    )
    with pytest.raises(InputError, match="cannot be written"):
        draw(courses, test, tmp_path / "none" / "a.png")
