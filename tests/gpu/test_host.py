"""Environments that step on the host, with their observations on a GPU."""

import pytest
import torch

from gpusim.adapters import from_gymnasium
from gpusim.agents import dqn, ppo
from tests.envs import hosted

pytestmark = pytest.mark.gpu


def test_a_gpu_is_given_what_the_cpu_is():
    here, there = (from_gymnasium("GuessLives-v0", 64, device=device, engine="sync") for device in ("cpu", "cuda"))
    rollouts = []
    for env in (here, there):
        env.reset(seed=2)
        rollouts.append(env.rollout(20, lambda obs: (obs[:, 0, 0, 0] > 99).long()))
    for mine, other in zip(*rollouts, strict=True):
        pairs = zip(mine.values(), other.values(), strict=True) if isinstance(mine, dict) else ((mine, other),)
        assert all(torch.equal(a, b.cpu()) for a, b in pairs)
    assert there.seen.is_pinned()


def test_learners_learn_without_graphs():
    same = {"env": "Guess-v0", "num_envs": 8, "device": "cuda", "hidden": (16,), "total_steps": 2048, "backend": "sync"}
    for algorithm, settings in (
        (ppo, {"num_steps": 16, "minibatches": 4, "learning_rate": 1e-2}),
        (dqn, {"learning_starts": 256, "batch_size": 64, "learning_rate": 3e-3, "epsilon_end": 0.0}),
    ):
        learner = algorithm.train(algorithm.Config(**same, **settings)).learner
        assert learner.graphed.captured == {}
        assert learner.window.mean()[0] > 0.0  # at random it is -2


assert hosted  # registers
