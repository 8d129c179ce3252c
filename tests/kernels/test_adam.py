"""The specification against the learner's optimizer."""

import pytest
import torch

from gpusim.agents.parts.optimizer import Adam
from gpusim.kernels.adam import adam_step, sum_parts
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.update import make_workspace

SHAPE = MlpShape(1, 16, 16, 1, "tanh", False)


def test_it_is_the_learners_optimizer():
    """Clipped and not, the gradient in three parts, the loss's metrics passed on."""
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(SHAPE.size, generator=generator))
    oracle = Adam([parameter], eps=1e-5, max_grad_norm=0.5)
    flat, moment1, moment2, steps = oracle.flat.clone(), *torch.zeros(2, SHAPE.size), torch.tensor(0.0)
    workspace, losses = make_workspace(SHAPE, 1000, "cpu", 3), torch.full((8,), torch.nan)
    for scale in (1.0, 1e-4, 3.0):
        workspace.partials.copy_(scale * torch.randn(workspace.partials.shape, generator=generator))
        total = workspace.partials.sum(0)
        norm = oracle.step((parameter * total[: SHAPE.size]).sum(), 1e-2)
        sum_parts(workspace)
        adam_step(workspace, flat, moment1, moment2, steps, torch.tensor(1e-2), 0.5, 1e-5, losses)
        torch.testing.assert_close(flat, oracle.flat, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(losses[6], norm)
        metrics = total[SHAPE.size :]
        torch.testing.assert_close(losses[:6], torch.stack([metrics[0] + metrics[6], *metrics[1:6]]))
    assert steps == 3


def test_what_other_devices_add_is_stepped_by():
    """And the norm is that of the sum."""
    workspace = make_workspace(SHAPE, 1000, "cpu", 3)
    workspace.partials.normal_(generator=torch.Generator().manual_seed(0))
    total = workspace.partials.sum(0)
    sum_parts(workspace, lambda grad: grad.mul_(-3.0))
    torch.testing.assert_close(workspace.grad, -3 * total)
    torch.testing.assert_close(workspace.squares.sum(), 9 * total[:-8].square().sum())


def test_refusals():
    workspace, flat, losses = make_workspace(SHAPE, 10, "cpu"), torch.zeros(SHAPE.size), torch.zeros(8)
    number = torch.tensor(1.0)
    with pytest.raises(ValueError, match="must be float32"):
        adam_step(workspace, flat, flat.double(), flat, number, number, 0.5, 1e-5, losses)
    with pytest.raises(ValueError, match="losses"):
        adam_step(workspace, flat, flat, flat, number, number, 0.5, 1e-5, losses[:7])
    with pytest.raises(ValueError, match="grad must be float32"):
        sum_parts(workspace._replace(grad=workspace.grad[1:]))
    with pytest.raises(ValueError, match="0-dim"):
        adam_step(workspace, flat, flat, flat, flat, number, 0.5, 1e-5, losses)
