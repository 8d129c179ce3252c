"""The examples run as a user would run them, small."""

import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpusim

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MASSIVE = [sys.executable, str(EXAMPLES / "massively_parallel.py"), "--device", "cpu"]
SCRIPT = [sys.executable, str(EXAMPLES / "scripted_exploration.py"), "--device", "cpu"]
REWARD = [sys.executable, str(EXAMPLES / "custom_reward.py"), "--device", "cpu"]


def massive(*args):
    return outcome([*MASSIVE, *args])


def outcome(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_massively_parallel_trains_saves_loads_and_plays(env, tmp_path):
    file = tmp_path / "policy.pt"
    code, out, err = massive("--env", env, "--num-envs", "128", "--iterations", "8", "--out", str(file))
    assert (code, err) == (0, "")
    assert out.count("steps/s") >= 2
    assert "complete after" in out
    assert "over 1,000 new episodes" in out
    policy = runpy.run_path(str(EXAMPLES / "massively_parallel.py"))["load"](file)
    obs, _ = gpusim.make(env, 16, device="cpu").reset(seed=0)
    assert torch.equal(policy(obs), policy(obs))
    assert len(policy(obs)) == 16


def test_ctrl_c_ends_the_iteration_and_saves(tmp_path):
    args = ["--num-envs", "64", "--iterations", "1000000", "--out", str(tmp_path / "policy.pt")]
    process = subprocess.Popen([*MASSIVE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    while "steps/s" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert "interrupted after" in out
    assert "new episodes" in out
    assert "network" in torch.load(tmp_path / "policy.pt", weights_only=True)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--num-envs", "0"], "between 1 and 1,048,576"),
        (["--num-envs", "2000000"], "between 1 and 1,048,576"),
        (["--iterations", "0"], "total_steps must be at least 1"),
        (["--env", "CartPoll-v1"], "did you mean CartPole-v1"),
        (["--num-envs", "64", "--out", "/nowhere/at/all.pt"], "there is no folder /nowhere/at"),
    ],
)
def test_bad_input_is_a_sentence(args, sentence):
    code, out, err = massive(*args)
    assert code == 1
    assert sentence in err
    assert err.count("\n") == 1
    assert out == ""


def test_custom_reward_trains_with_and_without_it():
    code, out, err = outcome([*REWARD, "--total-steps", "60000"])
    assert (code, err) == (0, "")
    plain, shaped = (line.split(": ")[1] for line in out.splitlines())
    assert "by the true reward -200.0, and 0% of 200 new episodes" in plain
    reached = int(re.search(r"and (\d+)% of 200 new episodes", shaped)[1])
    assert reached > 50


def test_custom_reward_refuses_bad_input_by_a_sentence():
    code, out, err = outcome([*REWARD, "--total-steps", "0"])
    assert (code, out) == (1, "")
    assert err == "total_steps must be at least 1, not 0.\n"


def test_scripted_exploration_trains_with_and_without_the_rule():
    code, out, err = outcome([*SCRIPT, "--total-steps", "8000"])
    assert (code, err) == (0, "")
    without, given = out.splitlines()
    assert without.startswith("without the rule: -200.0 after 8,000 steps, and 0% of 200 new episodes")
    assert given.startswith("with the rule: -")
