"""Trading is learned: what PPO earns on prices that it never saw, beside being long all the time."""

import pytest
import torch

import gpusim
from gpusim.agents import ppo

N = 1000


def earned(env, policy):
    """Mean and standard error of the returns of so many episodes, each on prices of its own."""
    vec = gpusim.make(env, N, device="cpu", autoreset_mode="disabled", validate=False)
    obs, _ = vec.reset(seed=98765)
    for _ in range(252):
        obs, _, terminated, _, infos = vec.step(policy(obs))
    assert terminated.all()
    returns = infos["episode"]["r"]
    return float(returns.mean()), float(returns.std()) / N**0.5


@pytest.mark.slow
def test_ppo_earns_more_than_being_long():
    config = ppo.Config(env="Trading-v0", device="cpu", total_steps=500_000, seed=1)
    learner = ppo.train(config).learner
    mean, error = earned("Trading-v0", lambda obs: learner.network.act(obs, None))
    long, other = earned("Trading-v0", lambda obs: torch.full((N,), 2))
    assert mean - long > 5 * (error**2 + other**2) ** 0.5
    assert mean > 0.09
