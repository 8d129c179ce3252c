"""The kernels' report: which cases there are, what fails, what the tables say."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpusim
from gpusim.agents.bench.distinct import distinct
from gpusim.checks import policy_problem
from gpusim.kernels.twin import twins

pytest.importorskip("triton")
FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])


def load(name: str):
    return importlib.import_module(name)


def figures(**changes):
    fine = {"registers": 40, "shared": 2048, "spill_stores": 0, "spill_loads": 0, "tensor_cores": 12, "precision": None}
    return fine | changes


def result(*targets):
    rows = [
        {
            "kernel": "k",
            "env": "E-v0",
            "config": {"kernel": "k_kernel", "warps": 4, "PRECISION": "tf32x3"},
            "targets": t,
        }
        for t in targets
    ]
    origin = {"versions": {"triton": "3"}, "commit": "c", "date": "2026-01-01T", "command": "x", "load": 0.1}
    cold = {"target": "sm_90", "kernels": 1, "seconds": 2.0, "cpu_seconds": 1.5}
    return {**origin, "hardware": {"processor": "P"}, "cartpole": cold, "rows": rows}


@pytest.mark.slow
def test_every_environment_has_its_kernels():
    cases = load("kernel_report").cases()
    assert not [c.problem for c in cases if c.launch is None]
    for env in distinct():
        kernels = {c.kernel for c in cases if c.env == env}
        wanted = {"simulate, statistics", "simulate, transitions"}
        spec = gpusim.spec(env)
        if len(spec.observation_space.shape) == 1 and not policy_problem(spec):
            wanted |= {"step", "rollout"}
        assert wanted <= kernels, env
    assert twins().keys() | {"ppo_gradient"} <= {c.kernel for c in cases}
    assert not {c.env for c in cases} & {"MinAtar/Breakout-v0", "MinAtar/Seaquest-v0"}  # the same kernels again
    assert {c.config["PRECISION"] for c in cases if c.kernel == "rollout" and c.env == "CartPole-v1"} == {
        "tf32x3",
        "tf32",
        "bf16",
    }


def test_cases_are_told_apart_by_what_is_compiled_in():
    report = load("kernel_report")
    x = torch.zeros(2)
    assert report.kind((x, None, 1)) == report.kind((x + 1, None, 1))
    different = [(x.int(), None, 1), (x, x, 1), (x, None, 2), (x, None, 16), (x, None, 1.0)]
    assert len({report.kind(a) for a in different} | {report.kind((x, None, 1))}) == 6


def test_what_cannot_be_launched_is_a_row_with_the_reason(monkeypatch):
    report = load("kernel_report")
    monkeypatch.setattr(report, "launchers", lambda: [("bad", "E-v0", lambda: 1 / 0)])
    report.cases.cache_clear()
    try:
        (case,) = report.cases()
        assert case.problem == "ZeroDivisionError: division by zero"
        assert report.compile_case(0, "sm_90") == {"error": case.problem}
    finally:
        report.cases.cache_clear()


def test_spills_and_errors_are_named_on_sm_90_and_nowhere_else():
    report = load("kernel_report")
    fine = {"sm_90": figures(), "gfx942": figures(spill_stores=8, spill_loads=None)}
    assert report.problems(result(fine, {"gfx942": {"error": "no"}})) == []
    spilling, broken = {"sm_90": figures(spill_stores=4, spill_loads=8)}, {"sm_90": {"error": "Bad: thing"}}
    first, second = report.problems(result(spilling, fine, broken))
    assert first == "k (E-v0; k_kernel, 4 warps, tf32x3) spills on sm_90: 4 bytes stored, 8 loaded."
    assert second == "k (E-v0; k_kernel, 4 warps, tf32x3) does not compile for sm_90: Bad: thing"


def test_the_table():
    report = load("kernel_report")
    other = figures(spill_stores=8, spill_loads=None, precision="bf16x6")
    text = report.lines(result({"sm_90": figures(precision="tf32x3"), "gfx942": other, "sm_80": {"error": ""}}))
    row = "| k | E-v0 | k_kernel, 4 warps, tf32x3 | 40 · 2,048 · 0 · 12 | 40 · 2,048 · **8** · 12 (bf16x6) |"
    assert f"{row} does not compile |" in text
    assert "one after another with nothing cached: 2.0 s" in text[-1]


@pytest.mark.slow
def test_the_command_writes_its_files(tmp_path):
    command = [sys.executable, str(FOLDER / "kernel_report.py"), "--kernels", "categorical (CartPole"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.json")
    (row,) = json.loads(file.read_text())["rows"]
    assert list(row["targets"]) == ["sm_90"]
    assert row["targets"]["sm_90"]["registers"] > 8
    assert row["config"]["kernel"] == "categorical_kernel"
    assert file.with_suffix(".md").read_text() == done.stdout
    assert done.stdout.startswith(f"By triton {file.stem}; ")
    nothing = subprocess.run([*command, "--kernels", "nothing like it"], capture_output=True, text=True, timeout=300)
    assert (nothing.returncode, "No kernel has 'nothing like it'" in nothing.stderr) == (2, True)
