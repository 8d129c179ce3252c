"""The arithmetic and the tables of the benchmarks, without their minutes of measuring."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])


def load(name: str):
    return importlib.import_module(name)


def test_hardware_names_become_folder_names():
    slug = load("report").slug
    assert slug("Intel(R) Xeon(R) CPU @ 2.20GHz, 2 cores") == "intel-xeon-2-cores"
    assert slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


def test_result_files_go_into_their_blocks_and_nothing_else_changes(tmp_path):
    (tmp_path / "a.md").write_text("| table |\n")
    text = "x\n<!-- results: {} -->\nold\n<!-- end of results -->\ny\n"
    filled = load("readme").filled
    assert filled(text.format("a.md"), tmp_path) == text.format("a.md").replace("old", "| table |")
    assert filled(text.format("b.md"), tmp_path) == text.format("b.md")


def test_ten_seeds_are_summed_up_by_the_middle_half():
    """The mean of 2, 3, 4, 5; the outliers at both ends do not count. All alike have no interval."""
    ten_seeds = load("ten_seeds")
    scores = np.array([-900.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 900.0])
    assert ten_seeds.iqm(scores) == 3.5
    low, high = ten_seeds.interval(scores)
    assert low < 3.5 < high
    assert ten_seeds.interval(np.full(10, 500.0)) == (500.0, 500.0)


def test_a_seed_counts_when_it_reaches_what_is_asked():
    made = [
        {
            "seed": 7 + i,
            "score": s,
            "least": s - 99,
            "seconds": 1.0,
            "steps": 10,
            "curve": [(5, s), (10, s)],
            "gymnasium": None,
        }
        for i, s in enumerate((475.0, 474.9, 500.0))
    ]
    row = load("ten_seeds").summary(("ppo", "CartPole-v1"), made)
    assert row["reached"] == 2
    assert row["worst"] == 474.9
    assert row["least"] == 474.9 - 99
    assert row["first"] == 7


def test_the_curve_of_many_seeds_begins_where_all_have_ended_an_episode():
    made = load("ten_seeds").curve([[(10, 1.0), (110, 3.0)], [(20, 5.0), (120, 5.0)], [(0, 0.0), (100, 10.0)]])
    assert (made["steps"][0], made["steps"][-1]) == (20.0, 120.0)
    assert (made["least"][0], made["median"][0], made["greatest"][0]) == (1.2, 2.0, 5.0)
    assert (made["least"][-1], made["median"][-1], made["greatest"][-1]) == (3.0, 5.0, 10.0)


class Done:
    """A contestant's process that has been measured."""

    first_s, num_envs, versions = 1.0, 8, {"device": "cpu"}


def contestant(who, num_envs, rate, mode="sim"):
    return load("throughput").Contestant(who, "CartPole-v1", num_envs, "x", mode, Done(), [rate] * 3)


def test_ratios_are_to_the_fastest_peer_of_the_same_size():
    everyone = [
        contestant("gpusim", 8, 60.0),
        contestant("a", 8, 10.0),
        contestant("b", 8, 30.0, "bare"),
        contestant("c", 8, 20.0, "step"),
        contestant("d", 9, 90.0),
    ]
    row = load("throughput").row(everyone[0], everyone)
    assert row["ratio"] == {"to": "b, bare", "median": 2.0, "low": 2.0, "high": 2.0}
    assert row["ratio_alike"] == {"to": "c, step", "median": 3.0, "low": 3.0, "high": 3.0}
    assert row["ratio_same"] == {"to": "a, sim", "median": 6.0, "low": 6.0, "high": 6.0}
    assert "ratio" not in load("throughput").row(everyone[1], everyone)
    assert "ratio" not in load("throughput").row(everyone[0], everyone[:1])


def test_contestants_take_turns_and_each_begins_once():
    order = []

    class Thing(Done):
        def __init__(self, name):
            self.name = name

        def measure(self):
            order.append(self.name)
            return 1.0

        def close(self):
            order.append(self.name.upper())

    made = [contestant(x, 8, 0.0)._replace(thing=Thing(x), rates=[]) for x in "abc"]
    missing: dict[str, str] = {}
    assert load("throughput").compete(made, 3, missing) == made
    assert "".join(order) == "abcbcacabABC"
    assert [len(c.rates) for c in made] == [3, 3, 3]
    assert missing == {}


def test_one_that_dies_is_named_and_the_others_go_on():
    class Dies(Done):
        def measure(self):
            raise RuntimeError("it ended: boom")

        def close(self):
            pass

    class Lives(Dies):
        def measure(self):
            return 1.0

    made = [contestant(name, 8, 0.0)._replace(thing=kind(), rates=[]) for name, kind in (("a", Dies), ("b", Lives))]
    missing: dict[str, str] = {}
    assert [c.who for c in load("throughput").compete(made, 2, missing)] == ["b"]
    assert made[1].rates == [1.0, 1.0]
    assert missing == {"a CartPole-v1 sim": "it ended: boom"}


def test_only_what_runs_on_the_same_kind_of_device_is_compared():
    class Cuda(Done):
        versions = {"device": "cuda:0"}  # noqa: RUF012

    ours, theirs = contestant("gpusim", 8, 60.0)._replace(thing=Cuda()), contestant("a", 8, 10.0)
    assert "ratio" not in load("throughput").row(ours, [ours, theirs])


def test_a_peer_that_is_not_there_is_named_with_the_reason():
    throughput, problem = load("throughput"), RuntimeError("not installed here")

    def fails():
        raise problem

    missing: dict[str, str] = {}
    there = contestant("there", 8, 1.0)
    assert throughput.gather(iter([("gone", fails), ("there", lambda: there)]), missing) == [there]
    assert missing == {"gone": "not installed here"}


def test_every_ratio_that_the_aims_ask_for_is_in_the_table():
    throughput = load("throughput")
    everyone = [contestant("gpusim", 8, 6e7), contestant("gymnax", 8, 1e7)]
    facts = {
        "hardware": {"processor": "x", "cores": 2},
        "commit": "c",
        "date": "2026-01-01",
        "command": "m",
        "load": 0.1,
    }
    rows = [throughput.row(c, everyone) for c in everyone]
    result = {"rows": rows, "config": {"rounds": 3}, "device": "cpu", "peer_versions": {}, "not_measured": {"p": "why"}}
    lines = throughput.table(result | facts)
    assert [line.count("6.00 (6.00 to 6.00)") for line in lines if line.startswith("| CartPole")] == [3, 0]
    assert "* Not measured: p: why" in lines


def solved(who, seconds, solved=True):
    return {"who": who, "algorithm": "dqn", "seconds": seconds, "solved": solved}


def test_a_peer_that_ends_unsolved_is_a_lower_bound():
    time_to_solve = load("time_to_solve")
    rows = [solved("gpusim", 4.0), solved("gpusim", 6.0), solved("peer", 20.0), solved("peer", 40.0)]
    assert time_to_solve.ratio(rows, "dqn", "gpusim") == "1"
    assert time_to_solve.ratio(rows, "dqn", "peer") == "6.0"
    assert time_to_solve.ratio([*rows[:3], solved("peer", 40.0, False)], "dqn", "peer") == "≥ 6.0"
    assert time_to_solve.spread(rows[:2], "seconds") == "5.00 (4.00 to 6.00)"


class Peer:
    """A peer's learner that is a line of Python."""

    name, driver, algorithms = "peer", "-c", ("dqn",)

    class venv:
        python = sys.executable

    def missing(self):
        return None


def test_a_peer_that_takes_too_long_is_stopped_and_unsolved(monkeypatch, tmp_path):
    time_to_solve = load("time_to_solve")
    monkeypatch.setattr(time_to_solve, "FOLDER", tmp_path)
    driver = tmp_path / "driver.py"
    monkeypatch.setattr(Peer, "driver", driver.name)
    driver.write_text("import time; time.sleep(60)")
    row = time_to_solve.theirs(Peer(), "dqn", 0, 0.5)
    assert not row["solved"]
    assert 0.5 <= row["seconds"] < 30
    driver.write_text("import sys; sys.exit('needs a checkout')")
    with pytest.raises(RuntimeError, match="needs a checkout"):
        time_to_solve.theirs(Peer(), "dqn", 0, 60.0)
    driver.write_text("import json, time; print(json.dumps(dict(solved=True, time=time.time(), steps=5)))")
    assert time_to_solve.theirs(Peer(), "dqn", 3, 60.0)["solved"]


RATES = {
    "faster": ((1.1, 1.05, 1.15), (1.0, 0.98, 1.02)),
    "slower": ((0.9, 0.85, 0.95), (1.0, 0.98, 1.02)),
    "no change": ((1.1, 0.99, 1.15), (1.0, 0.98, 1.02)),  # the interval holds 1
    "no change ": ((1.1, 1.05, 1.15), (1.0, 0.88, 1.02)),  # BASE differs from itself by more
}


@pytest.mark.parametrize("expected", RATES)
def test_a_change_counts_beyond_the_noise(expected):
    names = ("median", "low", "high")
    change, noise = (dict(zip(names, values, strict=True)) for values in RATES[expected])
    assert load("compare").verdict(change, noise) == expected.strip()


def test_training_is_measured_as_stepping_is(monkeypatch):
    """A learner's iteration is a call, of which the environments' steps count; settings come from no preset."""
    monkeypatch.syspath_prepend(str(FOLDER / "peers"))
    driver, request = importlib.import_module("gpusim_rollout"), importlib.import_module("serve").Request
    env, call = driver.training(request("CartPole-v1", 16, 8, "train", 0.01), "eager", "cpu")
    before, clock = [p.detach().clone() for p in call.__self__.network.parameters()], env.clock
    call()
    assert env.clock == clock + 8
    assert not any(map(torch.equal, before, call.__self__.network.parameters()))
    config = call.__self__.config
    assert (config.num_envs, config.num_steps, config.backend) == (16, 8, "eager")
    assert {name: getattr(config, name) for name in driver.TRAIN} == driver.TRAIN


NOT_THERE = ["Nope-v1:eager:sim:64", "--rounds", "1"]


@pytest.mark.parametrize(
    "words",
    [
        ["nope"],
        [".", ".", "--points", "CartPole-v1:eager"],
        [".", ".", "--points", "CartPole-v1:eager:learn:64"],
        [".", ".", "--device", "qpu"],
    ],
)
def test_what_cannot_be_compared_is_refused(words):
    command = [sys.executable, str(FOLDER / "compare.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("compare: ")
    assert done.stderr.count("\n") == 1


def test_what_cannot_be_measured_is_no_pass():
    command = [sys.executable, str(FOLDER / "compare.py"), ".", ".", "--points", *NOT_THERE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "not measured: BASE" in done.stdout


@pytest.mark.slow
def test_two_trees_are_compared_and_a_tree_that_fails_is_named(tmp_path):
    """The second tree steps as the first, the third has no gpusim that works."""
    compare = load("compare")
    order = ["CartPole-v1", "16", "4", "sim", "0.01", "eager", "cpu"]
    root = FOLDER.parent
    found = compare.compared("p", order, (root, root, root), 3)
    assert found.verdict in ("no change", "faster", "slower")
    assert found.base > 0
    assert found.head > 0
    (tmp_path / "gpusim").mkdir()
    (tmp_path / "gpusim" / "__init__.py").write_text("raise ImportError('this tree is broken')")
    found = compare.compared("p", order, (root, tmp_path, root), 3)
    assert found.verdict.startswith("not measured: HEAD:")
    assert "this tree is broken" in found.verdict


def test_the_report_shows_every_result_with_its_origin_and_leaves_out_what_was_not_measured(tmp_path):
    machine = tmp_path / "results" / "some-processor"
    machine.mkdir(parents=True)
    facts = {"hardware": {"processor": "X", "cores": 2, "memory_gib": 8}, "versions": {"torch": "2"}, "commit": "abc"}
    facts |= {"device": "cpu", "command": "m", "date": "2026-01-02T03"}
    (machine / "memory.json").write_text(json.dumps(facts))
    (machine / "memory.md").write_text("| a table |")
    (machine / "memory.png").write_text("")
    text = load("write_report").report(tmp_path / "results")
    for words in (
        "| a table |",
        "X, 2 cores, 8 GiB; torch 2; commit abc; `m`; 2026-01-02",
        "(results/some-processor/memory.png)",
    ):
        assert words in text
    assert text.count("On a GPU: not measured.") == len(load("write_report").SECTIONS)
    assert text.count("### some-processor") == 1


def test_the_pictures_show_what_the_files_hold(monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kwargs: drawn.append(self))
    pictures, throughput = load("pictures"), load("throughput")
    facts = {"hardware": {"processor": "x", "cores": 2}, "commit": "c", "date": "2026-01-01", "device": "cpu"}
    everyone = [contestant("gpusim", 8, 6e7), contestant("gpusim", 8, 7e7, "step"), contestant("a", 8, 1e7)]
    pictures.throughput(facts | {"rows": [throughput.row(c, everyone) for c in everyone]}, tmp_path / "x.png")
    [axes] = drawn[0].axes
    assert [float(points[0].get_xdata()[0]) for points in axes.containers] == [
        7e7,
        1e7,
    ]  # the fastest mode of each first
    assert axes.get_xscale() == "log"
    assert "logarithmic" in axes.get_xlabel()
    assert not axes.patches  # a bar has no honest length there
    rows = [solved("gpusim", 4.0), solved("peer", 20.0), solved("peer", 40.0, False)]
    pictures.time_to_solve(facts | {"rows": rows}, tmp_path / "x.png")
    [axes] = drawn[1].axes
    assert [float(line.get_xdata()[0]) for line in axes.lines] == [4.0, 20.0, 40.0]
    assert [line.get_markerfacecolor() == "none" for line in axes.lines] == [False, False, True]
