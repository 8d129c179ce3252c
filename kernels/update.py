"""The gradient of PPO's loss over a minibatch, straight from the buffers of a rollout."""

from typing import NamedTuple

import torch
from torch import Tensor

from gpusim.kernels.distributions import Categorical, Gaussian
from gpusim.kernels.launch import runs_on
from gpusim.kernels.loss import Batch, Loss, ppo_loss
from gpusim.kernels.mlp import PRECISIONS, MlpShape, actor_torch, critic_torch, mlp_problem
from gpusim.kernels.moments import normalized

ROWS = 32  # of a block, where the layers stay in registers
NARROW = 64  # hidden layers that do
WIDE_ROWS = 64  # of a block of other networks
METRICS = 8


class Data(NamedTuple):
    """What a rollout of T steps of N environments left, contiguous; float32 but for a categorical `sample`, int32."""

    obs: Tensor  # [T, D, N]
    sample: Tensor  # [T, N], or [T, d, N] of a Gaussian policy
    log_prob: Tensor  # [T, N], of the sample when it was drawn
    value: Tensor  # [T, N], when it was drawn
    advantage: Tensor  # [T, N]; the value's target is advantage + value


class Workspace(NamedTuple):
    """What the kernels of one update write between themselves; made once."""

    partials: Tensor  # [G, P + 8], the gradient and the losses in parts, whose sum over G counts
    grad: Tensor  # [P + 8], that sum
    squares: Tensor  # of the gradient, in parts, one a program of the sum
    arrived: Tensor  # int32 [1], 0 between launches
    scratch: Tensor | None  # [G, 2, rows, units]: room for both hidden layers of a block of rows, where one is wide


def make_workspace(shape: MlpShape, size: int, device: torch.device | str, programs: int | None = None) -> Workspace:
    """For minibatches of up to `size` rows; `programs` for each of the two networks: by default one a multiprocessor.

    Where a hidden layer has more than 64 units, `scratch` has 4 bytes for each of the 64 rows of a block and each unit,
    these rounded up to a multiple of 64: 128 KB a program for 2x256 units, 35 MB on 132 multiprocessors.
    """
    device = torch.device(device)
    wide = max(shape.hidden1, shape.hidden2) > NARROW
    if programs is None:
        programs = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2
    rows = WIDE_ROWS if wide else ROWS
    programs = max(1, min(programs, -(-size // rows)))
    units = sum(-(-width // rows) * rows for width in (shape.hidden1, shape.hidden2))
    empty = lambda *shape: torch.empty(*shape, device=device)  # noqa: E731
    return Workspace(
        partials=empty(programs, shape.size + METRICS),
        grad=empty(shape.size + METRICS),
        squares=empty(-(-(shape.size + METRICS) // 64)),
        arrived=torch.zeros(1, dtype=torch.int32, device=device),
        scratch=empty(programs, 2, rows, units) if wide else None,
    )


def ppo_gradient(
    flat: Tensor,
    shape: MlpShape,
    data: Data,
    order: Tensor,
    start: int,
    size: int,
    loss: Loss,
    workspace: Workspace,
    moments: Tensor | None = None,
    normalizer: tuple[Tensor, Tensor] | None = None,
    precision: str = "tf32x3",
) -> None:
    """Fills `workspace.partials`: their sum over the first axis is the gradient of the minibatch's loss, then 8 numbers.

    These are the actor's share of the loss (policy − entropy_coef · entropy), the means of the policy loss, the value
    loss, the entropy, the KL estimate and the share of clipped samples (as `gpusim.kernels.loss.Losses`), the critic's
    share of the loss, and 0.

    Args:
        flat: the parameters `[P]`, float32, in the order `gpusim.kernels.mlp` describes.
        order: int32 `[T * N]`, a permutation of the flat indices t * N + n; the minibatch is order[start : start + size].
        moments: float32 `[2]`, mean and (biased) standard deviation of the minibatch's advantages, by which they are
            normalized; needed if `loss.normalize_advantage`.
        normalizer: of observations, float32 `[D]` each: the mean, and the reciprocal of the standard deviation.
        precision: one of `gpusim.kernels.mlp.PRECISIONS`, of the hidden layers' products; the twin takes all in float32.

    Raises:
        ValueError: shapes, dtypes or settings do not fit.
    """
    _check(flat, shape, data, order, start, size, loss, workspace, moments, normalizer, precision)
    arguments = (flat, shape, data, order, start, size, loss, workspace, moments, normalizer)
    if runs_on(flat.device):
        from gpusim.kernels.update_triton import ppo_gradient_triton

        ppo_gradient_triton(*arguments, precision)
    else:
        ppo_gradient_torch(*arguments)


def _check(flat, shape, data, order, start, size, loss, workspace, moments, normalizer, precision) -> None:
    if problem := mlp_problem(shape):
        raise ValueError(f"ppo_gradient cannot run this network: {problem}.")
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; it can be {', '.join(PRECISIONS)}.")
    steps, _, envs = data.obs.shape
    sample = (steps, shape.outputs, envs) if shape.gaussian else (steps, envs)
    wanted = ((steps, shape.inputs, envs), sample, (steps, envs), (steps, envs), (steps, envs))
    for name, tensor, want in zip(Data._fields, data, wanted, strict=True):
        dtype = torch.int32 if name == "sample" and not shape.gaussian else torch.float32
        if tensor.shape != want or tensor.dtype != dtype or not tensor.is_contiguous():
            raise ValueError(
                f"{name} must be contiguous, {dtype}, of shape {list(want)}, not {tensor.dtype} {list(tensor.shape)}."
            )
    if flat.shape != (shape.size,) or workspace.partials.shape[1:] != (shape.size + METRICS,):
        raise ValueError(f"this network has {shape.size} parameters, not {list(flat.shape)}; so must its workspace.")
    if order.dtype != torch.int32 or size < 1 or start < 0 or start + size > order.numel():
        raise ValueError(
            f"order must be int32 and have entries {start} to {start + size}, not {order.numel()} of them."
        )
    if loss.normalize_advantage and moments is None:
        raise ValueError("moments are needed where advantages are normalized.")


def ppo_gradient_torch(
    flat: Tensor,
    shape: MlpShape,
    data: Data,
    order: Tensor,
    start: int,
    size: int,
    loss: Loss,
    workspace: Workspace,
    moments: Tensor | None = None,
    normalizer: tuple[Tensor, Tensor] | None = None,
) -> None:
    """The specification, in the dtype of what it is given: autograd's gradient, in the first row of the partials."""
    partials = workspace.partials
    rows = order[start : start + size].long()
    with torch.enable_grad():
        parameters = flat.detach().requires_grad_()
        metrics = _losses(parameters, shape, _gathered(data, rows), loss, moments, normalizer)
        (gradient,) = torch.autograd.grad(metrics[0] + metrics[6], parameters)
    partials.zero_()
    partials[0, : shape.size] = gradient
    partials[0, shape.size :] = metrics.detach()


def _gathered(data: Data, rows: Tensor) -> Data:
    """The minibatch: obs `[B, D]`, sample `[B]` or `[B, d]`, the rest `[B]`."""
    wide = [x.movedim(1, -1).flatten(0, 1)[rows] if x.ndim == 3 else x.flatten()[rows] for x in data]
    return Data(*wide)


def _losses(flat, shape, batch: Data, loss: Loss, moments, normalizer) -> Tensor:
    features = batch.obs if normalizer is None else normalized(batch.obs, *normalizer)
    target = batch.advantage + batch.value
    samples = Batch(features, batch.sample, batch.log_prob, batch.value, batch.advantage, target)
    value = critic_torch(flat, shape, features)
    policy = _distribution(flat, shape, actor_torch(flat, shape, features))
    losses = ppo_loss(loss, samples, policy, value, moments)
    actor, critic = losses.policy - loss.entropy_coef * losses.entropy, loss.value_coef * losses.value
    return torch.stack([actor, *losses[1:], critic, torch.zeros_like(actor)])


def _distribution(flat, shape: MlpShape, out: Tensor) -> Categorical | Gaussian:
    return Gaussian(out, flat[: shape.outputs]) if shape.gaussian else Categorical(out)


def _policy(flat, shape: MlpShape, out: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of the samples and entropy, `[B]` each."""
    policy = _distribution(flat, shape, out)
    return policy.log_prob(sample), policy.entropy()
