"""Each learner on environments whose answer is known: what fails here has a fault that a game would hide."""

import pytest
import torch

from gpusim.agents import a2c, ppo, pqn, reinforce
from tests.agents import probes

QUICK = {"num_envs": 32, "total_steps": 12_000, "hidden": (16,), "device": "cpu", "seed": 1}


def ppo_network(env, **changes):
    settings = QUICK | {"num_steps": 10, "minibatches": 2, "learning_rate": 1e-2, "gamma": 0.5} | changes
    return ppo.train(ppo.Config(env=env.id, **settings)).learner.network


def reinforce_network(env, **changes):
    settings = QUICK | {"episode_steps": 6, "learning_rate": 1e-2, "gamma": 0.5} | changes
    return reinforce.train(reinforce.Config(env=env.id, **settings)).learner.network


def a2c_network(env, **changes):
    settings = QUICK | {"num_steps": 5, "learning_rate": 2e-2, "gamma": 0.5, "entropy_coef": 0.0} | changes
    return a2c.train(a2c.Config(env=env.id, **settings)).learner.network


def pqn_network(env, **changes):
    """By tanh: relu has no slope at normalized zeros."""
    settings = QUICK | {"num_steps": 10, "minibatches": 2, "learning_rate": 1e-2, "gamma": 0.5, "activation": "tanh"}
    settings |= changes
    return pqn.train(pqn.Config(env=env.id, **settings)).learner.network


LEARNERS = pytest.mark.parametrize(
    "network", [ppo_network, a2c_network, reinforce_network], ids=["ppo", "a2c", "reinforce"]
)
VALUES = pytest.mark.parametrize(
    "network", [ppo_network, a2c_network, reinforce_network, pqn_network], ids=["ppo", "a2c", "reinforce", "pqn"]
)


def values(network, *observations):
    return network.value(torch.tensor(observations).unsqueeze(-1)).tolist()


@VALUES
def test_a_constant_reward_is_the_value(network):
    assert values(network(probes.CONSTANT), 0.0) == pytest.approx([1.0], abs=0.05)


@VALUES
def test_the_value_depends_on_the_observation(network):
    assert values(network(probes.SEEN), 1.0, -1.0) == pytest.approx([1.0, -1.0], abs=0.1)


@VALUES
def test_a_later_reward_is_discounted(network):
    assert values(network(probes.DELAYED), 0.0, 1.0) == pytest.approx([0.5, 1.0], abs=0.1)


@VALUES
def test_a_truncated_episode_bootstraps(network):
    """A reward of 1 for ever is worth 1 / (1 - 0.5); an ending at the time limit would give 1 to 1.97."""
    assert values(network(probes.ENDLESS, total_steps=24_000), 0.0) == pytest.approx([2.0], abs=0.03)


@LEARNERS
def test_the_rewarded_action_is_chosen(network):
    logits = network(probes.CHOSEN).distribution(torch.zeros(1, 1)).logits
    assert logits.softmax(-1)[0, 1] > 0.95


@LEARNERS
def test_the_action_follows_the_observation(network):
    probability = network(probes.MATCHED).distribution(torch.tensor([[1.0], [-1.0]])).logits.softmax(-1)
    assert probability[0, 1] > 0.95
    assert probability[1, 0] > 0.95


def test_pqn_knows_what_each_action_is_worth():
    q = pqn_network(probes.MATCHED, total_steps=24_000).q(torch.tensor([[1.0], [-1.0]]))
    torch.testing.assert_close(q, torch.tensor([[-1.0, 1.0], [1.0, -1.0]]), atol=0.1, rtol=0)


@LEARNERS
def test_a_continuous_action_is_aimed(network):
    mean = network(probes.AIMED, total_steps=24_000).distribution(torch.zeros(1, 1)).mean
    assert mean.item() == pytest.approx(0.5, abs=0.15)


def test_normalized_observations_and_rewards_learn_too():
    changes = {
        "normalize_obs": True,
        "normalize_reward": True,
        "clip_value": True,
        "target_kl": 0.05,
        "entropy_coef": 0.01,
    }
    probability = ppo_network(probes.MATCHED, **changes).distribution(torch.tensor([[1.0], [-1.0]])).logits.softmax(-1)
    assert probability[0, 1] > 0.9
    assert probability[1, 0] > 0.9
