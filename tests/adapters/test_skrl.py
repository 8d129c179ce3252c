"""skrl: what the real library's memory holds after training, beside the bare environment; and what is refused."""

import warnings

import pytest
import torch

import gpusim

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("skrl", reason="skrl is not installed")
    from skrl import config
    from skrl.utils import set_seed

    from benchmarks.trainers import skrl as driver
    from gpusim.adapters import to_skrl


def make(env="CartPole-v1", num_envs=8, **kwargs):
    return gpusim.make(env, num_envs, device="cpu", **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"autoreset_mode": "disabled"}, r'skrl .* autoreset_mode="same_step", not "disabled"\.$'),
        ({"copy": False}, "skrl keeps the tensors of earlier steps: make this environment with copy=True"),
    ],
)
def test_an_environment_that_skrl_cannot_use_is_refused(kwargs, sentence):
    with pytest.raises(gpusim.InputError, match=sentence):
        to_skrl(make(**kwargs))


@pytest.mark.parametrize(
    ("env", "agent", "settings"),
    [
        ("CartPole-v1", "PPO", {"rollouts": 64}),
        ("CartPole-v1", "DQN", {"learning_starts": 8, "batch_size": 32}),
        ("Pendulum-v1", "PPO", {"rollouts": 64}),
    ],
)
def test_the_memory_holds_what_the_bare_environment_gives(env, agent, settings):
    stored = driver.trained(make(env), agent, 64, memory_size=64, **settings).memory.get_tensor_by_name
    bare = make(env)
    obs, _ = bare.reset(seed=7)
    ends = 0
    for t, action in enumerate(stored("actions")):
        assert torch.equal(stored("observations")[t], obs)
        action = action.clamp(-2, 2) if env == "Pendulum-v1" else action[:, 0].long()
        obs, reward, terminated, truncated, _ = bare.step(action)
        assert torch.equal(stored("rewards")[t, :, 0], reward)
        assert torch.equal(stored("terminated")[t, :, 0], terminated)
        if agent == "DQN":
            assert torch.equal(stored("next_observations")[t], obs)
        else:
            assert torch.equal(stored("truncated")[t, :, 0], truncated)
        ends += int(terminated.sum())
    assert ends or env == "Pendulum-v1"


def test_an_end_by_the_limit_and_by_the_task_at_once_is_no_truncation():
    set_seed(0)
    env, bare = to_skrl(make(num_envs=512, max_episode_steps=9)), make(num_envs=512, max_episode_steps=9)
    assert torch.equal(env.reset()[0], bare.reset(seed=0)[0])
    for _ in range(9):
        action = torch.ones(512, dtype=torch.int64)
        _, _, terminated, truncated, _ = env.step(action[:, None])
        _, _, ended, cut, _ = bare.step(action)
    assert torch.equal(terminated[:, 0], ended)
    assert torch.equal(truncated[:, 0], cut & ~ended)
    assert (cut & ended).any()


def test_images_are_flattened_floats():
    set_seed(0)
    env, bare = to_skrl(make("MinAtar/Breakout-v1", 3)), make("MinAtar/Breakout-v1", 3)
    obs, _ = env.reset()
    assert torch.equal(obs, bare.reset(seed=0)[0].reshape(3, -1).float())
    assert env.observation_space == bare.single_observation_space
    assert torch.equal(
        env.step(torch.zeros(3, 1, dtype=torch.int64))[0].bool(), bare.step(torch.zeros(3).long())[0].flatten(1)
    )


def test_the_first_reset_takes_the_seed_that_skrl_was_given(monkeypatch):
    for seed in (0, 5):
        set_seed(seed)
        assert torch.equal(to_skrl(make()).reset()[0], make().reset(seed=seed)[0])
    monkeypatch.setattr(config.torch, "key", 0)  # as it is before anyone gives one
    torch.manual_seed(torch.default_generator.seed())
    assert not torch.equal(to_skrl(make()).reset()[0], to_skrl(make()).reset()[0])
    begun, bare = make(), make()
    for env in (begun, bare):
        env.reset(seed=3)
    assert torch.equal(to_skrl(begun).reset()[0], bare.reset()[0])


def test_a_second_reset_begins_new_episodes():
    env = to_skrl(make())
    assert not torch.equal(env.reset()[0], env.reset()[0])
