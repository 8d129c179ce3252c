"""Learners compute in float32, whatever torch's default is."""

import pytest
import torch

from gpusim.agents import a2c, dqn, ppo, pqn, reinforce, sac, td3
from gpusim.agents.train.evaluate import evaluate

LEARNERS = [(a2c, a2c.A2C), (dqn, dqn.DQN), (ppo, ppo.PPO), (pqn, pqn.PQN), (reinforce, reinforce.Reinforce)]
LEARNERS += [(sac, sac.SAC), (td3, td3.TD3)]


def learned(module, kind):
    learner = kind(module.Config(num_envs=4, device="cpu", backend="eager"))
    losses = [list(learner.iterate().values()) for _ in range(2)]
    returns = evaluate(lambda obs: learner.network.act(obs, None), learner.config.env, 3, seed=1)
    return losses, [*learner.network.state_dict().values()], returns


@pytest.mark.parametrize(("module", "kind"), LEARNERS, ids=lambda x: getattr(x, "__name__", ""))
def test_learners(module, kind):
    expected = learned(module, kind)
    torch.set_default_dtype(torch.float64)
    try:
        got = learned(module, kind)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)
    assert [x.dtype for x in got[1]] == [x.dtype for x in expected[1]]  # statistics of observations are float64
