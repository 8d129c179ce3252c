"""The examples run as a user would run them, small."""

import re
import runpy
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from gymnasium.spaces import Box, Discrete

import gpusim
from gpusim.kernels.gae import gae_torch
from gpusim.kernels.lang import Lane, uniform4
from tests.pages import parsed

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MASSIVE = [sys.executable, str(EXAMPLES / "massively_parallel.py"), "--device", "cpu"]
SCRIPT = [sys.executable, str(EXAMPLES / "scripted_exploration.py"), "--device", "cpu"]
SB3 = [sys.executable, str(EXAMPLES / "train_with_sb3.py"), "--device", "cpu"]
SKRL = [sys.executable, str(EXAMPLES / "train_with_skrl.py"), "--device", "cpu"]
TORCHRL = [sys.executable, str(EXAMPLES / "train_with_torchrl.py"), "--device", "cpu"]
CLEANRL = [sys.executable, str(EXAMPLES / "cleanrl_ppo.py"), "--device", "cpu"]
LEANRL = [sys.executable, str(EXAMPLES / "leanrl_ppo.py"), "--device", "cpu"]
REWARD = [sys.executable, str(EXAMPLES / "custom_reward.py"), "--device", "cpu"]


def massive(*args):
    return outcome([*MASSIVE, *args])


def outcome(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "command", "steps"),
    [("stable_baselines3", SB3, 6_144), ("torchrl", TORCHRL, 4_096), ("skrl", SKRL, 16_384)],
    ids=["sb3", "torchrl", "skrl"],
)
def test_other_trainers_learn_through_the_adapter(library, command, steps):
    pytest.importorskip(library, reason=f"{library} is not installed")
    code, out, err = outcome([*command, "--total-steps", str(steps)])
    assert (code, err.replace("\x1b[38;20m[skrl:INFO] Seed: 0\x1b[0m\n", "")) == (0, "")
    score, after = re.fullmatch(r"([\d.]+) over 100 new episodes, after ([\d,]+) steps in [\d.]+ s\n", out).groups()
    assert int(after.replace(",", "")) == steps
    assert float(score) > 30  # at random it is 22


@pytest.mark.slow
@pytest.mark.parametrize("command", [CLEANRL, [*LEANRL, "--no-compile"]], ids=["cleanrl", "leanrl"])
def test_single_file_ppo_learns(command):
    code, out, err = outcome([*command, "--total-timesteps", "40960"])
    assert (code, err) == (0, "")
    steps, score = re.findall(r"global_step=([\d,]+) episodic_return=([\d.]+) SPS=[\d,]+\n", out)[-1]
    assert steps == "40,960"
    assert float(score) > 80  # at random it is 22


@pytest.mark.parametrize(
    "command",
    [[*CLEANRL, "--normalize-obs"], [*LEANRL, "--compile-backend", "aot_eager"]],
    ids=["cleanrl", "leanrl"],
)
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_single_file_ppo_takes_either_kind_of_action(command, env):
    steps = ["--num-envs", "32", "--num-steps", "210", "--total-timesteps", "13440", "--update-epochs", "1"]
    code, out, err = outcome([*command, "--env-id", env, "--normalize-reward", *steps])
    assert (code, err) == (0, "")
    assert re.fullmatch(r"global_step=13,440 episodic_return=-?[\d.]+ SPS=[\d,]+\n", out)


class Begun(NamedTuple):
    begun: Lane  # 0 at first, then 1


class Wage(NamedTuple):
    wage: Lane = 1.0


WAGE = gpusim.Env(  # nothing for the first step of an episode, the wage for every other; only the time limit ends it
    id="Wage-v0",
    init=lambda rng, p: Begun(uniform4(rng, 0, 0.0, 0.0)[0]),
    step=lambda s, action, rng, p: (Begun(s.begun * 0.0 + 1.0), s.begun * p.wage, s.begun > 1.0),
    observe=lambda s, p: (s.begun,),
    params=Wage(),
    observation_space=Box(0.0, 1.0, (1,)),
    action_space=Discrete(2),
    max_episode_steps=3,
)


@pytest.mark.parametrize(("file", "more"), [("cleanrl_ppo.py", {}), ("leanrl_ppo.py", {"compile": False})])
def test_single_file_ppo_bootstraps_where_the_time_limit_ends_an_episode(file, more):
    example = runpy.run_path(str(EXAMPLES / file))
    args = example["Args"](env_id=WAGE, gamma=0.5, num_envs=16, total_timesteps=20_480, device="cpu", **more)
    agent, _ = example["train"](args)
    first, later = agent.value(torch.tensor([[0.0], [1.0]])).tolist()
    assert later == pytest.approx(1 / (1 - 0.5), abs=0.05)
    assert first == pytest.approx(0.5 * later, abs=0.05)


def test_leanrl_accumulates_advantages_by_doubling():
    accumulate = runpy.run_path(str(EXAMPLES / "leanrl_ppo.py"))["accumulate"]
    for steps in (1, 2, 7, 8, 9):
        generator = torch.Generator().manual_seed(steps)
        reward, done = torch.rand(steps, 5, generator=generator), torch.rand(steps, 5, generator=generator) < 0.3
        zero = torch.zeros_like(reward)
        torch.testing.assert_close(accumulate(reward, 0.9 * ~done), gae_torch(reward, zero, zero, done, done, 1.0, 0.9))


@pytest.mark.parametrize(
    ("command", "args", "sentence"),
    [
        (CLEANRL, ["--num-minibatches", "0"], "num_minibatches must be at least 1, not 0.\n"),
        (CLEANRL, ["--total-timesteps", "100"], "total_timesteps must be at least a rollout, 2048 steps.\n"),
        (LEANRL, ["--num-minibatches", "3"], "3 minibatches cannot share 2048 steps evenly"),
    ],
)
def test_single_file_ppo_refuses_bad_input_by_a_sentence(command, args, sentence):
    code, out, err = outcome([*command, *args])
    assert (code, out) == (1, "")
    assert err.startswith(sentence)
    assert err.count("\n") == 1


@pytest.mark.parametrize("recipe", ["slurm.sh", "kubernetes.yaml"])
def test_a_recipe_names_commands_that_there_are(recipe, monkeypatch, capsys):
    """What torchrun is to start, with the script's own variables in it."""
    found = re.findall(r"COMMAND=\((.*)\)", (EXAMPLES / "cluster" / recipe).read_text())
    commands = [shlex.split(words) for words in found]
    assert [words[0] for words in commands] == ["resume", "train"]
    for words in commands:
        assert parsed(words, monkeypatch, capsys)
