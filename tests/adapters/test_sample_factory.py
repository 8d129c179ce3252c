"""Sample Factory: its own batched wrapper around the environment, beside the bare one; a training; what is refused."""

import warnings

import numpy as np
import pytest
import torch

import gpusim

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("sample_factory", reason="sample_factory is not installed in this environment: make trainers")
    from sample_factory.algo.utils.make_env import make_env_func_batched
    from sample_factory.utils.attr_dict import AttrDict

    from benchmarks.trainers import sample_factory as driver
    from gpusim.adapters import to_sample_factory

pytestmark = pytest.mark.filterwarnings("ignore")  # of a library that was written for an older Gymnasium


def batched(id="CartPole-v1", num_envs=512, cfg=(), **kwargs):
    name = to_sample_factory(id, num_envs=num_envs, device="cpu", **kwargs)
    return make_env_func_batched(AttrDict(env=name, **dict(cfg)), AttrDict(worker_index=0, vector_index=0, env_id=0))


@pytest.mark.parametrize(
    ("id", "num_envs", "kwargs", "sentence"),
    [
        (
            "CartPole-v1",
            4,
            {"autoreset_mode": "next_step"},
            'Sample Factory .* autoreset_mode="same_step", not "next_step"',
        ),
        ("CartPole-v1", 1, {}, "Sample Factory needs at least two environments"),
        ("CartPole-v1", None, {}, "how many environments"),
        ("CartPoll-v1", 4, {}, "did you mean CartPole-v1"),
    ],
)
def test_an_environment_that_sample_factory_cannot_use_is_refused(id, num_envs, kwargs, sentence):
    with pytest.raises(gpusim.InputError, match=sentence):
        batched(id, num_envs, **kwargs)


def test_the_number_of_environments_may_stand_in_the_configuration():
    assert batched(num_envs=None, cfg={"env_agents": 6}).num_agents == 6


@pytest.mark.parametrize("id", ["CartPole-v1", "Pendulum-v1"])
def test_the_batched_environment_gives_what_the_bare_one_gives(id):
    env, bare = batched(id, max_episode_steps=9), gpusim.make(id, 512, device="cpu", max_episode_steps=9)
    assert env.num_agents == 512
    env.seed(4)
    assert torch.equal(env.reset()[0]["obs"], bare.reset(seed=4)[0])
    for _ in range(9):
        if id == "CartPole-v1":
            action = torch.ones(512, dtype=torch.int64)
            handed = action.to(torch.int32).numpy()
        else:
            action, handed = torch.full((512, 1), 2.0), np.full((512, 1), 5.0, np.float32)
        obs, reward, terminated, truncated, _ = env.step(handed)
        expected, expected_reward, ended, cut, _ = bare.step(action)
        assert torch.equal(obs["obs"], expected)
        assert torch.equal(reward, expected_reward)
        assert torch.equal(terminated, ended)
        assert torch.equal(truncated, cut & ~ended)
    assert cut.any()
    assert id == "Pendulum-v1" or (cut & ended).any()


def test_appo_trains():
    runner = driver.trained(to_sample_factory("CartPole-v1", num_envs=64, device="cpu"), torch.device("cpu"), 4_096)
    assert sum(runner.env_steps.values()) >= 4_096
    assert 10 < np.mean(runner.policy_avg_stats["reward"]) < 60
