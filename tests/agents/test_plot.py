"""What is drawn is what the files hold; means and intervals, worked out by hand; refusals in a sentence."""

import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from scipy import stats

import gpusim
from gpusim.agents.app import plot, trajectory
from gpusim.agents.app.cli import main
from gpusim.agents.train.run import RunFolder, preset
from gpusim.envs.classic.acrobot import ACROBOT
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.mountain_car import MOUNTAIN_CAR
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.envs.minatar.freeway import FREEWAY
from gpusim.errors import InputError
from tests.envs.toys import TOY

NAN = float("nan")


def folder(path, readings, algorithm="ppo", env="CartPole-v1", **changes):
    """A run folder with those readings `(steps, return)`, or dicts."""
    run = RunFolder.create(path, algorithm, preset(algorithm, env, **changes))
    with open(path / "metrics.jsonl", "w") as file:
        for i, reading in enumerate(readings):
            made = reading if isinstance(reading, dict) else {"steps": reading[0], "return": reading[1]}
            file.write(json.dumps({"iteration": i + 1, "seconds": made["steps"] / 10, "time": 0.0} | made) + "\n")
    return run.path


def lines(axes):
    """Label and points of the curves; the level across is left out."""
    return {x.get_label(): x.get_xydata().tolist() for x in axes.lines if not x.get_label().startswith("solved")}


def band(axes):
    """`{x: (low, high)}` of the only band."""
    (collection,) = axes.collections
    points = collection.get_paths()[0].vertices
    return {
        x: (points[points[:, 0] == x, 1].min(), points[points[:, 0] == x, 1].max()) for x in np.unique(points[:, 0])
    }


def test_one_run_is_drawn_as_its_file_has_it(tmp_path):
    path = folder(tmp_path / "a", [(100, NAN), (200, 20.0), (300, 50.0), (400, 45.5)], seed=7)
    figure, notes = plot.compare([path])
    (axes,) = figure.axes
    assert lines(axes) == {"ppo, seed 7": [[200, 20.0], [300, 50.0], [400, 45.5]]}
    assert notes == []
    assert axes.get_title() == "CartPole-v1"
    assert axes.get_xlabel() == "environment steps"
    assert axes.get_ylabel() == "return, mean of the last episodes"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ppo, seed 7", "solved at 475"]
    assert not axes.collections
    for x, name, expected in [("seconds", "time of training [s]", 20), ("iterations", "iterations", 2)]:
        (axes,) = plot.compare([path], x)[0].axes
        assert axes.get_xlabel() == name
        assert lines(axes)["ppo, seed 7"][0] == [expected, 20.0]


def test_seeds_are_put_together_and_settings_are_not(tmp_path):
    """IQM of 1, 2, 3, 40 is 2.5; of 1, 2, 3, 4, 100 the mean of 2, 3, 4."""
    paths = [
        folder(tmp_path / f"s{i}", [(10, r), (20, 2 * r), (30, 3.0 * r)], seed=i) for i, r in enumerate((1, 2, 3, 40))
    ]
    paths.append(folder(tmp_path / "other", [(10, 5.0), (20, 6.0), (30, 7.0)], seed=1, gamma=0.5))
    paths.append(folder(tmp_path / "dqn", [(10, 5.0), (20, 6.0), (30, 8.0)], "dqn"))
    (axes,) = plot.compare([tmp_path])[0].axes
    gamma = preset("ppo", "CartPole-v1").gamma
    assert lines(axes) == {
        "dqn, seed 0": [[10, 5], [20, 6], [30, 8]],
        "ppo, gamma 0.5, seed 1": [[10, 5], [20, 6], [30, 7]],
        f"ppo, gamma {gamma}, IQM of 4 seeds, 95 % interval": [[10, 2.5], [20, 5], [30, 7.5]],
    }
    drawn = band(axes)
    for x in (10, 20, 30):
        low, high = plot.interval(np.array([1.0, 2, 3, 40]) * x / 10)
        assert drawn[x] == pytest.approx((low, high))
        assert low < 2.5 * x / 10 < high
    assert len({tuple(np.ravel(line.get_color())) for line in axes.lines[:3]}) == 3
    assert plot.iqm(np.array([1.0, 2, 3, 4, 100])) == 3


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10])
def test_mean_and_interval_are_scipys(n):
    values = np.random.default_rng(n).normal(size=(n, 3))
    assert plot.iqm(values) == pytest.approx(stats.trim_mean(values, 0.25))
    low, high = plot.interval(values)
    if n < 5:
        assert (values.min(0) <= low).all()
        assert (high <= values.max(0)).all()
        return

    def mean(sample, axis):
        return stats.trim_mean(sample, 0.25, axis=axis)

    for j in range(3):
        theirs = stats.bootstrap((values[:, j],), mean, method="percentile", rng=np.random.default_rng(1))
        theirs = theirs.confidence_interval
        width = theirs.high - theirs.low
        assert abs(low[j] - theirs.low) < 0.1 * width
        assert abs(high[j] - theirs.high) < 0.1 * width


def test_curves_of_different_lengths_meet_and_hold():
    curves = [(np.array([0.0, 10, 20]), np.array([0.0, 10, 20])), (np.array([5.0, 15]), np.array([1.0, 3]))]
    x, y = plot.aligned(curves)
    assert x.tolist() == [5, 10, 15, 20]
    assert y.tolist() == [[5, 10, 15, 20], [1, 2, 3, 3]]
    x, y = plot.aligned(curves, 4)
    assert x.tolist() == [5, 10, 15, 20]
    long = np.arange(5000.0)
    x, y = plot.aligned([(long, long), (long, long + 1)])
    assert (len(x), x[0], x[-1]) == (plot.MOST, 0, 4999)
    assert np.array_equal(y[1], x + 1)


def test_runs_are_looked_for_where_runs_are(tmp_path, monkeypatch):
    """Not for ever below, nor in what is hidden or inside another run; a folder that goes while it is looked at is none."""
    found = [tmp_path / "a" / "b" / "c", tmp_path / "z"]
    for path in [*found, tmp_path / ".cache" / "x", found[0] / "inner", tmp_path.joinpath(*"123456") / "deep"]:
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").touch()
    assert list(plot.folders([tmp_path])) == found

    def gone(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "scandir", gone)
    with pytest.raises(InputError, match="holds none"):
        plot.folders([tmp_path])


def test_what_is_left_out_is_said(tmp_path):
    a = folder(tmp_path / "a", [(10, 1.0), (20, 2.0), (100, 3.0)], seed=0)
    folder(tmp_path / "b", [(10, 1.0), (50, 5.0)], seed=1)
    folder(tmp_path / "early", [(10, NAN)], seed=2)
    folder(tmp_path / "empty", [], seed=3)
    again = folder(tmp_path / "again", [(10, 9.0), (20, 9.0), (100, 9.0)], seed=0, device="cpu")
    os.utime(a / "metrics.jsonl", (0, 0))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text("{}")
    figure, notes = plot.compare([tmp_path, a])
    assert lines(figure.axes[0]) == {"ppo, IQM of 2 seeds, 95 % interval": [[10, 5], [20, 5.5], [50, 7], [100, 7]]}
    said = "\n".join(notes)
    for sentence in (
        f"{tmp_path / 'early'} has no return to draw; it is left out.",
        f"{tmp_path / 'empty'} has no readings yet; it is left out.",
        f"{a} is left out: {again} has the same settings and seed, and is newer.",
        f"{tmp_path / 'b'} ends at 50 of 100 steps; from there its last value is kept.",
        f"left out: {tmp_path / 'old' / 'config.json'} is damaged",
    ):
        assert sentence in said
    assert len(notes) == 5


def test_a_complete_run_is_drawn_rather_than_a_newer_one_that_stopped(tmp_path):
    whole, stopped = folder(tmp_path / "whole", [(10, 1.0), (20, 2.0)]), folder(tmp_path / "stopped", [(10, 5.0)])
    (whole / "result.json").write_text("{}")
    os.utime(whole / "metrics.jsonl", (0, 0))
    figure, notes = plot.compare([tmp_path])
    assert lines(figure.axes[0]) == {"ppo, seed 0": [[10, 1], [20, 2]]}
    assert notes == [f"{stopped} is left out: {whole} has the same settings and seed, and is complete."]


def test_environments_have_panels_of_their_own_and_a_metric_may_be_missing(tmp_path):
    folder(tmp_path / "a", [{"steps": 10, "return": -5.0, "kl": 0.5}], env="Pendulum-v1")
    folder(tmp_path / "b", [(10, 1.0), (20, 2.0), (30, 1.0)])
    figure, _ = plot.compare([tmp_path])
    assert [axes.get_title() for axes in figure.axes] == ["CartPole-v1", "Pendulum-v1"]
    assert lines(figure.axes[1]) == {"ppo, seed 0": [[10, -5.0]]}
    figure, notes = plot.compare([tmp_path], metric="kl")
    assert figure.axes[0].get_ylabel() == "kl"
    assert "solved" not in str([t.get_text() for t in figure.axes[0].get_legend().get_texts()])
    assert notes == [f"{tmp_path / 'b'} has no kl to draw; it is left out."]


def test_nothing_overlaps(tmp_path):
    for i in range(6):
        folder(tmp_path / str(i), [(10, 1.0), (20, 2.0), (30, 3.0)], gamma=0.9 + i / 100)
    figure, _ = plot.compare([tmp_path])
    figure.canvas.draw()
    (axes,) = figure.axes
    legend, label = axes.get_legend().get_window_extent(), axes.xaxis.label.get_window_extent()
    assert legend.y1 <= label.y0
    assert legend.y0 >= 0
    assert axes.title.get_window_extent().y0 >= axes.get_window_extent().y1


def run(*args):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in args])
    return exit_.value.code


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "runs" / "a", [(10, 1.0), (20, 2.0)])
    assert run("plot", "runs/a", "runs", "--out", "new/picture.svg", "--x", "seconds") == 0
    assert capsys.readouterr().out == "drawn: new/picture.svg\n"
    assert "<svg" in (tmp_path / "new" / "picture.svg").read_text()
    assert run("plot", "runs") == 0
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    for args, sentence in [
        (["plot"], "plot needs a run folder: gpusim plot runs/..."),
        (["plot", "nowhere"], "there is no folder nowhere."),
        (["plot", "new"], "new is no run folder and holds none, 5 folders deep."),
        (["plot", "runs", "--metric", "loss"], "no run has a finite 'loss' to draw; there are return."),
        (["plot", "runs", "--out", "x.doc"], "the picture x.doc must end in ."),
        (["plot", "runs", "--out", "curves.png/x.png"], "the picture curves.png/x.png cannot be written"),
        (["plot", "runs/a", "runs/a", "--trajectory"], "--trajectory draws one run"),
        (["plot", "runs/a", "--trajectory"], "is incomplete: it has no checkpoint"),
    ]:
        assert run(*args) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert err.count("\n") == 1
    folder(tmp_path / "none", [])
    assert run("plot", "none") == 2
    assert "these runs have no readings yet" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "new", "none", "runs"]


# ------------------------------------------------------------------------------------------------------- trajectory


class Always:
    """A policy of one action."""

    device = "cpu"

    def __init__(self, env, action):
        self.env, self.action = env, action

    def __call__(self, obs):
        return self.action


@pytest.mark.parametrize("name", ["return", "seconds"])
def test_numbers_too_large_to_be_drawn_are_left_out(name, tmp_path):
    ends = [{"steps": 2048 * i, "return": 1.0, "seconds": i} | {name: x} for i, x in enumerate((1e308, -1e308, 3.0), 1)]
    for seed in range(2):
        run = RunFolder.open(folder(tmp_path / f"r{seed}", ends, seed=seed))
        run.threshold = 1e308
        run.close()
        assert run.lost == {}
    figure, _ = plot.compare([tmp_path], x="seconds")
    plot.save(figure, tmp_path / "p.png")
    assert list(lines(figure.axes[0]).values()) == [[[3.0, ends[-1]["return"]]]]


def test_a_picture_that_fails_is_one_line_and_the_result_is_kept(tmp_path, monkeypatch, capsys):
    run = RunFolder.open(folder(tmp_path / "r", [(64, 1.0)]))

    def fails(self, *args, **kwargs):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fails)
    run.close({"mean": 1.0})
    assert run.result() == {"mean": 1.0}
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "cannot be drawn, as matplotlib fails: LinAlgError, Singular matrix" in err


def test_a_trajectory_is_the_states_and_actions_of_the_episode():
    made = trajectory.play(Always(CARTPOLE, torch.tensor([1])), seed=4)
    env = gpusim.make(CARTPOLE, device="cpu", autoreset_mode="disabled")
    obs, _ = env.reset(seed=4)
    seen, over = [obs], False
    while not over:
        obs, _, terminated, _, _ = env.step(torch.tensor([1]))
        seen.append(obs)
        over = bool(terminated)
    assert np.array_equal(np.stack(made.state, -1), torch.cat(seen).numpy())
    assert len(made.action) == len(made.reward) == len(seen) - 1
    figure = trajectory.picture(made, CARTPOLE)
    names = ["x\n[m]", "x_dot\n[m/s]", "theta\n[rad]", "theta_dot\n[rad/s]", "action"]
    assert [axes.get_ylabel() for axes in figure.axes] == names
    assert figure.axes[2].get_title(loc="left") == "pole angle from upright"
    assert figure.axes[-1].get_xlabel() == "time [s]"
    for axes, field in zip(figure.axes, made.state, strict=False):
        assert np.array_equal(axes.lines[0].get_ydata(), field)
        assert np.allclose(axes.lines[0].get_xdata(), 0.02 * np.arange(len(seen)))
    assert figure.axes[4].lines[0].get_ydata().tolist() == [1] * len(seen)
    assert figure.axes[4].lines[0].get_drawstyle() == "steps-post"


def test_other_environments_have_trajectories():
    made = trajectory.play(Always(PENDULUM, torch.tensor([[0.5]])), seed=0, most=5)
    figure = trajectory.picture(made, PENDULUM)
    assert [axes.get_ylabel() for axes in figure.axes] == ["theta\n[rad]", "theta_dot\n[rad/s]", "action"]
    assert figure.axes[2].lines[0].get_ydata().tolist() == [0.5] * 6
    made = trajectory.play(Always(MOUNTAIN_CAR, torch.tensor([2])), seed=0, most=5)
    figure = trajectory.picture(made, MOUNTAIN_CAR)
    assert [axes.get_ylabel() for axes in figure.axes] == ["position", "velocity", "action"]
    assert figure.axes[-1].get_xlabel() == "steps"
    made = trajectory.play(Always(TOY, torch.zeros(1, 2)), seed=0, most=5)
    figure = trajectory.picture(made, TOY)
    assert [len(axes.lines) for axes in figure.axes] == [1, 1, 1, 4, 1, 2]
    made = trajectory.play(Always(FREEWAY, torch.tensor([1])), seed=0, most=5)
    assert len(trajectory.picture(made, FREEWAY).axes) == 8


def test_units_are_read_where_the_source_has_them():
    about = trajectory.described(type(trajectory.play(Always(ACROBOT, torch.tensor([0])), 0, 1).state))
    assert about["theta1"] == ("first link from hanging down, in", "rad")
    about = trajectory.described(type(trajectory.play(Always(FREEWAY, torch.tensor([0])), 0, 1).state))
    assert about["x"] == ("column of each car", "")
    assert trajectory.described(dataclasses.make_dataclass("Unknown", ["x"])) == {}
