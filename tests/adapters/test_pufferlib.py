"""PufferLib 3: what PuffeRL stored, beside the bare environment; and what is refused."""

import warnings

import numpy as np
import pytest
import torch

import gpusim

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pufferlib", reason="pufferlib is not installed in this environment: make trainers")
    from benchmarks.trainers import pufferlib as driver
    from gpusim.adapters import to_pufferlib

pytestmark = pytest.mark.filterwarnings("ignore")  # of a library that was written for an older Gymnasium


def make(env="CartPole-v1", num_envs=8, **kwargs):
    return gpusim.make(env, num_envs, device="cpu", **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"autoreset_mode": "disabled"}, r'PufferLib .* autoreset_mode="same_step", not "disabled"\.$'),
        ({"copy": False}, "PufferLib keeps the tensors of earlier steps: make this environment with copy=True"),
    ],
)
def test_an_environment_that_pufferlib_cannot_use_is_refused(kwargs, sentence):
    with pytest.raises(gpusim.InputError, match=sentence):
        to_pufferlib(make(**kwargs))


def test_pufferl_stores_what_the_bare_environment_gives():
    """Row t holds an observation, the action upon it, and the reward and end that came with the observation."""
    trainer = driver.made(to_pufferlib(make(max_episode_steps=20)), horizon=64)
    trainer.evaluate()
    bare = make(max_episode_steps=20)
    obs, _ = bare.reset(seed=7)
    reward, over = torch.zeros(8), torch.zeros(8, dtype=torch.bool)
    ends = 0
    for t in range(64):
        assert torch.equal(trainer.observations[:, t], obs)
        assert torch.equal(trainer.rewards[:, t], reward)
        assert torch.equal(trainer.terminals[:, t].bool(), over)
        obs, reward, terminated, truncated, _ = bare.step(trainer.actions[:, t])
        over = terminated | truncated
        ends += int(truncated.sum())
    assert ends


def test_pufferl_trains():
    assert driver.train(torch.device("cpu"))[0] == "PuffeRL"


def test_infos_are_means_of_what_ended():
    env, bare = to_pufferlib(make(num_envs=64)), make(num_envs=64)
    env.reset(seed=0)
    bare.reset(seed=0)
    returns, found = [], []
    for _ in range(2 * env.INFO_EVERY):
        *_, info = env.step(np.ones(64, np.int64))
        found += info
        *_, infos = bare.step(torch.ones(64, dtype=torch.int64))
        returns += infos["episode"]["r"][infos["_episode"]].tolist()
        if info:
            assert info[0]["episode_return"] == pytest.approx(np.mean(returns))
            assert info[0]["episode_length"] == pytest.approx(np.mean(returns))
            returns = []
    assert len(found) == 2


def test_continuous_actions_are_clipped():
    env, bare = to_pufferlib(make("Pendulum-v1", 2)), make("Pendulum-v1", 2)
    env.reset(seed=1)
    bare.reset(seed=1)
    got = env.step(np.array([[7.0], [-7.0]], np.float32))[0]
    assert torch.equal(got, bare.step(torch.tensor([[2.0], [-2.0]]))[0])
