"""The command line: what it says to good and to bad input."""

import json
import sys

import pytest

import gpusim
from gpusim.agents import ppo
from gpusim.agents.app.cli import main
from gpusim.agents.app.display import clock, line
from gpusim.agents.train import environments
from gpusim.agents.train.config import RunConfig
from gpusim.agents.train.run import preset
from gpusim.errors import InputError


def run(*args):
    with pytest.raises(SystemExit) as exit_:
        main(list(args))
    return exit_.value.code


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["frobnicate"], "no command is called 'frobnicate'"),
        (["train"], "needs an algorithm and an environment"),
        (["train", "ppo"], "needs an algorithm and an environment"),
        (["train", "sarsa", "CartPole-v1"], "no algorithm is called 'sarsa'"),
        (["train", "ppo", "CartPoll-v1"], "did you mean CartPole-v1"),
        (["train", "ppo", "CartPole-v1", "--num-envs", "0"], "num_envs must be at least 1"),
        (["train", "ppo", "CartPole-v1", "--num-envs", "-3"], "num_envs must be at least 1"),
        (["train", "ppo", "CartPole-v1", "--gamma", "1.5"], "gamma must lie between 0.0 and 1.0"),
        (["train", "ppo", "CartPole-v1", "--minibatches", "9999999"], "cannot be made of"),
        (["train", "ppo", "CartPole-v1", "--hidden"], "hidden must be positive widths, not ()"),
        (["train", "ppo", "CartPole-v1", "--hidden", "64", "0"], "hidden must be positive widths, not (64, 0)"),
        (
            ["train", "ppo", "Pendulum-v1", "--initial-log-std", "1e300"],
            "initial_log_std must lie between -5.0 and 2.0",
        ),
        (["train", "ppo", "CartPole-v1", "--activation", "gelu"], "tanh or relu"),
        (["train", "ppo", "CartPole-v1", "--device", "cuda:99"], 'device "cuda:99"'),
        (["train", "ppo", "CartPole-v1", "--device", "teapot"], "is not a device"),
        (["train", "ppo", "CartPole-v1", "--device", "cpu", "--backend", "triton"], 'backend "triton"'),
        (
            ["train", "ppo", "CartPole-v1", "--network", "cnn"],
            "network cnn is for images, and CartPole-v1 shows 4 numbers",
        ),
        (["train", "pqn", "Pendulum-v1"], "pqn chooses among discrete actions"),
        (["train", "pqn", "CartPole-v1", "--script", "nowhere:rule"], "nowhere cannot be imported"),
        (["train", "a2c", "CartPole-v1", "--num-steps", "0"], "num_steps must be at least 1"),
        (["train", "ppo", "CartPole-v1", "--backend", "jax"], "backend 'jax' is not known"),
        (["train", "ppo", "CartPole-v1", "--run-dir", ""], "--run-dir needs a name, not ''."),
        (["train", "dqn", "CartPole-v1", "--script", ""], "--script needs a name, not ''."),
        (["train", "dqn", "CartPole-v1", "--script-start", "0.5"], "--script-start has no effect without --script."),
        (["train", "pqn", "CartPole-v1", "--script_until=0.5"], "--script-until has no effect without --script."),
        (["train", "dqn", "CartPole-v1", "--beta", "1"], "--beta has no effect without --prioritized."),
        (["train", "sac", "Pendulum-v1", "--v-min", "-5"], "--v-min has no effect without --atoms."),
        (["train", "dqn", "CartPole-v1", "--v-max=5", "--quantiles", "9"], "--v-max has no effect without --atoms."),
        (["train", "dqn", "CartPole-v1", "--preset", "many"], "preset must be usual or rainbow, not 'many'."),
        (["eval", "r", "--video", ""], "--video needs a name, not ''."),
        (["eval", "r", "--video-envs", "2"], "--video-envs has no effect without --video."),
        (["plot", "r", "--out", ""], "--out needs a name, not ''."),
        (["plot", "r", "--seed", "2"], "--seed has no effect without --trajectory."),
        (["eval"], "eval needs a run folder"),
        (["resume", "/nowhere/at/all"], "there is no run folder"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(args, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*args) == 2
    _, err = capsys.readouterr()
    assert sentence in err
    assert err.startswith("gpusim: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_named(capsys):
    assert run("train", "ppo", "CartPole-v1", "--frobnicate", "3") == 2
    assert "--frobnicate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ([], "total_steps, 512, end before learning_starts, 2,000"),
        (["--learning-starts", "1e9"], "total_steps, 512, end before learning_starts, 1,000,000,000"),
        (["--learning-starts", "512", "--replay-ratio", "0.001"], "a replay_ratio of 0.001 makes no update"),
        (["--learning-starts", "512"], None),
    ],
)
def test_a_run_that_learns_nothing_says_so(args, why, tmp_path, capsys):
    few = ("--device", "cpu", "--total-steps", "512", "--num-envs", "8", "--run-dir", str(tmp_path / "run"))
    assert run("train", "dqn", "CartPole-v1", *few, *args) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == (why is not None)
    assert (why or "") in err
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert (last["updates_per_step"] == 0) is (why is not None)


@pytest.mark.parametrize("args", [[], ["--help"]])
def test_usage(args, capsys):
    assert run(*args) == (0 if args else 2)
    assert "gpusim train ppo CartPole-v1" in capsys.readouterr().out


def test_help_documents_every_setting(capsys):
    assert run("train", "ppo", "CartPole-v1", "--help") == 0
    out = capsys.readouterr().out
    for option in (
        "--seed",
        "--device",
        "--backend",
        "--num-envs",
        "--total-steps",
        "--target-return",
        "--run-dir",
        "--lam",
    ):
        assert option in out
    assert "--env " not in out


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_help_of_an_algorithm_needs_no_environment(algorithm, capsys):
    assert run("train", algorithm, "--help") == 0
    out = capsys.readouterr().out
    assert "--num-envs" in out
    assert "those for CartPole-v1" in out


def test_help_of_train_names_the_algorithms(capsys):
    assert run("train", "--help") == 0
    assert "a2c, dqn, ppo, pqn, reinforce" in capsys.readouterr().out


@pytest.mark.parametrize(("missing", "args"), [("tyro", ["train", "ppo", "CartPole-v1"]), ("rich", ["envs"])])
def test_without_the_extra_it_says_what_to_install(missing, args, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert run(*args) == 2
    said = capsys.readouterr().err
    assert said == f'gpusim: the command needs {missing}, which is not installed: pip install "gpusim[train]"\n'


def test_speed_is_that_after_the_first_iteration(tmp_path, monkeypatch, capsys):
    """What compiles takes three seconds of it here."""
    iterate, now = ppo.PPO.iterate, [0.0]

    def slow(self):
        now[0] += 3.0 if self.iteration == 0 else 0.5
        return iterate(self)

    monkeypatch.setattr(ppo.PPO, "iterate", slow)
    monkeypatch.setattr("gpusim.agents.train.loop.time.perf_counter", lambda: now[0])
    args = ("--device", "cpu", "--num-envs", "8", "--num-steps", "16", "--total-steps", "512", "--minibatches", "2")
    assert run("train", "ppo", "CartPole-v1", *args, "--run-dir", str(tmp_path / "run")) == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(x)["steps_per_second"] for x in lines] == [None, 256.0, 256.0, 256.0]
    assert [json.loads(x)["seconds"] for x in lines] == [3.0, 3.5, 4.0, 4.5]
    out = capsys.readouterr().out
    first, *_, last = (line for line in out.splitlines() if " / 512 steps " in line)
    assert "steps/s" not in first
    assert "left" not in first
    assert last.endswith("  256 steps/s  0 s left")
    assert "compiling" not in out


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_of_one_iteration_tells_no_speed(terminal, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    args = ("--device", "cpu", "--num-envs", "8", "--num-steps", "16", "--total-steps", "128", "--minibatches", "2")
    assert run("train", "ppo", "CartPole-v1", *args, "--run-dir", str(tmp_path / "run")) == 0
    out = capsys.readouterr().out
    shown, _ = out.split("after 128 steps")
    assert "128" in shown
    assert "0 steps/s" not in shown
    assert "0 s" not in shown


def test_compiling_is_said(monkeypatch, capsys):
    monkeypatch.setattr("gpusim.agents.train.environments.compiles", lambda *_: True)
    monkeypatch.setattr(
        "gpusim.agents.train.training.make_learner", lambda *_: (_ for _ in ()).throw(InputError("stop here."))
    )
    assert run("train", "ppo", "CartPole-v1") == 2
    assert "compiling ...\n" in capsys.readouterr().out


@pytest.mark.parametrize(("backend", "answer"), [("eager", False), ("auto", False), ("native", False)])
def test_whether_a_first_step_compiles(backend, answer):
    assert environments.compiles("CartPole-v1", "cpu", backend) is answer


def test_envs_lists_every_environment(capsys):
    assert run("envs") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in gpusim.env_ids())


def test_a_preset_field_nobody_knows_is_refused():
    assert preset("ppo", "gpusim/CartPole-v1", seed=3).seed == 3
    with pytest.raises(InputError, match="the field 'lambda_', which ppo does not know"):
        preset("ppo", "CartPole-v1", lambda_=0.9)


def test_steps_are_rounded_up_to_iterations():
    class Config(RunConfig):
        steps_per_iteration = 48

    assert Config(total_steps=96).iterations == 2
    assert Config(total_steps=97).iterations == 3


def test_times_and_lines_are_readable():
    assert [clock(s) for s in (0.4, 59.4, 61, 3723)] == ["0 s", "59 s", "1:01", "1:02:03"]
    shown = line(2048, 100_352, 12_345.6, {"return": 20.125, "policy": 0.01, "steps": 2048})
    assert shown == "      2,048 / 100,352 steps  return    20.12  policy 0.01  12,346 steps/s  8 s left"
