"""rl_games: what agents of the real library stored in training, beside the bare environment; and what is refused."""

import contextlib
import warnings

import pytest
import torch

import gpusim

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("rl_games", reason="rl_games is not installed in this environment: make trainers")
    from rl_games.common import vecenv
    from rl_games.torch_runner import Runner

    from benchmarks.trainers import rl_games as driver
    from gpusim.adapters import to_rl_games
    from gpusim.adapters.rl_games import RlGamesVecEnv

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"autoreset_mode": "next_step"}, r'rl_games .* autoreset_mode="same_step", not "next_step"\.$'),
        ({"copy": False}, "rl_games keeps the tensors of earlier steps: make this environment with copy=True"),
    ],
)
def test_an_environment_that_rl_games_cannot_use_is_refused(kwargs, sentence):
    name = to_rl_games("CartPole-v1", device="cpu", **kwargs)
    with pytest.raises(gpusim.InputError, match=sentence):
        vecenv.create_vec_env(name, 2)


def test_an_unknown_environment_is_refused_at_registration():
    with pytest.raises(gpusim.InputError, match="did you mean CartPole-v1"):
        to_rl_games("CartPoll-v1")


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_an_agent_learns_from_what_the_bare_environment_gives(env, tmp_path):
    agent = driver.made(env, tmp_path, epochs=1, bootstrap=False, num_envs=8)
    before = [p.clone() for p in agent.model.parameters()]
    with contextlib.redirect_stdout(None):
        agent.train()
    assert any(not torch.equal(b, p) for b, p in zip(before, agent.model.parameters(), strict=True))

    stored = agent.experience_buffer.tensor_dict
    bare = gpusim.make(env, 8, device="cpu")
    obs, _ = bare.reset(seed=7)
    done = torch.ones(8, dtype=torch.bool)  # so rl_games begins
    ends = 0
    for t in range(64):
        assert torch.equal(stored["obses"][t], obs)
        assert torch.equal(stored["dones"][t].bool(), done)
        action = stored["actions"][t]
        obs, reward, terminated, truncated, _ = bare.step(action if action.ndim == 1 else 2 * action.clamp(-1, 1))
        assert torch.equal(stored["rewards"][t, :, 0], reward)
        done = terminated | truncated
        ends += int(done.sum())
    assert ends or env == "Pendulum-v1"


def test_time_outs_are_ends_by_the_limit_alone():
    """At the seventh step some poles have fallen; at the limit of nine some fall in that very step."""
    env = RlGamesVecEnv("CartPole-v1", 512, seed=0, device="cpu", max_episode_steps=9)
    bare = gpusim.make("CartPole-v1", 512, device="cpu", max_episode_steps=9)
    assert torch.equal(env.reset(), bare.reset(seed=0)[0])
    both = 0
    for _ in range(9):
        action = torch.ones(512, dtype=torch.int64)
        obs, reward, done, infos = env.step(action)
        expected, expected_reward, terminated, truncated, expected_infos = bare.step(action)
        assert torch.equal(obs, expected)
        assert torch.equal(reward, expected_reward)
        assert torch.equal(done, terminated | truncated)
        assert torch.equal(infos["time_outs"], truncated & ~terminated)
        assert torch.equal(infos["final_obs"], expected_infos["final_obs"])
        both += int((terminated & truncated).sum())
    assert both


@pytest.mark.parametrize("use_vecenv", [True, False])
def test_a_player_plays(use_vecenv, tmp_path, capsys):
    params = driver.params("CartPole-v1", tmp_path, "cpu", epochs=1, num_envs=4)
    params["config"]["player"]["use_vecenv"] = use_vecenv
    runner = Runner()
    runner.load({"params": params})
    runner.create_player().run()
    assert "av reward" in capsys.readouterr().out
