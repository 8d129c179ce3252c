"""The arithmetic and the tables of the benchmarks, without their minutes of measuring."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])


def load(name: str):
    return importlib.import_module(name)


def test_the_ratio_is_that_of_the_medians_and_lies_in_its_interval():
    found = load("throughput").ratio([10.0, 12.0, 11.0, 30.0, 9.0], [2.0, 2.2, 2.1, 1.9, 2.0])
    assert found["median"] == pytest.approx(11.0 / 2.0)
    assert found["low"] < found["median"] < found["high"]
    assert load("throughput").ratio([4.0] * 5, [2.0] * 5) == {"median": 2.0, "low": 2.0, "high": 2.0}


def test_the_ratio_is_to_the_fastest_peer_of_the_same_size():
    throughput = load("throughput")

    class Done:
        first_s = 1.0

    def contestant(who, num_envs, rate):
        return throughput.Contestant(who, "CartPole-v1", num_envs, "x", "sim", who, Done(), [rate] * 3)

    everyone = [
        contestant("gpusim", 8, 60.0),
        contestant("a", 8, 10.0),
        contestant("b", 8, 20.0),
        contestant("c", 9, 90.0),
    ]
    row = throughput.row(everyone[0], everyone)
    assert row["ratio"] == {"to": "b, b", "median": 3.0, "low": 3.0, "high": 3.0}
    assert "ratio" not in throughput.row(everyone[1], everyone)
    assert "ratio" not in throughput.row(everyone[0], everyone[:1])


def test_a_peer_that_is_not_there_is_named_with_the_reason(tmp_path):
    throughput = load("throughput")
    config = throughput.Config(gymnax_python=tmp_path / "python")
    missing: dict[str, str] = {}
    makers = [m for m in throughput.peer_makers(config, 4) if m[0].startswith("gymnax")]
    assert throughput.gather(iter(makers), missing) == []
    assert set(missing) == {"gymnax sim", "gymnax transitions", "gymnax bare"}
    assert all("make peers" in why for why in missing.values())


def test_hardware_names_become_folder_names():
    slug = load("report").slug
    assert slug("Intel(R) Xeon(R) CPU @ 2.20GHz, 2 cores") == "intel-xeon-2-cores"
    assert slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


def test_the_state_of_a_cartpole_is_counted():
    import gpusim

    env = gpusim.make("CartPole-v1", num_envs=4, device="cpu")
    env.reset(seed=0)
    floats, flags, episode = 4 + 2, 2, 8  # state, steps and return; terminated and truncated; which episode
    assert load("memory").state_bytes(env) == 4 * floats + flags + episode


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
    made = [{"score": s, "seconds": 1.0, "steps": 10, "curve": [(5, s), (10, s)]} for s in (475.0, 474.9, 500.0)]
    row = load("ten_seeds").summary(("ppo", "CartPole-v1"), made)
    assert row["reached"] == 2
    assert row["worst"] == 474.9


def test_a_peer_that_ends_unsolved_is_a_lower_bound():
    time_to_solve = load("time_to_solve")

    def row(who, seconds, solved=True):
        return {"who": who, "algorithm": "dqn", "seconds": seconds, "solved": solved}

    rows = [row("gpusim", 4.0), row("gpusim", 6.0), row("peer", 20.0), row("peer", 40.0)]
    assert time_to_solve.ratio(rows, "dqn", "gpusim") == "1"
    assert time_to_solve.ratio(rows, "dqn", "peer") == "6.0"
    assert time_to_solve.ratio([*rows[:3], row("peer", 40.0, False)], "dqn", "peer") == "≥ 6.0"
    assert time_to_solve.spread(rows[:2], "seconds") == "5.00 (4.00 to 6.00)"


def test_the_curve_of_many_seeds_begins_where_all_have_ended_an_episode():
    made = load("ten_seeds").curve([[(10, 1.0), (110, 3.0)], [(20, 5.0), (120, 5.0)], [(0, 0.0), (100, 10.0)]])
    assert (made["steps"][0], made["steps"][-1]) == (20.0, 120.0)
    assert (made["least"][0], made["median"][0], made["greatest"][0]) == (1.2, 2.0, 5.0)
    assert (made["least"][-1], made["median"][-1], made["greatest"][-1]) == (3.0, 5.0, 10.0)
