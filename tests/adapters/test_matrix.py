"""The matrix of trainers: what a driver measures becomes a row, what does not run is said."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import adapters as matrix

RUN = Path(matrix.__file__).parent / "trainers" / "run.py"


def test_a_driver_is_measured_and_told():
    args = ["gymnasium_numpy", "--device", "cpu", "--sizes", "4", "16", "--rounds", "2", "--seconds", "0.02"]
    done = subprocess.run([sys.executable, "-P", str(RUN), *args], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [row["num_envs"] for row in found["rows"]] == [4, 16]
    assert all(0.5 < row["tax"] < 5 for row in found["rows"])
    found["rows"] = [{"num_envs": n, "through": 1000.0 * n, "bare": 1500.0 * n, "tax": 1.5} for n in (4, 16)]
    result = {
        "config": {"sizes": [4, 16]},
        "device": "cpu",
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
    assert rest[-1] == "Not measured: x (not installed: make trainers)."


def test_what_does_not_run_is_said(capsys):
    config = matrix.Config(sizes=(2,), rounds=1, seconds=0.01)
    assert matrix.driven("no_such", "cpu", config) == {"name": "no_such", "missing": "it has no driver"}
