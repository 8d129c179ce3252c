"""`gpusim bench` measures what it says, refuses what it cannot do, and says where its figures come from."""

import dataclasses
import json

import pytest
import torch

import gpusim
from gpusim.agents.app.cli import main
from gpusim.agents.bench import command, memory, roofline, startup
from gpusim.agents.bench.command import BenchConfig
from gpusim.agents.bench.measure import MODES, Point, Rate, make, on_threads, prepare, ratio, steps_for, summarize

SMALL = BenchConfig(
    num_envs=(8,), device="cpu", backend=("eager",), steps=4, rounds=3, seconds=1e-3, startup=False, memory=False
)
POINT = Point(num_envs=8, device="cpu", backend="eager", steps=4, seconds=1e-3)


@pytest.mark.parametrize("mode", list(MODES))
def test_a_result_has_its_mode_and_its_origin(mode, tmp_path, capsys):
    file = tmp_path / "bench.json"
    result = command.bench(dataclasses.replace(SMALL, mode=(mode,), json=file))
    assert json.loads(file.read_text()) == json.loads(json.dumps(result))
    assert list(tmp_path.iterdir()) == [file]
    [row] = result["rows"]
    assert row["meaning"] == MODES[mode]
    assert len(row["steps_per_second"]) == 3
    assert 0 < row["low"] <= row["median"] <= row["high"]
    assert row["first_call_s"] > 0
    assert {"hardware", "versions", "commit", "command", "date", "load"} <= set(result)
    printed = " ".join(capsys.readouterr().out.split())  # however wide the terminal
    assert MODES[mode] in printed
    assert "CartPole-v1 on " in printed


@pytest.mark.parametrize("mode", list(MODES))
def test_a_call_takes_as_many_steps_as_it_is_counted_for(mode):
    ready = prepare(dataclasses.replace(POINT, mode=mode))
    before = ready.env.clock
    ready.call()
    assert ready.env.clock - before == 4
    assert ready.work == 4 * 8


@pytest.mark.parametrize(
    ("num_envs", "mode", "steps"),
    [(4_096, "sim", 64), (2**20, "sim", 16), (2**20, "step", 16), (2**22, "step", 4), (2**26, "sim", 1)],
)
def test_a_call_on_a_cpu_does_not_take_seconds(num_envs, mode, steps):
    env = gpusim.make("CartPole-v1", 1, device="cpu")
    env.num_envs = num_envs
    assert steps_for(env, mode) == steps


def test_every_combination_is_a_row_and_every_size_is_there():
    config = dataclasses.replace(SMALL, num_envs=("4..64", 8), env=("CartPole-v1", "Pendulum-v1"), mode=("sim", "step"))
    assert config.sizes == [4, 8, 16, 64]
    places = {(p.env, p.num_envs, p.mode) for p in command.points(config)}
    assert len(places) == len(command.points(config)) == 2 * 4 * 2
    assert dataclasses.replace(SMALL, env=("all",)).envs == gpusim.env_ids(gpusim.Env)


@pytest.mark.parametrize(
    ("text", "found"), [("1k", [1000]), ("1e3", [1000]), ("4_096", [4096]), ("1k..64k", [1000, 4000, 16000, 64000])]
)
def test_sizes_are_written_as_everywhere(text, found):
    assert command.numbers(text) == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"env": ("CartPool-v1",)}, "CartPole-v1"),
        ({"num_envs": (0,)}, "num_envs must be a positive whole number or a range"),
        ({"num_envs": ("64..8",)}, "num_envs must be a positive whole number or a range"),
        ({"num_envs": ("many",)}, "num_envs must be a positive whole number or a range"),
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"steps": -1}, "steps must be at least 1"),
        ({"seconds": 0.0}, "seconds must be positive"),
        ({"seconds": 1e300}, "seconds must be positive and at most 3600"),
        ({"seconds": float("nan")}, "seconds must be positive and at most 3600"),
        ({"mode": ("fast",)}, "mode 'fast' is not known"),
        ({"backend": ("triton",)}, "it needs a CUDA GPU"),
    ],
)
def test_bad_settings_are_refused(change, words):
    with pytest.raises(gpusim.InputError, match=words):
        command.bench(dataclasses.replace(SMALL, **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"json": "nowhere/bench.json"}, "does not exist"),
        ({"plot": "nowhere/bench.png"}, "does not exist"),
        ({"plot": "bench.txt"}, r"a picture ends in \.png"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_measuring(change, words, tmp_path):
    paths = {name: tmp_path / path for name, path in change.items()}
    with pytest.raises(gpusim.InputError, match=words):
        command.bench(dataclasses.replace(SMALL, **paths))


def test_what_cannot_be_measured_is_a_row_with_its_reason(capsys):
    result = command.bench(dataclasses.replace(SMALL, env=("MinAtar/Breakout-v1",), mode=("policy", "sim")))
    assert [("not_measured" in r, r["mode"]) for r in result["rows"]] == [(True, "policy"), (False, "sim")]
    assert "mode policy needs a vector observation" in " ".join(capsys.readouterr().out.split())


def test_where_nothing_can_be_measured_the_sentences_are_plain_and_the_end_is_no_success(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "CartPole-v1", "--num-envs", "1e12", "--device", "cpu", "--backend", "eager", "--rounds", "1"])
    assert exit_.value.code == 1
    out = " ".join(capsys.readouterr().out.split())
    sentence = "not measured: 1,000,000,000,000 environments of CartPole-v1 take at least"
    assert out.count(sentence) == 2  # speed and start
    assert "InputError" not in out


def test_an_interruption_keeps_what_was_measured(monkeypatch, tmp_path):
    groups = iter([command.group])

    def interrupted(*args):
        for group in groups:
            return group(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "group", interrupted)
    file = tmp_path / "bench.json"
    result = command.bench(dataclasses.replace(SMALL, num_envs=(8, 16), json=file))
    assert result["interrupted"]
    assert [r["num_envs"] for r in json.loads(file.read_text())["rows"]] == [8]


def test_the_picture_holds_the_figures(monkeypatch, tmp_path):
    drawn = []
    from matplotlib.figure import Figure

    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
    file = tmp_path / "bench.png"
    result = command.bench(dataclasses.replace(SMALL, num_envs=(8, 16), mode=("sim", "step"), plot=file))
    speed, cost = drawn[0].axes
    for axes, value in ((speed, lambda r: r["median"]), (cost, lambda r: 1e9 / r["median"])):
        lines = {c.get_label(): list(c[0].get_ydata()) for c in axes.containers}
        assert lines == {f"eager, {m}": [value(r) for r in result["rows"] if r["mode"] == m] for m in ("sim", "step")}
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_start_is_no_shorter_than_its_parts():
    found = startup.startup(POINT)
    for one in (found["cold"], found["warm"]):
        assert 0 < one["import_s"] < one["total_s"]
        assert one["import_s"] + one["make_s"] + one["first_call_s"] <= one["total_s"]


def test_a_start_that_fails_tells_why():
    with pytest.raises(RuntimeError, match="CartPool"):
        startup.startup(dataclasses.replace(POINT, env="CartPool-v1"))


def test_the_summary_is_the_median_and_the_extremes():
    assert summarize([3.0, 1.0, 2.0]) == Rate(2.0, 1.0, 3.0)


def test_the_ratio_is_that_of_the_medians_and_lies_in_its_interval():
    found = ratio([10.0, 12.0, 11.0, 30.0, 9.0], [2.0, 2.2, 2.1, 1.9, 2.0])
    assert found["median"] == pytest.approx(11.0 / 2.0)
    assert found["low"] < found["median"] < found["high"]
    assert ratio([4.0] * 5, [2.0] * 5) == {"median": 2.0, "low": 2.0, "high": 2.0}


def test_the_state_of_a_cartpole_is_counted():
    env, _, _ = make(dataclasses.replace(POINT, num_envs=4))
    floats, flags, episode = 4 + 2, 2, 8  # state, steps and return; terminated and truncated; which episode
    assert roofline.state_bytes(env) == 4 * (4 * floats + flags + episode)


def test_what_a_step_has_to_move_and_to_compute():
    """Of `step`, per environment: two observations of 16 B, a reward, four flags and the reset's, two statistics."""
    ready = prepare(dataclasses.replace(POINT, mode="step"))
    need = roofline.work(dataclasses.replace(POINT, mode="step"), ready)
    state = 2 * 34 / 4  # in and out, once in four steps
    assert need.bytes == pytest.approx(2 * 16 + 4 + 5 + 2 * 4 + state, abs=2)
    assert roofline.work(dataclasses.replace(POINT, mode="train"), ready) == (None, None)


def test_operations_are_counted_by_entries():
    with roofline.Operations() as counted:
        x = torch.ones(8)
        y = (x * 2 + x).view(2, 4)  # two operations on eight entries
        y.sum()  # one more over as many
    assert counted.count == 3 * 8
    assert 30 < roofline.operations("CartPole-v1", observe=True) < 60


def test_memory_grows_by_what_a_call_holds():
    """Every transition of 16 steps: two observations of 16 B, the action, the reward, flags and statistics."""
    found = memory.memory(dataclasses.replace(POINT, num_envs=65_536, steps=16, mode="transitions"))
    assert found["state_bytes_per_env"] == 34
    assert 16 * (2 * 16 + 4 + 4 + 2 + 8) < found["peak_bytes_per_env"] < 16 * 400
    assert memory.memory(dataclasses.replace(POINT, mode="sim"))["peak_bytes_per_env"] is None


def test_threads_are_as_before_after_a_call_on_others():
    before = torch.get_num_threads()
    assert on_threads(before + 1, torch.get_num_threads)() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_its_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    speed = {"median": 123.4e6, "low": 98.7e6, "high": 132.1e6, "first_call_s": 45.67}
    shares = {"share_of_copy": 0.12, "share_of_arithmetic": 0.034}
    taken = {"memory": {"state_bytes_per_env": 1044.0, "peak_bytes_per_env": 2345.0}}
    where = {"num_envs": 1_048_576, "backend": "compile", "mode": "transitions"}
    rows = [{"env": env, **where, **speed, **shares, **taken} for env in ("CartPole-v1", "MinAtar/SpaceInvaders-v1")]
    facts = {"device": "cpu", "torch_threads": 2, "commit": "0" * 12, "load": 0.0, "startup": []}
    hardware = {"versions": {"torch": "2.13.0"}, "hardware": {"processor": "X", "cores": 2}}
    command.show(
        facts | hardware | {"rows": rows, "ceiling": {"bytes_per_second": 2e10, "operations_per_second": 2e11}}
    )
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= columns
    for shown in ("CartPole-v1", "MinAtar/SpaceInvaders-v1", "123.40", "98.70 to 132.10", "8.10", "45.67"):
        assert f" {shown} " in printed.replace("\n", " ")
    for shown in ("1,048,576", "compile", "transitions", "12 %", "3.4 %", "1,044", "2,345"):
        assert printed.count(f" {shown} ") >= 2
