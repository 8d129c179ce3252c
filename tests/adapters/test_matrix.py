"""The matrix of trainers: what a driver measures becomes a row, what does not run is said."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import adapters as matrix
from benchmarks.readme import BLOCK, ROOT, filled

TRAINERS = Path(matrix.__file__).parent / "trainers"
RUN = TRAINERS / "run.py"
PAGE = (ROOT / "docs" / "trainers" / "index.md").read_text()


def test_a_driver_is_measured_and_told():
    args = ["gymnasium_numpy", "--device", "cpu", "--sizes", "4", "16", "--rounds", "2", "--seconds", "0.02"]
    done = subprocess.run([sys.executable, "-P", str(RUN), *args], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [row["num_envs"] for row in found["rows"]] == [4, 16]
    assert all(0.5 < row["tax"] < 5 and row["tax_low"] <= row["tax"] <= row["tax_high"] for row in found["rows"])
    found["rows"] = [{"num_envs": n, "through": 1000.0 * n, "bare": 1500.0 * n, "tax": 1.5} for n in (4, 16)]
    result = {
        "config": {"sizes": [4, 16], "rounds": 2},
        "device": "cpu",
        "load": 0.5,
        "hardware": {"processor": "A", "cores": 2},
        "trainers": [found, found | {"training": {"algorithm": "PPO", "steps": 12288, "steps_per_s": 900.0}}],
        "not_measured": {"x": "not installed: make trainers"},
    }
    head, _, first, second, *rest = matrix.table(result)
    assert head.split("|")[6:10] == [" steps/s, 4 envs ", " tax ", " steps/s, 16 envs ", " tax "]
    version = found["version"]
    assert (
        first == f"| Gymnasium (NumPy) | {version} | CartPole-v1 | next_step | 2 | 4,000 | 1.50 | 16,000 | 1.50 | – |"
    )
    assert second.endswith("| PPO, 12,288 steps |")
    assert rest[1].startswith("On A, 2 cores, load 0.5 at the start; medians of 2 rounds. The tax: ")
    assert rest[-1] == "Not measured: x (not installed: make trainers)."


def test_what_does_not_run_is_said(capsys):
    config = matrix.Config(sizes=(2,), rounds=1, seconds=0.01)
    assert matrix.driven("no_such", "cpu", config) == {"name": "no_such", "missing": "it has no driver"}


def test_every_driver_is_in_the_matrix():
    drivers = {path.stem for path in TRAINERS.glob("*.py")} - {"__init__", "run"}
    assert drivers == set(matrix.NAMES)


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("raise SystemExit(3)", "its driver failed with exit code 3"),
        ("pass", "its driver failed with exit code 0"),
        ("import time; time.sleep(60)", "its driver was not done after 0.5 s"),
    ],
)
def test_a_driver_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, program, sentence):
    monkeypatch.setattr(matrix, "TRAINERS", tmp_path)
    (tmp_path / "run.py").write_text(program)
    (tmp_path / "x.py").touch()
    config = matrix.Config(patience=0.5 if "sleep" in program else 60.0)
    assert matrix.driven("x", "cpu", config) == {"name": "x", "missing": sentence}
    assert matrix.driven("y", "cpu", config) == {"name": "y", "missing": "it has no driver"}


@pytest.mark.parametrize("failed", [None, "OSError: no compiler"])
def test_a_trainer_that_is_not_installed_is_told_with_the_reason(tmp_path, monkeypatch, failed):
    monkeypatch.setattr(matrix, "TRAINERS", tmp_path)
    (tmp_path / ".venv-x").mkdir()
    for name in ("x.py", "x.txt"):
        (tmp_path / name).touch()
    if failed:
        (tmp_path / ".venv-x" / "failed").write_text(f"{failed}\n")
    assert matrix.driven("x", "cpu", matrix.Config())["missing"] == (failed or "not installed: make trainers")


def test_the_page_of_trainers_holds_the_committed_results():
    assert filled(PAGE) == PAGE
    result = json.loads((ROOT / BLOCK.search(PAGE)[2]).with_suffix(".json").read_text())
    rows = re.findall(r"^\| \[.*?\]\((\w+)\.md\) \| `\w+` \| .* (\S+) \| (\w+) \| (\d) \|", PAGE, re.MULTILINE)
    pages = {{"numpy": "gymnasium_numpy", "jax": "jax_arrays"}.get(page, page): row for page, *row in rows}
    assert set(pages) == set(matrix.NAMES)
    assert {found["name"] for found in result["trainers"]} | set(result["not_measured"]) == set(matrix.NAMES)
    for found in result["trainers"]:
        version, mode, copies = pages[found["name"]]
        assert (version, int(copies)) == (found["version"], found["copies_per_step"])
        assert mode in ("any", found["autoreset_mode"])
