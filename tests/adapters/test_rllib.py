"""RLlib wants another Gymnasium: it runs in the virtual environment that `make trainers` makes."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "benchmarks" / "trainers" / ".venv-rllib" / "bin" / "python"
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="make trainers has not installed ray[rllib]")


def run(*args):
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(PYTHON), "-P", *args], capture_output=True, text=True, timeout=500, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_ppo_trains_and_is_measured():
    driver = str(ROOT / "benchmarks" / "trainers" / "run.py")
    found = json.loads(
        run(driver, "rllib", "--device", "cpu", "--sizes", "8", "--rounds", "1", "--seconds", "0.05")[-1]
    )
    assert found["version"] == "2.60.0"
    assert found["training"]["steps"] >= 4096
    assert found["rows"][0]["through"] > 0


BAD = """
import gpusim
from gpusim.adapters import to_rllib
from gpusim.adapters.rllib import Maker
for wrong in (lambda: to_rllib("CartPole-v1", autoreset_mode="same_step"), lambda: Maker("CartPole-v1")({})):
    try:
        wrong()
    except gpusim.InputError as error:
        print(error)
print(to_rllib("CartPole-v1", device="cpu"), Maker("CartPole-v1")({"num_envs": 3, "max_episode_steps": 7}).num_envs)
"""


def test_bad_input_is_a_sentence():
    assert run("-c", BAD) == [
        "RLlib resets environments at the step after the last: "
        'make this one with autoreset_mode="next_step", not "same_step".',
        "RLlib steps gpusim's environments in one batch only: "
        'set env_runners(gym_env_vectorize_mode="vector_entry_point").',
        "CartPole-v1 device=cpu 3",
    ]
