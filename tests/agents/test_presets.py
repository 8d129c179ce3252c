"""Which settings a preset chooses at which size, that a flag beats them, and that the massive ones learn."""

import dataclasses
import re

import pytest

import gpusim
from gpusim import InputError
from gpusim.agents import ppo
from gpusim.agents.app.cli import main
from gpusim.agents.train import presets
from gpusim.agents.train.discovery import module
from gpusim.agents.train.evaluate import evaluate
from gpusim.agents.train.loop import run
from gpusim.agents.train.presets import MANY
from gpusim.agents.train.run import make_learner, preset

SIZES = (MANY, 4096, 65_536, 1_048_576)
PRESETS = [(algorithm, env) for env in presets.names() for algorithm in presets.tables(env) if "-v" in env]
MASSIVE = presets._table("any")["ppo"]["many"]
LARGE = {(a, e): presets.tables(e)[a]["many"]["iterations"] for a, e in PRESETS if "many" in presets.tables(e)[a]}
ITERATIONS = {env: iterations for (algorithm, env), iterations in LARGE.items() if algorithm == "ppo"}


def shown(capsys, *args):
    """The defaults that --help shows, by option."""
    with pytest.raises(SystemExit) as exit_:
        main(["train", *args, "--help"])
    assert exit_.value.code == 0
    out = re.sub(r"[│\s]+", " ", re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out))
    return dict(re.findall(r"--([\w-]+) .*?\(default: (.*?)\)", out))


@pytest.mark.parametrize("env", ITERATIONS)
@pytest.mark.parametrize("num_envs", SIZES)
def test_iterations_and_updates_do_not_depend_on_the_size(env, num_envs):
    config = preset("ppo", env, num_envs=num_envs)
    config.check()
    assert (config.num_envs, config.iterations) == (num_envs, ITERATIONS[env])
    assert config.total_steps == config.iterations * config.steps_per_iteration
    assert config.minibatches == MASSIVE["minibatches"]
    # what the fused kernels take
    assert len(config.hidden) == 2
    assert 16 <= min(config.hidden) <= max(config.hidden) <= 256
    assert config.target_kl is None


@pytest.mark.parametrize("num_steps", [1, 4])
@pytest.mark.parametrize("num_envs", SIZES)
@pytest.mark.parametrize("algorithm", ["sac", "td3"])
def test_updates_from_a_replay_do_not_depend_on_the_size(algorithm, num_envs, num_steps):
    """Two an iteration after the tenth, of a replay that holds 1,024 iterations."""
    config = preset(algorithm, "Pendulum-v1", num_envs=num_envs, num_steps=num_steps)
    config.check()
    assert config.iterations == LARGE[algorithm, "Pendulum-v1"]
    assert [config.updates(i) for i in (0, 8, 9, 10, 500)] == [0, 0, 2, 2, 2]
    assert config.capacity == 1024 * num_envs * num_steps
    assert config.idle is None


@pytest.mark.parametrize(("algorithm", "env"), PRESETS)
def test_python_and_the_command_line_have_the_same_settings(algorithm, env):
    config = module(algorithm).Config
    assert config(env=env) == preset(algorithm, env)
    assert config(env=env, seed=3, num_envs=4096) == preset(algorithm, env, seed=3, num_envs=4096)
    for field, value in presets.settings(algorithm, env, {}).items():
        assert getattr(config(env=f"gpusim/{env}"), field) == value
    assert config(env=env, total_steps=7).total_steps == 7
    whole = dataclasses.asdict(config(env=env, num_envs=3))
    assert dataclasses.asdict(config(**whole)) == whole


def test_a_family_has_one_file():
    """The environment's own comes first; what stands before a slash is its family; a path is none."""
    assert presets.tables("MinAtar/Breakout-v1") == presets.tables("MinAtar/Freeway-v0") == presets.tables("MinAtar")
    assert presets.tables("ALE/Pong-v5") == presets.tables("PongNoFrameskip-v4") == presets.tables("ALE")
    assert presets.tables("CartPole-v1") != presets.tables("Guess-v0") == {}
    assert presets.tables("../presets/CartPole-v1") == presets.tables("any") == presets.tables("") == {}
    assert {"ALE", "CartPole-v1", "MinAtar", "Pendulum-v1"} <= set(presets.names())


def test_what_a_preset_is_expected_to_reach_is_no_setting(tmp_path, monkeypatch):
    """The file of another environment is all that `benchmarks/ten_seeds.py` needs to measure it."""
    (tmp_path / "Own-v0.toml").write_text("[ppo]\nexpected_return = 7.5\nnum_envs = 3\n[dqn]\nnum_envs = 4\n")
    known = presets.expected_returns()
    assert {algorithm for algorithm, _ in known} == {"a2c", "dqn", "ppo", "pqn", "reinforce", "sac", "td3"}
    assert all("expected_return" not in presets.settings(*name, {}) for name in known)
    monkeypatch.setattr(presets, "files", lambda package: tmp_path)
    for cached in (presets.names, presets._table):
        monkeypatch.setattr(presets, cached.__name__, cached.__wrapped__)
    assert presets.expected_returns() == {("ppo", "Own-v0"): 7.5}
    assert presets.tables("Own-v0")["dqn"] == {"num_envs": 4}


def test_few_environments_keep_the_small_preset():
    small = preset("ppo", "CartPole-v1")
    assert small.num_envs < MANY
    assert preset("ppo", "CartPole-v1", num_envs=MANY - 1).total_steps == small.total_steps


def test_what_is_asked_for_wins():
    config = preset("ppo", "CartPole-v1", num_envs=4096, learning_rate=0.5, total_steps=7, minibatches=3)
    assert (config.learning_rate, config.total_steps, config.minibatches) == (0.5, 7, 3)
    longer = preset("ppo", "CartPole-v1", num_envs=4096, num_steps=64)
    assert longer.iterations == ITERATIONS["CartPole-v1"]
    assert longer.steps_per_iteration == 4096 * 64


def test_an_environment_without_a_preset_gets_more_than_one_iteration(monkeypatch):
    monkeypatch.setattr(presets, "names", lambda: ())
    config = preset("ppo", "CartPole-v1", num_envs=65_536)
    assert config.iterations == MASSIVE["iterations"]
    assert config.num_steps == MASSIVE["num_steps"]


def test_an_algorithm_without_massive_settings_keeps_its_own():
    assert preset("reinforce", "CartPole-v1", num_envs=4096).total_steps == 640_000


@pytest.mark.parametrize(
    "flag", [["--num-envs", "65536"], ["--num_envs=65_536"], ["--num-envs", "1", "--num-envs", "65536"]]
)
def test_help_shows_the_defaults_in_force(flag, capsys):
    config = preset("ppo", "CartPole-v1", num_envs=65_536)
    found = shown(capsys, "ppo", "CartPole-v1", *flag)
    assert found["total-steps"] == str(config.total_steps)
    assert found["minibatches"] == str(config.minibatches)
    assert shown(capsys, "ppo", "CartPole-v1")["total-steps"] == str(preset("ppo", "CartPole-v1").total_steps)
    assert shown(capsys, "reinforce", "CartPole-v1", *flag)["total-steps"] == "640000"


@pytest.mark.parametrize("args", [["--num-envs"], ["--num-envs", "many"], ["--num-envs", "1.5"]])
def test_a_size_that_is_no_number_is_refused(args, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "ppo", "CartPole-v1", *args])
    assert exit_.value.code == 2
    assert "num-envs" in capsys.readouterr().err


def test_the_smallest_massive_preset_learns_cartpole():
    result = run(make_learner("ppo", preset("ppo", "CartPole-v1", num_envs=MANY, device="cpu")))
    learner = result.learner
    assert isinstance(learner, ppo.PPO)
    scores = evaluate(lambda obs: learner.network.act(obs, None), gpusim.spec("CartPole-v1"), 100, 10_000, "cpu")
    assert scores.mean() >= 475


def test_rainbow_is_one_preset():
    """What all environments have of it, over that what this one has, and a flag over both."""
    usual, rainbow = preset("dqn", "CartPole-v1"), preset("dqn", "CartPole-v1", preset="rainbow", atoms=7)
    added = ("dueling", "prioritized", "noisy")
    assert not any(getattr(usual, name) for name in added)
    assert all(getattr(rainbow, name) for name in ("double", *added))
    assert (rainbow.n_step, rainbow.atoms, rainbow.v_max, rainbow.epsilon_start) == (10, 7, 100.0, 0.0)
    assert rainbow.hidden == usual.hidden
    assert preset("dqn", "Acrobot-v1", preset="rainbow").n_step == 3


@pytest.mark.parametrize("name", ["many", "other", "None"])
def test_another_variant_is_refused(name):
    with pytest.raises(InputError, match="preset must be usual or rainbow"):
        preset("dqn", "CartPole-v1", preset=name).check()
