"""Learners on environments that step on the host."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import gpusim
from gpusim.agents import dqn, ppo
from gpusim.agents.app.cli import main
from gpusim.agents.parts.graph import GraphedIteration
from gpusim.agents.ppo_fused import fused_problem
from gpusim.agents.train import discovery, environments
from gpusim.agents.train.evaluate import evaluate
from gpusim.agents.train.loop import Observer, run
from gpusim.agents.train.run import RunFolder, make_learner, preset
from tests.envs import hosted

GUESS = {"env": "Guess-v0", "num_envs": 8, "device": "cpu", "hidden": (16,)}
SMALL = {"num_steps": 16, "minibatches": 4, "learning_rate": 1e-2}


def command(*args):
    with pytest.raises(SystemExit) as exit_:
        main(list(args))
    return exit_.value.code


@pytest.mark.parametrize(
    "config",
    [
        ppo.Config(**GUESS, **SMALL, total_steps=2048),
        dqn.Config(**GUESS, learning_starts=256, batch_size=64, total_steps=4096, learning_rate=3e-3, epsilon_end=0.0),
    ],
    ids=["ppo", "dqn"],
)
def test_learners_learn_there_as_here(config):
    learner = run(make_learner(type(config).__module__.split(".")[-1], config)).learner
    scores = evaluate(lambda obs: learner.network.act(obs, None), config.env, 20, seed=5, device="cpu")
    assert scores.tolist() == [4.0] * 20
    learner.env.close()


def test_an_id_is_gpusims_before_it_is_gymnasiums():
    assert environments.describe("CartPole-v1") is gpusim.spec("CartPole-v1")
    assert environments.describe("Guess-v0").max_episode_steps == 50
    assert isinstance(environments.make("CartPole-v1", 2, "cpu"), gpusim.VectorEnv)


@pytest.mark.parametrize(
    ("id", "hint"),
    [
        ("CartPole", "did you mean CartPole-v1?"),
        ("cartpole-v1", "did you mean CartPole-v1?"),
        ("Pendulum-v0", "did you mean Pendulum-v1?"),
        ("MountanCarContinuous-v0", "did you mean MountainCarContinuous-v0?"),
        ("LunarLander", "did you mean Gymnasium's LunarLander-v3?"),
        ("lunarlander-v2", "did you mean Gymnasium's LunarLander-v3?"),
        ("HalfCheeta-v5", "did you mean MuJoCo/HalfCheetah-v5, Warp/HalfCheetah-v5 or Gymnasium's HalfCheetah-v5?"),
        ("Breakout", "did you mean MinAtar/Breakout-v1, MinAtar/Breakout-v0 or Gymnasium's ALE/Breakout-v5?"),
        ("Pong", "did you mean Gymnasium's ALE/Pong-v5?"),
        ("FrozenLake-v0", "did you mean Gymnasium's FrozenLake-v1?"),
        ("Walker9000", "gpusim envs, or gpusim.env_ids(), lists those there are."),
        ("xyzzy/plugh-v0", "gpusim envs, or gpusim.env_ids(), lists those there are."),
    ],
)
def test_only_what_is_near_is_suggested(id, hint):
    if "ALE/" in hint:
        pytest.importorskip("ale_py", reason='Atari needs ale-py (pip install "gpusim[atari]")')
    with pytest.raises(gpusim.InputError) as error:
        environments.describe(id)
    assert str(error.value) == f"no environment has the id {id!r}; {hint}"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("LunarLandr-v3",), "no environment has the id 'LunarLandr-v3'; did you mean Gymnasium's LunarLander-v3?"),
        (("Guess-v0", "--backend", "triton"), "Guess-v0 steps on the host, where backend 'triton' is not known"),
        (("Guess-v0", "--episodic-life"), "episodic_life is for games that count lives, which Guess-v0 does not"),
        (("Guess-v0", "--network", "cnn"), "network cnn is for images, and Guess-v0 shows 2 numbers"),
    ],
)
def test_bad_input_is_one_sentence(args, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("train", "ppo", *args) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_learned_from_is_clipped_and_ends_with_a_life_but_what_is_told_does_not():
    config = ppo.Config(
        env="GuessLives-v0", num_envs=2, num_steps=12, minibatches=1, total_steps=24, hidden=(8,), device="cpu",
        clip_reward=True, episodic_life=True,
    )  # fmt: skip
    learner = ppo.PPO(config)
    rollout = learner.collect(12)
    assert set(rollout.reward.flatten().tolist()) <= {-1.0, 1.0}
    assert rollout.terminated[:, 0].tolist() == [False, True, False, False, False, True] * 2
    assert learner.window.count == 4  # games
    assert learner.window.lengths[:4].tolist() == [6.0] * 4
    assert all(score % 5 == 0 and abs(score) >= 5 for score in learner.window.returns[:4].tolist())
    assert rollout.obs.dtype == torch.uint8
    learner.env = gpusim.make("CartPole-v1", 2, device="cpu")
    learner.env.backend = "triton"
    assert fused_problem(learner) == "the network has 1 hidden layers; kernels take 2"
    learner.config = dataclasses.replace(config, hidden=(32, 32))
    assert fused_problem(learner) == "rewards are clipped"


def test_a_replay_keeps_bytes_and_tells_its_memory_beforehand():
    config = dqn.Config(
        env="GuessLives-v0", num_envs=4, total_steps=512, capacity=256, learning_starts=128, batch_size=16, hidden=(8,),
        device="cpu",
    )  # fmt: skip
    learner = run(make_learner("dqn", config)).learner
    assert {part.name: part.size for part in config.takes(learner.task)}["replay"] == 256 * 3207
    assert (learner.replay.obs.dtype, learner.replay.obs.shape) == (torch.uint8, (256, 40, 40, 1))
    assert set(learner.replay.obs.flatten().tolist()) <= {*range(7), *range(100, 107)}


def test_no_graph_is_made_of_what_steps_on_the_host():
    here, there = (environments.make(id, 2, "cpu") for id in ("CartPole-v1", "Guess-v0"))
    for env in (here, there):
        env.device = torch.device("meta")  # as a GPU: not the CPU
    wanted = [GraphedIteration(env, None, 1, None).wanted for env in (here, there)]
    assert wanted == [True, False]


def test_presets_of_atari_are_those_of_every_game():
    for algorithm in ("ppo", "dqn"):
        config = discovery.module(algorithm).Config(env="ALE/Pong-v5")
        assert (config.clip_reward, config.hidden) == (True, (512,))
    assert preset("ppo", "Guess-v0").clip_reward is False


def test_evaluation_plays_every_episode_to_its_end():
    """The environments take the same number each, so short episodes are not favoured."""
    scores = evaluate(lambda obs: obs.argmax(-1), "Guess-v0", 19, seed=1)
    assert scores.tolist() == [4.0] * 19


BROKEN = {
    "GuessFails-v0": (hosted.Fails, "ArithmeticError in hosted.py, line {}: the pole broke."),
    "GuessQuits-v0": (hosted.Quits, "SystemExit in hosted.py, line {}."),
}


@pytest.mark.parametrize("engine", ["sync", "async"])
@pytest.mark.parametrize("id", BROKEN)
@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_an_environment_that_fails_in_training_is_what_is_told(algorithm, id, engine, tmp_path, capsys):
    cls, told = BROKEN[id]
    options = ("--backend", engine, "--device", "cpu", "--num-envs", "2", "--num-steps", "16", "--total-steps", "8k")
    assert command("train", algorithm, id, *options, "--run-dir", str(tmp_path / "run")) == 2
    line = told.format(cls.step.__code__.co_firstlineno + 3)
    assert capsys.readouterr().err == f"gpusim: {id} failed in step: {line}\n"


def test_a_process_that_is_killed_in_training_is_what_is_told():
    learner = make_learner("ppo", ppo.Config(**GUESS, **SMALL, backend="async"))
    os.kill(learner.env._engine.vector.processes[3].pid, signal.SIGKILL)
    with pytest.raises(gpusim.InputError, match="a process that steps Guess-v0 was ended from outside"):
        learner.iterate()


class Stop(Observer):
    """Interrupts after so many readings."""

    def __init__(self, after):
        self.after = after

    def reading(self, learner, metrics):
        self.after -= 1
        if not self.after:
            signal.raise_signal(signal.SIGINT)


def test_a_run_goes_on_with_new_episodes(tmp_path, capsys):
    config = ppo.Config(**GUESS, **SMALL, total_steps=1024, run_dir=str(tmp_path / "run"))
    folder = RunFolder.create(config.run_dir, "ppo", config)
    result = run(make_learner("ppo", config), (folder, Stop(3)))
    assert (result.ending, result.learner.iteration) == ("interrupted", 4)  # an interrupt ends with the iteration
    assert command("resume", config.run_dir) == 0
    out = capsys.readouterr().out
    assert "going on from step 512 with new episodes" in out
    assert "Guess-v0 is Gymnasium's: stepped on the host by this process, one after the other" in out
    lines = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(1, 9))
    assert (folder.path / "curve.png").stat().st_size > 10_000
    assert command("eval", config.run_dir, "--episodes", "5") == 0
    assert "Guess-v0: " in capsys.readouterr().out
    assert command("eval", config.run_dir, "--oracle") == 2
    assert "Guess-v0 is Gymnasium's own already: leave --oracle out." in capsys.readouterr().err


@pytest.mark.parametrize("prioritized", [False, True])
def test_no_return_joins_what_was_before_a_resume_to_what_came_after(prioritized):
    """Each reward is worth its own return of three steps: those of other episodes would show."""
    config = dqn.Config(
        env="GuessLong-v0", num_envs=3, num_steps=7, n_step=3, gamma=1.0, total_steps=4200, capacity=600, batch_size=16,
        learning_starts=2000, normalize_reward=True, hidden=(8,), device="cpu", prioritized=prioritized,
    )  # fmt: skip
    before, after = (make_learner("dqn", config) for _ in range(2))
    for _ in range(5):
        before.iterate()
    before.replay.reward.fill_(1.0)
    after.load(before.state())
    assert after.reward_scale.running.tolist() == [0.0] * 3 != before.reward_scale.running.tolist()
    held = 5 * 7 * 3
    cut = after.replay.done.clone()
    assert (cut & ~before.replay.done).nonzero().flatten().tolist() == [held - 3, held - 2, held - 1]
    assert not after.replay.terminated.any()  # whose value is still to be asked for
    after.iterate()
    after.replay.reward[held : held + 21] = 100.0
    sample = after.replay.sample(4000, torch.Generator().manual_seed(0))
    old = sample.place < held
    assert old.sum() > 2000
    assert set(sample.returns[old].tolist()) == {1.0, 2.0, 3.0}
    for env in (before.env, after.env):
        env.close()


def test_ctrl_c_ends_the_run_in_order_and_every_process(tmp_path):
    """It reaches the whole group, as in a terminal; the processes leave it to the learner, which keeps a checkpoint."""
    code = "from tests.envs import hosted; from gpusim.agents.app.cli import main; main()"
    args = ["train", "ppo", "GuessLong-v0", "--backend", "async", "--num-envs", "3", "--device", "cpu"]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *args, "--run-dir", str(tmp_path / "run"), "--total-steps", "10_000_000"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert child.stdout
    seen = ""
    while "steps/s" not in seen and child.poll() is None:
        seen += child.stdout.readline()
    workers = [int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and _parent(pid) == child.pid]
    os.killpg(child.pid, signal.SIGINT)
    rest, _ = child.communicate(timeout=60)
    assert child.returncode == 130, seen + rest
    assert "Traceback" not in seen + rest
    assert "go on with: gpusim resume" in rest
    assert list((tmp_path / "run" / "checkpoints").glob("*.pt"))
    assert len(workers) >= 3
    end = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)


def _parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


assert hosted  # registers
