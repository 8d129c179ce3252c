"""The specification of PPO's update against the learner's own loss."""

import pytest
import torch
from gymnasium.spaces import Box, Discrete

from gpusim.agents.parts.networks import ActorCritic
from gpusim.kernels.launch import recording
from gpusim.kernels.loss import Batch, Loss, ppo_loss
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.twin import twins
from gpusim.kernels.update import _gathered, make_workspace, ppo_gradient, ppo_gradient_torch


def example(**sizes):
    """The arguments of `ppo_gradient`, all but the precision."""
    return twins()["ppo_gradient"].example(**sizes)[:-1]


def double(x):
    """Tensors of floats, also within tuples, in float64."""
    if isinstance(x, torch.Tensor):
        return x.double() if x.is_floating_point() else x
    if isinstance(x, MlpShape | Loss) or not isinstance(x, tuple):
        return x
    return type(x)(*map(double, x)) if hasattr(x, "_fields") else tuple(map(double, x))


def exact(*arguments):
    """The gradient and the metrics, by autograd in float64."""
    arguments = tuple(map(double, arguments))
    ppo_gradient_torch(*arguments)
    return arguments[7].partials.sum(0)


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("clip_value", [False, True])
def test_the_twin_is_the_learners_loss(gaussian, clip_value):
    """Same gradient and metrics as `ppo_loss` on the learner's own network."""
    flat, shape, data, order, start, size, loss, workspace, moments, normalizer = example(
        shape=MlpShape(4, 64, 64, 3, "tanh", gaussian), clip_value=clip_value, normalize_obs=True
    )
    actions = Box(-1, 1, (3,)) if gaussian else Discrete(3)
    network = ActorCritic(
        Box(-1, 1, (4,)), actions, (64, 64), "tanh", True, 0.0, torch.Generator().manual_seed(0)
    ).double()
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(flat.double(), network.parameters())
        network.normalizer.mean.copy_(normalizer[0])
        network.normalizer.var.copy_(normalizer[1].double() ** -2 - 1e-8)
    rows = double(_gathered(data, order[start : start + size].long()))
    batch = Batch(rows.obs, rows.sample, rows.log_prob, rows.value, rows.advantage, rows.advantage + rows.value)
    losses = ppo_loss(loss, batch, network.distribution(rows.obs), network.value(rows.obs))
    losses.total.backward()
    gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
    got = exact(flat, shape, data, order, start, size, loss, workspace, moments, normalizer)
    torch.testing.assert_close(got[:-8], gradient, rtol=1e-5, atol=1e-6)
    metrics = torch.stack([got[-8] + got[-2], *got[-7:-2]])
    torch.testing.assert_close(metrics, torch.stack([x.detach() for x in losses]), rtol=1e-5, atol=1e-6)


def test_on_the_cpu_the_twin_runs():
    arguments = example()
    ppo_gradient(*arguments)
    got = arguments[7].partials.sum(0).double()
    torch.testing.assert_close(got, exact(*arguments), rtol=1e-3, atol=1e-6)


def test_refusals():
    flat, shape, data, *rest = example()
    with pytest.raises(ValueError, match="obs must be contiguous"):
        ppo_gradient(flat, shape, data._replace(obs=data.obs.transpose(1, 2)), *rest)
    with pytest.raises(ValueError, match=r"sample must be .* torch.int32"):
        ppo_gradient(flat, shape, data._replace(sample=data.sample.long()), *rest)
    with pytest.raises(ValueError, match="parameters"):
        ppo_gradient(flat[1:], shape, data, *rest)
    with pytest.raises(ValueError, match="precision is 'half'"):
        ppo_gradient(flat, shape, data, *rest, "half")
    with pytest.raises(ValueError, match="order must be"):
        ppo_gradient(flat, shape, data, rest[0], 300, *rest[2:])
    with pytest.raises(ValueError, match="moments are needed"):
        ppo_gradient(flat, shape, data, *rest[:5], None, rest[6])
    with pytest.raises(ValueError, match="kernels take 16 to"):
        ppo_gradient(flat, shape._replace(hidden1=8), data, *rest)


@pytest.mark.parametrize(
    ("hidden", "size", "programs", "partials", "scratch"),
    [
        ((64, 64), 100, 8, 4, None),
        ((65, 16), 100, 8, 2, (2, 2, 64, 128 + 64)),
        ((256, 256), 9 * 64, 8, 8, (8, 2, 64, 512)),
    ],
)
def test_workspace(hidden, size, programs, partials, scratch):
    """No more programs than blocks of rows, and room for whole pieces of wide layers."""
    shape = MlpShape(4, *hidden, 2, "tanh", False)
    workspace = make_workspace(shape, size, "cpu", programs)
    assert workspace.partials.shape == (partials, shape.size + 8)
    assert (None if workspace.scratch is None else tuple(workspace.scratch.shape)) == scratch


def test_one_launch():
    with recording() as launches:
        ppo_gradient(*example())
    assert [x.kernel.fn.__name__ for x in launches] == ["ppo_gradient_kernel"]
    assert launches[0].grid == (2, 2)  # programs, and the actor or the critic
