"""Stable-Baselines3: the same steps and infos as its own `DummyVecEnv` gives, below its own wrappers and algorithms."""

import warnings

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize

import gpusim
from gpusim.adapters import to_sb3
from gpusim.wrappers import TransformReward
from tests.envs.test_wrappers import SEED, N, Row, each_env, make


def dummy(env, limit):
    return DummyVecEnv([lambda i=i: Monitor(Row(env, i, limit)) for i in range(N)])


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize, lambda env: VecFrameStack(env, 3)])
@each_env
def test_steps_and_infos_are_those_of_dummy_vec_env(env, wrap):
    ours, theirs = wrap(to_sb3(make(env, max_episode_steps=30))), wrap(dummy(env, 30))
    ours.action_space.seed(0)
    for each in (ours, theirs):
        each.seed(SEED)
    np.testing.assert_allclose(ours.reset(), theirs.reset(), rtol=1e-5, atol=1e-5)
    ends = 0
    for _ in range(150):
        actions = np.stack([ours.action_space.sample() for _ in range(N)])
        *mine, infos = ours.step(actions)
        *other, their_infos = theirs.step(actions)
        for a, b in zip(mine, other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        for info, their in zip(infos, their_infos, strict=True):
            same_info(info, their)
        ends += int(mine[2].sum())
    assert ends >= 10


def same_info(info, their):
    assert info.get("TimeLimit.truncated", False) == their["TimeLimit.truncated"]
    assert info.keys() - {"TimeLimit.truncated"} == their.keys() - {"TimeLimit.truncated"}
    if "episode" in their:
        np.testing.assert_allclose(info["terminal_observation"], their["terminal_observation"], rtol=1e-4, atol=1e-4)
        assert info["episode"]["r"] == pytest.approx(their["episode"]["r"], abs=1e-3)
        assert info["episode"]["l"] == their["episode"]["l"]
        assert info["episode"].keys() == their["episode"].keys()


def test_dtypes_and_infos_of_what_goes_on():
    env = to_sb3(make())
    env.reset()
    obs, reward, done, infos = env.step(np.zeros(N, np.int64))
    assert (obs.dtype, reward.dtype, done.dtype) == (np.float32, np.float32, bool)
    assert infos == [{}] * N
    assert dict(infos[0]).get("episode") is infos[0].copy().get("episode") is None
    for write in (lambda d: d.update(a=1), lambda d: d.setdefault("a", 1), lambda d: d.__setitem__("a", 1)):
        with pytest.raises(gpusim.InputError, match="share one empty info"):
            write(infos[0])


def test_ppo_learns_and_logs_the_returns_of_episodes():
    model = PPO("MlpPolicy", to_sb3(make(num_envs=8)), n_steps=64, batch_size=128, n_epochs=2, seed=0, device="cpu")
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(1024)
    assert any((a != b).any() for a, b in zip(before, model.policy.parameters(), strict=True))
    assert model.ep_info_buffer[0].keys() == {"r", "l", "t"}
    assert np.mean([episode["l"] for episode in model.ep_info_buffer]) > 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # SB3 warns where returns may not be the true ones
        score, _ = evaluate_policy(model, to_sb3(make(num_envs=8)), n_eval_episodes=8)
    assert score > 8


def test_the_time_limit_reaches_the_replay_buffer():
    limit = 12
    env = to_sb3(make(max_episode_steps=limit))
    model = DQN("MlpPolicy", env, learning_starts=30, buffer_size=3000, train_freq=10, seed=0, device="cpu")
    model.learn(600)
    memory = model.replay_buffer
    timeouts, dones = memory.timeouts[: memory.pos].astype(bool), memory.dones[: memory.pos].astype(bool)
    assert timeouts.any()
    assert (dones & ~timeouts).any()
    goes_on = ~dones[:-1]
    rows = memory.observations[1 : memory.pos], memory.next_observations[: memory.pos - 1]
    assert (rows[0][goes_on] == rows[1][goes_on]).all()
    assert (np.abs(rows[1][dones[:-1]]) > 0.05).any(-1).all()  # a fresh one lies within 0.05 of the origin


def test_sac_learns_pendulum():
    env = to_sb3(TransformReward(make("Pendulum-v1"), lambda reward: reward / 10))
    model = SAC("MlpPolicy", env, learning_starts=30, train_freq=10, gradient_steps=1, seed=0, device="cpu")
    model.learn(630)
    assert len(model.ep_info_buffer) == N
    assert model.num_timesteps == 630


def test_vec_monitor_counts_as_we_do():
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        env = VecMonitor(to_sb3(make(max_episode_steps=9)))
    env.reset()
    infos = [env.step(np.zeros(N, np.int64))[3] for _ in range(30)]
    ends = [info["episode"] for step in infos for info in step if info]
    assert len(ends) >= 6
    assert all(end["r"] == end["l"] <= 9 for end in ends)


def test_attributes_methods_and_seeds():
    env = to_sb3(make())
    assert env.get_attr("render_mode") == [None] * N
    assert env.get_attr("gravity", 1) == [pytest.approx(9.8)]
    env.set_attr("gravity", 5.0, indices=[0, 2])
    assert env.get_attr("gravity") == [5.0, pytest.approx(9.8), 5.0]
    env.set_attr("gravity", 7.0)
    assert env.get_attr("gravity", [0]) == [7.0]
    assert env.has_attr("max_episode_steps")
    assert not env.has_attr("action_masks")
    assert env.env_is_wrapped(Monitor) == [True] * N
    assert env.env_is_wrapped(TransformReward, 0) == [False]
    env.seed(3)
    first = env.reset()
    assert (env.reset() != first).any()
    env.seed(3)
    assert (env.reset() == first).all()
    state = env.env_method("get_state", indices=0)
    assert len(state) == 1
    assert env.has_attr("reset")  # and does not call it
    assert env.env.get_state().episode.tolist() == state[0].episode.tolist()
    env.close()
    with pytest.raises(gpusim.InputError, match="closed"):
        env.reset()


@pytest.mark.parametrize("mode", ["next_step", "disabled"])
def test_another_mode_is_refused(mode):
    with pytest.raises(gpusim.InputError) as raised:
        to_sb3(make(autoreset_mode=mode))
    assert str(raised.value) == (
        "Stable-Baselines3 resets environments within the step: "
        f'make this one with autoreset_mode="same_step", not "{mode}".'
    )
