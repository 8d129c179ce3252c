"""Adam (Kingma & Ba, 2015) on one flat vector, with clipping by global norm, from a gradient that lies in parts."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.twin import of_largest, twin
from gpusim.kernels.update import METRICS, Workspace, make_workspace

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
    sum_rows(workspace.partials, grad, workspace.squares)
    if across is not None:
        across(grad)
        sum_rows(grad[None], grad, workspace.squares)


def sum_rows_torch(parts: Tensor, grad: Tensor, squares: Tensor) -> None:
    """Fills `grad` `[P + 8]` with the sum of `parts` `[G, P + 8]`; `squares` sum up to those of its first P entries."""
    grad.copy_(parts.sum(0))
    squares.zero_()
    squares[0] = grad[:-METRICS].square().sum()


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
    """One step, in place, after `sum_parts`, in the dtype of what it is given.

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


def _check(
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
    size = flat.numel()
    vectors, numbers = (flat, moment1, moment2), (steps, learning_rate)
    if any(x.shape != (size,) or x.dtype != torch.float32 or not x.is_contiguous() for x in vectors):
        raise ValueError(f"flat and both moments must be float32 [{size}], not {[tuple(x.shape) for x in vectors]}.")
    if workspace.grad.shape != (size + METRICS,) or losses.shape != (METRICS,):
        raise ValueError(f"grad must be [{size + METRICS}] and losses [{METRICS}].")
    if any(x.ndim != 0 or x.dtype != torch.float32 for x in numbers):
        raise ValueError("steps and learning_rate must be 0-dim float32 tensors.")


# --------------------------------------------------------------------------------------------------------- examples

_SMALL = MlpShape(1, 16, 16, 1, "tanh", False)
_SHAPES = (
    MlpShape(4, 64, 64, 2, "tanh", False),
    MlpShape(3, 64, 64, 1, "tanh", True),
    MlpShape(11, 100, 17, 4, "tanh", True),
    MlpShape(4, 256, 256, 2, "relu", False),
)


def _parts(shape: MlpShape, programs: int = 132) -> tuple:
    workspace = make_workspace(shape, 64 * programs, "cpu", programs)
    workspace.partials.normal_(generator=torch.Generator().manual_seed(programs))
    return workspace.partials, workspace.grad.fill_(math.nan), workspace.squares.fill_(math.nan)


sum_rows = twin(
    sum_rows_torch, "adam_triton", on="parts", example=_parts, exact=True, close=of_largest(1e-6, on_gpu=1e-5),
    compared=lambda arguments, returned: (arguments[1], arguments[2].sum()),
    cases=[{"shape": _SMALL, "programs": n} for n in (1, 5, 70)] + [{"shape": _SHAPES[2], "programs": 3}],
    large=[{"shape": shape} for shape in _SHAPES],
)  # fmt: skip


def _step(shape: MlpShape, done: float = 0.0, scale: float = 1.0, max_grad_norm: float = 0.5) -> tuple:
    """After `done` steps; of a gradient that is clipped, unless its `scale` is small."""
    generator = torch.Generator().manual_seed(0)
    workspace = make_workspace(shape, 1000, "cpu")._replace(partials=torch.zeros(0), scratch=None)
    workspace.grad.normal_(generator=generator).mul_(scale)
    squares = torch.nn.functional.pad(workspace.grad[:-METRICS].square(), (0, METRICS + -len(workspace.grad) % 64))
    workspace.squares.copy_(squares.view(-1, 64).sum(1))
    flat, moment1 = (torch.randn(shape.size, generator=generator) for _ in range(2))
    moment2 = torch.rand(shape.size, generator=generator)
    if done > 100:  # beside larger weights the step, small by then, would not show
        flat.zero_()
    elif not done:
        moment1, moment2 = torch.zeros(shape.size), torch.zeros(shape.size)
    rate, losses = torch.tensor(1e-3), torch.full((METRICS,), math.nan)
    return workspace, flat, moment1, moment2, torch.tensor(done), rate, max_grad_norm, 1e-5, losses


adam_step = twin(
    adam_step_torch, "adam_triton", on="flat", check=_check, example=_step, exact=True,
    close=of_largest(2e-6, on_gpu=1e-5), compared=lambda arguments, returned: (arguments[0].arrived, *arguments[1:]),
    cases=[
        {"shape": _SMALL}, {"shape": _SMALL, "done": 3.0}, {"shape": _SMALL, "done": 3.0, "scale": 1e-4},
        {"shape": _SMALL, "done": 999.0}, {"shape": _SMALL, "done": 1e6}, {"shape": _SHAPES[2], "done": 1.0},
    ],
    large=[{"shape": shape, "done": done, "max_grad_norm": most}
           for shape in _SHAPES for done in (0.0, 2.0) for most in (1e-3, 1e3)],
)  # fmt: skip
