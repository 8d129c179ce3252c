"""The PPO update: the twin against the learner's own loss; its kernel, and the others of learning, in the interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gymnasium.spaces import Box, Discrete

from gpusim.agents.parts.networks import ActorCritic
from gpusim.kernels.loss import Batch, ppo_loss
from gpusim.kernels.mlp import MlpShape, actor_torch, critic_torch
from gpusim.kernels.update import (
    Data,
    Loss,
    _gathered,
    _policy,
    make_workspace,
    ppo_gradient,
    ppo_gradient_torch,
)

ROOT = Path(__file__).parent.parent.parent


def example(
    steps=5, envs=60, inputs=4, hidden=(64, 64), outputs=2, activation="tanh", gaussian=False, normalize_obs=False,
    clip_value=False, normalize_advantage=True, entropy_coef=0.01, size=100, start=7, programs=2, room=0,
):  # fmt: skip
    """The arguments of `ppo_gradient`: ratios and values on either side of their clips, a log_std beyond its range.

    The workspace is for `room` rows, if those are more.
    """
    generator = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=generator)
    shape = MlpShape(inputs, *hidden, outputs, activation, gaussian)
    flat = normal(shape.size) * 0.15
    if gaussian and outputs > 1:
        flat[0] = 2.5
    obs = normal(steps, inputs, envs)
    sample = (
        normal(steps, outputs, envs)
        if gaussian
        else torch.randint(0, outputs, (steps, envs), generator=generator).int()
    )
    normalizer = (normal(inputs) * 0.3, torch.rand(inputs, generator=generator) + 0.5) if normalize_obs else None
    data = Data(obs, sample, *normal(3, steps, envs))
    all_rows = _gathered(data, torch.arange(steps * envs))
    features = all_rows.obs
    if normalizer is not None:
        features = ((features - normalizer[0]) * normalizer[1]).clamp(-10, 10)
    log_prob, _ = _policy(flat, shape, actor_torch(flat, shape, features), all_rows.sample)
    old = log_prob + 0.2 * normal(steps * envs), critic_torch(flat, shape, features) + 0.3 * normal(steps * envs)
    data = data._replace(log_prob=old[0].view(steps, envs), value=old[1].view(steps, envs))
    order = torch.randperm(steps * envs, generator=generator).int()
    size = min(size, steps * envs - start)
    advantage = data.advantage.flatten()[order[start : start + size].long()]
    moments = torch.stack([advantage.mean(), advantage.std(unbiased=False)])
    loss = Loss(0.2, 0.5, entropy_coef, clip_value, normalize_advantage)
    return (
        flat,
        shape,
        data,
        order,
        start,
        size,
        loss,
        make_workspace(shape, max(size, room), "cpu", programs),
        moments,
        normalizer,
    )


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
        gaussian=gaussian, clip_value=clip_value, outputs=3, normalize_obs=True
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


def run_in_interpreter(which):
    """`learning_in_interpreter.py` in a process of its own, as the variable counts only before Triton is imported."""
    module = str(Path(__file__).parent / "learning_in_interpreter.py")
    command = [sys.executable, "-m", "pytest", module, "-k", which, "-p", "no:cacheprovider"]
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("which", ["gradient or launch", "not gradient and not launch"])
def test_kernels_in_the_interpreter(which):
    pytest.importorskip("triton")
    run_in_interpreter(which)
