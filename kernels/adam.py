"""Adam (Kingma & Ba, 2015) on one flat vector, with clipping by global norm, from a gradient that lies in parts."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gpusim.kernels.launch import runs_on
from gpusim.kernels.update import METRICS, Workspace

BETAS = (0.9, 0.999)


def sum_parts(workspace: Workspace, across: Callable[[Tensor], Any] | None = None) -> None:
    """Adds up what `gpusim.kernels.update.ppo_gradient` left: fills `grad`, the gradient before clipping, then 8 metrics.

    Args:
        workspace: its `partials` `[G, P + 8]` are added in the same order every time, and its `squares` made of the sum.
        across: where minibatches lie on several devices: replaces `grad`, in place, by its mean over all of them, as
            `torch.distributed.all_reduce` does. It is called between two launches, and can be captured if it can be.

    Raises:
        ValueError: `grad` does not fit.
    """
    grad = workspace.grad
    if workspace.partials.shape[1:] != grad.shape or grad.dtype != torch.float32 or not grad.is_contiguous():
        raise ValueError(f"grad must be float32 [{workspace.partials.shape[1]}], not {grad.dtype} {list(grad.shape)}.")
    _sum(workspace.partials, workspace)
    if across is not None:
        across(grad)
        _sum(grad[None], workspace)


def _sum(parts: Tensor, workspace: Workspace) -> None:
    if runs_on(parts.device):
        from gpusim.kernels.adam_triton import sum_parts_triton

        sum_parts_triton(parts, workspace.grad, workspace.squares)
    else:
        sum_parts_torch(parts, workspace.grad, workspace.squares)


def sum_parts_torch(parts: Tensor, grad: Tensor, squares: Tensor) -> None:
    """The specification; the squares all in one part."""
    grad.copy_(parts.sum(0))
    squares.zero_()
    squares[0] = grad[:-METRICS].square().sum()


def adam_step(
    workspace: Workspace,
    flat: Tensor,
    moment1: Tensor,
    moment2: Tensor,
    steps: Tensor,
    learning_rate: Tensor,
    max_grad_norm: float,
    eps: float,
    losses: Tensor,
) -> None:
    """One step, in place, after `sum_parts`.

    Args:
        workspace: its `grad` is clipped by the norm that is in its `squares`.
        flat, moment1, moment2: `[P]`, float32.
        steps: float32, 0-dim: how many there were; incremented.
        learning_rate: float32, 0-dim.
        max_grad_norm: the gradient is scaled down to this norm.
        eps: added to the root of the second moment.
        losses: `[8]`, float32, filled: total, policy, value, entropy, kl, clipped (as `gpusim.kernels.loss.Losses`), the
            gradient's norm before clipping, 0.

    Raises:
        ValueError: shapes or dtypes do not fit.
    """
    size = flat.numel()
    vectors, numbers = (flat, moment1, moment2), (steps, learning_rate)
    if any(x.shape != (size,) or x.dtype != torch.float32 or not x.is_contiguous() for x in vectors):
        raise ValueError(f"flat and both moments must be float32 [{size}], not {[tuple(x.shape) for x in vectors]}.")
    if workspace.grad.shape != (size + METRICS,) or losses.shape != (METRICS,):
        raise ValueError(f"grad must be [{size + METRICS}] and losses [{METRICS}].")
    if any(x.ndim != 0 or x.dtype != torch.float32 for x in numbers):
        raise ValueError("steps and learning_rate must be 0-dim float32 tensors.")
    arguments = (flat, moment1, moment2, steps, learning_rate, max_grad_norm, eps, losses)
    if runs_on(flat.device):
        from gpusim.kernels.adam_triton import adam_step_triton

        adam_step_triton(workspace, *arguments)
    else:
        adam_step_torch(workspace, *arguments)


@torch.no_grad()
def adam_step_torch(
    workspace: Workspace,
    flat: Tensor,
    moment1: Tensor,
    moment2: Tensor,
    steps: Tensor,
    learning_rate: Tensor,
    max_grad_norm: float,
    eps: float,
    losses: Tensor,
) -> None:
    """The specification, in the dtype of what it is given."""
    gradient, metrics = workspace.grad[: flat.numel()], workspace.grad[flat.numel() :]
    norm = workspace.squares.sum().sqrt()
    gradient = gradient * (max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
    steps.add_(1.0)
    correction1, correction2 = (1 - beta ** steps.double() for beta in BETAS)
    moment1.lerp_(gradient, 1 - BETAS[0])
    moment2.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    step = (learning_rate / correction1).to(flat.dtype)
    flat.sub_(step * moment1 / (moment2.sqrt() / correction2.sqrt().to(flat.dtype) + eps))
    losses.copy_(torch.cat([metrics[:1] + metrics[6:7], metrics[1:6], norm[None], torch.zeros_like(norm)[None]]))
