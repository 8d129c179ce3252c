"""The networks: what they are made of, on vectors and on images."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

import gpusim
from gpusim.agents import a2c, dqn, ppo, pqn, reinforce
from gpusim.agents.parts.networks import ActorCritic, QNetwork

BOARD = Box(0, 1, (10, 10, 4), dtype=np.bool_)
PHOTO = Box(0, 255, (12, 9, 3), dtype=np.uint8)


def network(space, cls=ActorCritic, **changes):
    extra = (0.0,) if cls is ActorCritic else (changes.pop("dueling", False),)
    return cls(
        space, Discrete(3), (32,), "relu", False, *extra, torch.Generator().manual_seed(0), **changes
    )  # fmt: skip


def images(space, *shape):
    generator = torch.Generator().manual_seed(1)
    whole = torch.randint(0, 256, (*shape, *space.shape), generator=generator, dtype=torch.uint8)
    return whole > 127 if space.dtype == np.bool_ else whole


@pytest.mark.parametrize("space", [BOARD, PHOTO], ids=["bool", "uint8"])
def test_an_image_passes_a_convolution_by_hand(space):
    """Against one written as nine shifted products, with the scale of its dtype."""
    net, obs = network(space), images(space, 2, 5)
    x = obs.float() / (1 if space.dtype == np.bool_ else 255)
    convolution = net.body[0].convolution
    height, width = space.shape[0] - 2, space.shape[1] - 2
    hidden = convolution.bias + sum(
        x[..., i : i + height, j : j + width, :] @ convolution.weight[:, :, i, j].T for i in range(3) for j in range(3)
    )
    linear = net.body[3]
    hidden = (hidden.relu().flatten(-3) @ linear.weight.T + linear.bias).relu()
    torch.testing.assert_close(net.distribution(obs).logits, net.actor(hidden), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(net.value(obs), net.critic(hidden).squeeze(-1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_picture_passes_the_three_convolutions_of_nature(layer_norm):
    space = Box(0, 255, (84, 84, 4), np.uint8)
    net, obs = network(space, layer_norm=layer_norm), images(space, 2, 3)
    x = obs.flatten(0, 1).movedim(-1, 1) / 255
    layers = [m.convolution for m in net.body if hasattr(m, "convolution")]
    assert [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in layers] == [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
    for convolution in layers[:2]:
        x = torch.conv2d(x, convolution.weight, convolution.bias, convolution.stride).relu()
    x = torch.conv2d(x, layers[2].weight, layers[2].bias).movedim(1, -1).flatten(1)
    first = next(m for m in net.body if isinstance(m, torch.nn.Linear))
    assert first.in_features == 3136
    if layer_norm:
        norms = [m for m in net.body if isinstance(m, torch.nn.LayerNorm)]
        hidden = norms[1](torch.nn.functional.linear(norms[0](x).relu(), first.weight, first.bias)).relu()
    else:
        hidden = torch.nn.functional.linear(x.relu(), first.weight, first.bias).relu()
    expected = net.critic(hidden).squeeze(-1).unflatten(0, (2, 3))
    torch.testing.assert_close(net.value(obs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["auto", "mlp"])
def test_one_pass_gives_what_two_give(name):
    net, obs = network(BOARD, network=name), images(BOARD, 7)
    distribution, value = net(obs)
    assert torch.equal(distribution.logits, net.distribution(obs).logits)
    assert torch.equal(value, net.value(obs))


def test_a_perceptron_takes_an_image_flat():
    net, obs = network(BOARD, network="mlp"), images(BOARD, 7)
    assert len(net.body) == 0
    assert torch.equal(net.distribution(obs).logits, net.actor(obs.flatten(1).float()))


def test_normalized_layers_do_not_know_the_scale_of_what_they_are_given():
    net = network(Box(-1, 1, (5,)), QNetwork, layer_norm=True)
    x = torch.randn(6, 5)
    torch.testing.assert_close(net.q(x), net.q(7 * x), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(network(Box(-1, 1, (5,)), QNetwork).q(x), network(Box(-1, 1, (5,)), QNetwork).q(7 * x))


@pytest.mark.parametrize("dueling", [False, True])
def test_what_is_trained_is_all_that_counts(dueling):
    net = network(BOARD, QNetwork, dueling=dueling)
    net.q(images(BOARD, 3)).square().sum().backward()
    assert {id(p) for p in net.trained()} == {id(p) for p in net.parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        (ppo, {"num_steps": 8, "minibatches": 2}),
        (a2c, {"num_steps": 8}),
        (reinforce, {"episode_steps": 20}),
        (pqn, {"num_steps": 8, "minibatches": 2}),
        (dqn, {"learning_starts": 256}),
    ],
    ids=["ppo", "a2c", "reinforce", "pqn", "dqn"],
)
def test_every_learner_takes_images(algorithm, changes):
    config = algorithm.Config(
        env="MinAtar/Breakout-v1", num_envs=8, total_steps=512, hidden=(16,), device="cpu", **changes
    )
    result = algorithm.train(config)
    draw = torch.Generator().manual_seed(config.seed)
    before = type(result.learner).make_network(config, gpusim.spec(config.env), draw)
    assert result.ending == "complete"
    assert not result.learner.network.flat
    after = dict(result.learner.network.named_parameters())
    moved = [name for name, p in before.named_parameters() if not torch.equal(p, after[name])]
    assert {"body.0.convolution.weight", "body.3.weight" if algorithm is not pqn else "body.4.weight"} <= set(moved)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": "cnn"}, "network cnn is for images, and CartPole-v1 shows 4 numbers: use mlp."),
        ({"network": "rnn"}, "network must be auto, mlp, cnn, gru, lstm or mingru, not 'rnn'."),
        (
            {"env": "MinAtar/Breakout-v1", "normalize_obs": True},
            "normalize_obs is for observations of numbers, and MinAtar/Breakout-v1 shows images: leave it off.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, sentence):
    with pytest.raises(gpusim.InputError) as error:
        ppo.train(ppo.Config(**changes))
    assert str(error.value) == sentence


@pytest.mark.parametrize("cls", [ActorCritic, QNetwork])
def test_layers_of_images_in_bf16(cls):
    """Near the same in float32, and not the same; the last layers, the gradient and what comes out are float32."""
    fine, coarse = (network(PHOTO, cls, precision=precision) for precision in ("tf32x3", "bf16"))
    obs = images(PHOTO, 2, 5)
    a, b = fine.value(obs), coarse.value(obs)
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    torch.testing.assert_close(a, b, atol=0.02, rtol=0.02)
    b.sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.abs().sum() > 0 for p in coarse.body.parameters())


@pytest.mark.parametrize("cls", [ActorCritic, QNetwork])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_layers_of_vectors_in_16_bits(precision, cls):
    """All but the last, whose outputs have more digits than 16 bits hold; the gradient is float32."""
    space = Box(-1, 1, (4,), np.float32)
    fine, coarse = (network(space, cls, precision=each) for each in ("tf32x3", precision))
    obs = torch.rand(50, 4, generator=torch.Generator().manual_seed(1))
    a, b = fine.value(obs), coarse.value(obs)
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    assert not torch.equal(b, b.to(torch.bfloat16 if precision == "bf16" else torch.float16).float())
    torch.testing.assert_close(a, b, atol=0.02, rtol=0.02)
    b.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in coarse.parameters() if p.grad is not None)


@pytest.mark.parametrize("cls", [a2c.A2C, pqn.PQN, ppo.PPO])
def test_values_of_next_observations_on_images_are_those_of_the_next_rows(cls):
    """But where an episode ended, and after the last step."""
    module = {a2c.A2C: a2c, pqn.PQN: pqn, ppo.PPO: ppo}[cls]
    learner = cls(module.Config(env="MinAtar/Breakout-v1", device="cpu", num_envs=8, num_steps=32, hidden=(16,)))
    rollout = learner.collect(32)
    done = rollout.terminated | rollout.truncated
    assert done[:-1].any()
    assert not done.all()
    with torch.no_grad():
        ours = learner._next_value(rollout.next_obs, done, learner.network.value(rollout.obs))
        torch.testing.assert_close(ours, learner.network.value(rollout.next_obs), atol=1e-5, rtol=1e-5)
