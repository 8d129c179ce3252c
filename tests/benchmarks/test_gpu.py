"""The benchmarks of a GPU, without one: what is written down and when, what fails, what the command says."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu import curves

pytest.importorskip("triton")
FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    module = importlib.import_module("gpu")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["gpu.py", "gpu_smoke.py"])
def test_without_a_gpu_the_command_says_so(name):
    done = subprocess.run([sys.executable, str(FOLDER / name)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "needs a CUDA GPU" in done.stderr


def test_it_needs_nothing_but_torch_triton_and_gymnasium():
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import gpu, gpusim.agents.ppo, gpusim.agents.train.run;"
        "print([m for m in ('rich', 'tyro', 'tensorboard', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "[]\n", done.stderr


def thing(gpu, mode, call=None, moved=0.0):
    return gpu.Thing({"mode": mode}, "bytes/s", 8.0, call or mode, moved)


def test_shares_of_the_copy_are_of_the_same_round(gpu, monkeypatch):
    seconds = {"copy": iter([1.0, 2.0, 4.0]), "moving": iter([1.0, 1.0, 1.0])}
    monkeypatch.setattr(gpu, "prepare", lambda thing: 1)
    monkeypatch.setattr(gpu, "timed", lambda call, repeats: next(seconds[call]))
    monkeypatch.setattr(gpu, "make_copy", lambda: thing(gpu, "copy", moved=4.0))
    monkeypatch.setitem(gpu.MAKERS, "policy", lambda: iter([gpu.partial(thing, gpu, "moving", moved=4.0)]))
    records = list(gpu.run_section("policy", 3))
    copied, moved = gpu.assembled(records)
    assert (copied["median"], copied["low"], copied["high"]) == (4.0, 2.0, 8.0)
    assert moved["bytes_per_second"] == 4.0
    assert moved["share_of_copy"] == {"median": 1.0, "low": 0.5, "high": 2.0}
    (alone,) = gpu.assembled([r for r in records if r["thing"] > 0])  # the memory for a copy may not be there
    assert "share_of_copy" not in alone
    cut = gpu.assembled(records[:5])  # within the second round
    assert [row["values"] for row in cut] == [[8.0, 4.0], [8.0]]
    assert cut[1]["share_of_copy"] == {"median": 0.5, "low": 0.5, "high": 0.5}


def test_one_that_cannot_be_made_leaves_the_others_their_figures(gpu, monkeypatch):
    def bad(env):
        raise RuntimeError("out of luck")

    def good(env):
        return gpu.Thing({"mode": "m", "env": env}, "steps/s", 1.0, lambda: None)

    monkeypatch.setattr(gpu, "make_copy", lambda: gpu.Thing({"mode": "copy"}, "bytes/s", 1.0, lambda: None, 1.0))
    monkeypatch.setattr(gpu, "timed", lambda call, repeats: 0.5 * repeats)
    monkeypatch.setitem(gpu.MAKERS, "policy", lambda: (gpu.partial(f, f"{f.__name__}-v0") for f in (bad, good)))
    copied, made, failed = gpu.assembled(list(gpu.run_section("policy", 3)))
    assert (copied["median"], made["median"], made["env"]) == (2.0, 2.0, "good-v0")
    assert made["values"] == [2.0] * 3
    assert failed["median"] is None
    assert failed["error"] == "RuntimeError: out of luck"
    assert failed["arguments"] == "bad-v0"
    assert "bad-v0: not measured: RuntimeError: out of luck" in "\n".join(gpu.lines([failed]))


def test_a_section_that_dies_is_a_row_with_its_last_words(gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "__file__", "/no/such/file.py")
    (row,) = gpu.in_a_process("copy", 1, tmp_path / "rows", 60)
    assert row["median"] is None
    assert "No such file" in row["error"]


CUT_OFF = """
import json, sys, time
with open(sys.argv[-1], "a") as file:
    file.write(json.dumps({"thing": 0, "facts": {"mode": "m"}, "unit": "x/s", "work": 2.0, "moved": 0.0}) + "\\n")
    file.write(json.dumps({"thing": 0, "rate": 3.0}) + "\\n" + '{"thing": 0, "ra')
    file.flush()
time.sleep(60)
"""


def test_a_section_that_is_cut_off_keeps_what_it_has(gpu, monkeypatch, tmp_path):
    script = tmp_path / "section.py"
    script.write_text(CUT_OFF)
    monkeypatch.setattr(gpu, "__file__", str(script))
    row, failed = gpu.in_a_process("copy", 1, tmp_path / "rows", 2)
    assert (row["mode"], row["values"]) == ("m", [3.0])
    assert failed["error"] == "not done within 2 s"


def test_what_stands_for_all_of_a_tensor_is_written_once(gpu):
    whole, one = torch.zeros(7, 3), torch.ones((), dtype=torch.bool)
    assert gpu.written([whole, whole.T, None, (), (one.expand(7, 3), one)]) == 7 * 3 * 4 + 1


def test_sections_measured_before_stay(gpu, tmp_path):
    origin = {"device": "cuda:0", "date": "2026-01-02T03:04", "commit": "abc", "hardware": {"gpus": ["NVIDIA H100"]}}
    path = gpu.result_path(origin, tmp_path / "new")
    gpu.publish(origin, {"copy": [1]}, path)
    gpu.publish(origin, {"policy": [2]}, path)
    assert path.name == "2026-01-02-abc.json"
    assert json.loads(path.read_text())["sections"] == {"copy": [1], "policy": [2]}


def test_only_the_smallest_set_of_actions_is_measured(gpu):
    envs = gpu.envs()
    assert envs[0] == gpu.CARTPOLE
    assert {"MinAtar/Breakout-v1", "MountainCar-v0", "Pendulum-v1"} <= set(envs)
    assert not [env for env in envs if env.startswith("MinAtar/") and env.endswith("-v0")]


def test_peers_that_are_not_there_are_rows_with_the_reason(gpu, monkeypatch):
    monkeypatch.setenv("GPU_PEERS", "/no/such/folder")
    row = gpu.beside("gymnax", "gymnax_rollout.py", ("CartPole-v1", 4, 4, "sim", 0.1), {"mode": "m", "num_envs": 4}, 1)
    assert row["median"] is None
    assert "gymnax" in row["error"]


def test_the_curves_that_are_kept_are_of_the_presets_of_today():
    """`python -m tests.gpu.curves` makes them anew."""
    kept = json.loads(curves.FILE.read_text())
    assert set(kept) == set(curves.ENVS)
    for env in curves.ENVS:
        assert kept[env]["settings"] == curves.settings(env), env
        seeds, parts = curves.kept(env).shape
        assert seeds > 4
        assert parts == curves.PARTS


OUTCOMES = """
import os, pytest
@pytest.fixture
def bad():
    raise RuntimeError("no fixture")
@pytest.mark.parametrize("name", ["good", "a b", "skipped", "dies", "late"])
def test_it(name):
    if name == "skipped":
        pytest.skip("not here")
    if name == "dies":
        os._exit(1)
    assert name == "good"
def test_fixture(bad):
    pass
"""


def test_tests_that_failed_or_were_not_reached_are_found_again(tmp_path):
    """A process that dies keeps what it knew."""
    (tmp_path / "test_some.py").write_text(OUTCOMES)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environ = os.environ | {"OUTCOMES": str(tmp_path / "tests.jsonl"), "PYTHONPATH": str(FOLDER)}
    environ.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-m", "pytest", "-p", "outcomes", "-p", "no:cacheprovider", "test_some.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environ, cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    records = [json.loads(line) for line in (tmp_path / "tests.jsonl").read_text().splitlines()]
    assert [r.get("outcome") for r in records] == [None, "passed", "failed", "skipped"]
    assert "a b" in records[2]["says"]
    with open(tmp_path / "tests.jsonl", "a") as file:
        file.write('{"test": "cut o')
    command = [sys.executable, str(FOLDER / "outcomes.py"), str(tmp_path / "tests.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    names = ("test_it[a b]", "test_it[dies]", "test_it[late]", "test_fixture")
    assert done.stdout.splitlines() == [f"test_some.py::{name}" for name in names]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_one_command_says_what_is_missing(tmp_path):
    def says(*arguments, **variables):
        command = ["bash", str(FOLDER / "gpu_once.sh"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | variables)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "Say where the results go" in says()
    assert "'third' is neither" in says("results", "third")
    assert "no tests.jsonl" in says("results", "second", str(tmp_path))
    assert "no '/no/python' here" in says("results", PYTHON="/no/python")
    out = tmp_path / "results"
    assert "finds no CUDA GPU" in says(str(out), PYTHON=sys.executable)
    assert not out.exists()
