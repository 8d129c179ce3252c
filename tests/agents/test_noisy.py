"""Noisy layers: by hand, off where nothing is drawn, drawn by seed and number alone, and learned by DQN and PQN."""

import pytest
import torch

import gpusim
from gpusim.agents import dqn, pqn
from gpusim.agents.parts.networks import QNetwork
from gpusim.agents.parts.noisy import Noise, Noisy
from gpusim.errors import InputError
from tests.agents import probes


def noise(rows=None, *, seed=7, width=3):
    """Of a layer of 2 inputs and 1 output, drawn for so many rows."""
    made = Noise(seed)
    made.take(width)
    if rows is None:
        return made
    with made.drawn(rows):
        return made.now


def test_a_layer_by_hand():
    """2 · 3 + 1 = 7; noise of ½ / √1 of f(4) = 2, f(−9) = −3: ½ · 2 · 3 · (−3) − 3 · ½ = −10.5."""
    source = Noise(0)
    layer = Noisy(torch.nn.Linear(1, 1), source)
    with torch.no_grad():
        layer.layer.weight.fill_(2.0)
        layer.layer.bias.fill_(1.0)
    x = torch.tensor([[3.0]])
    assert layer(x).item() == 7.0
    source.now = torch.tensor([[2.0, -3.0]])
    assert layer(x).item() == pytest.approx(7.0 - 10.5)
    layer(x).sum().backward()
    assert layer.spread.weight.grad.item() == pytest.approx(2.0 * 3.0 * -3.0)
    assert layer.spread.bias.grad.item() == -3.0


def test_the_noise_is_the_signed_root_of_normal_numbers():
    z = noise(20_000)
    assert z.shape == (20_000, 3)
    normal = z.sign() * z.square()
    assert normal.mean(0).tolist() == pytest.approx([0.0] * 3, abs=0.03)
    assert normal.std(0).tolist() == pytest.approx([1.0] * 3, abs=0.03)
    assert normal.T.corrcoef().triu(1).abs().max() < 0.03


def test_draws_depend_on_seed_and_number_alone():
    one, other = noise(), noise()
    with one.drawn(4):
        first = one.now
    with one.drawn(4):
        second = one.now
    assert not torch.equal(first, second)
    assert one.now is None
    other.draws.fill_(1)
    with other.drawn(4):
        assert torch.equal(other.now, second)
    assert not torch.equal(noise(4, seed=8), first)


def network(**changes):
    env = gpusim.spec("CartPole-v1")
    source = Noise(3)
    return QNetwork(
        env.observation_space, env.action_space, (8,), "relu", False, True, torch.Generator().manual_seed(0), noise=source,
        **changes,
    )  # fmt: skip


def test_a_network_has_noise_only_where_it_is_drawn():
    noisy, obs = network(), torch.ones(5, 4)
    still = noisy.q(obs)
    with noisy.noised():
        shared = noisy.q(obs)
    with noisy.noised(5):
        apart = noisy.q(obs)
    assert torch.equal(noisy.q(obs), still)
    assert (shared == shared[0]).all()
    assert not torch.equal(shared, still)
    assert len({tuple(row) for row in apart.tolist()}) == 5
    assert torch.equal(noisy.act(obs, None), still.argmax(-1))


def test_every_linear_layer_has_noise_of_its_own():
    layers = [layer for layer in network().modules() if isinstance(layer, Noisy)]
    assert len(layers) == 4
    edges = sorted((layer.share.start, layer.share.stop) for layer in layers)
    assert [start for start, _ in edges] == [0, *(stop for _, stop in edges[:-1])]


SMALL = {"env": probes.MATCHED.id, "num_envs": 16, "num_steps": 4, "hidden": (8,), "device": "cpu", "noisy": True}


def test_target_and_network_draw_apart_and_environments_explore_apart():
    learner = dqn.DQN(dqn.Config(**SMALL, learning_starts=64, batch_size=32))
    assert learner.network.noise.seed != learner.target.noise.seed
    learner.network.epsilon.zero_()
    learner.iterate()
    assert learner.network.noise.draws == 4 + learner.optimizer.steps
    assert learner.target.noise.draws > 0
    with learner.network.noised(16):
        q = learner.network.q(torch.ones(16, 1))
    assert len({tuple(row) for row in q.tolist()}) == 16


LEARNING = SMALL | {
    "seed": 1,
    "num_envs": 32,
    "gamma": 0.5,
    "learning_rate": 1e-2,
    "epsilon_start": 0.0,
    "epsilon_end": 0.0,
}
SETTINGS = {
    dqn: {"total_steps": 8_000, "batch_size": 64, "learning_starts": 256, "capacity": 4096, "replay_ratio": 0.05},
    pqn: {"total_steps": 12_000, "num_steps": 10, "minibatches": 2, "activation": "tanh"},
}


@pytest.mark.parametrize("algorithm", SETTINGS, ids=lambda algorithm: algorithm.__name__.rpartition(".")[2])
def test_it_is_explored_by(algorithm):
    config = algorithm.Config(**LEARNING | SETTINGS[algorithm])
    q = algorithm.train(config).learner.network.q(torch.tensor([[1.0], [-1.0]]))
    assert q.argmax(-1).tolist() == [1, 0]
    assert q.amax(-1).tolist() == pytest.approx([1.0, 1.0], abs=0.2)


def test_a_network_that_remembers_has_none():
    with pytest.raises(InputError, match="noisy layers are for a network that remembers nothing, not gru"):
        pqn.Config(**SMALL | {"network": "gru"}).check()
