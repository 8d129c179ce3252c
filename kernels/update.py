"""The gradient of PPO's loss over a minibatch, straight from the buffers of a rollout."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpusim.kernels.distributions import Categorical, Gaussian
from gpusim.kernels.loss import Batch, Loss, ppo_loss
from gpusim.kernels.mlp import PRECISIONS, MlpShape, actor_torch, critic_torch, mlp_problem
from gpusim.kernels.moments import normalized
from gpusim.kernels.tune import sizes
from gpusim.kernels.twin import of_largest, twin, within

NARROW = 64  # units of hidden layers that a kernel keeps in registers
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
    rows = sizes("ppo_gradient, wide" if wide else "ppo_gradient, tf32x3", device)["BLOCK"]
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
    precision: str = "tf32x3",
) -> None:
    """Fills `workspace.partials`: their sum over the first axis is the gradient of the minibatch's loss, then 8 numbers.

    Here it is autograd's, in the dtype of what it is given, and all in the first row.

    The numbers are the actor's share of the loss (policy − entropy_coef · entropy), the means of the policy loss, the value
    loss, the entropy, the KL estimate and the share of clipped samples (as `gpusim.kernels.loss.Losses`), the critic's
    share of the loss, and 0.

    Args:
        flat: the parameters `[P]`, float32, in the order `gpusim.kernels.mlp` describes.
        order: int32 `[T * N]`, a permutation of the flat indices t * N + n; the minibatch is order[start : start + size].
        moments: float32 `[2]`, mean and (biased) standard deviation of the minibatch's advantages, by which they are
            normalized; needed if `loss.normalize_advantage`.
        normalizer: of observations, float32 `[D]` each: the mean, and the reciprocal of the standard deviation.
        precision: one of `gpusim.kernels.mlp.PRECISIONS`, of the kernel's products of hidden layers.

    Raises:
        ValueError: shapes, dtypes or settings do not fit.
    """
    partials = workspace.partials
    rows = order[start : start + size].long()
    with torch.enable_grad():
        parameters = flat.detach().requires_grad_()
        metrics = _losses(parameters, shape, _gathered(data, rows), loss, moments, normalizer)
        (gradient,) = torch.autograd.grad(metrics[0] + metrics[6], parameters)
    partials.zero_()
    partials[0, : shape.size] = gradient
    partials[0, shape.size :] = metrics.detach()


def _check(
    flat, shape, data, order, start, size, loss, workspace, moments=None, normalizer=None, precision="tf32x3"
) -> None:
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


# --------------------------------------------------------------------------------------------------------- examples


_SHAPE = MlpShape(4, 64, 64, 2, "tanh", False)


def _example(
    shape: MlpShape = _SHAPE, precision: str = "tf32x3", steps: int = 5, envs: int = 60,
    rows: int = 100, start: int = 7, programs: int = 2, room: int = 0, normalize_obs: bool = False,
    clip_value: bool = False, normalize_advantage: bool = True, entropy_coef: float = 0.01, strangers: bool = False,
) -> tuple:  # fmt: skip
    """A minibatch of `rows`: ratios and values on either side of their clips, a log_std beyond its range.

    Args:
        room: the workspace is for so many rows, if those are more; all of it is NaN.
        strangers: the rollout is of another policy, and no row so near a clip that a rounded product crosses it.
    """
    generator = torch.Generator().manual_seed(7 if strangers else 0)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator)

    flat = normal(shape.size) * (0.3 if strangers else 0.15)
    if shape.gaussian and shape.outputs > 1:
        flat[0] = 2.5
    obs = normal(steps, shape.inputs, envs)
    if shape.gaussian:
        sample = normal(steps, shape.outputs, envs)
    else:
        sample = torch.randint(0, shape.outputs, (steps, envs), generator=generator).int()
    normalizer = None
    if normalize_obs:
        normalizer = normal(shape.inputs) * 0.3, torch.rand(shape.inputs, generator=generator) + 0.5
    data, off = Data(obs, sample, *normal(3, steps, envs)), [normal(steps * envs), normal(steps * envs)]
    order = torch.randperm(steps * envs, generator=generator).int()
    rows = min(rows, steps * envs - start)
    chosen = order[start : start + rows].long()
    batch = _gathered(data, chosen)
    features = batch.obs if normalizer is None else normalized(batch.obs, *normalizer)
    if strangers:
        data.log_prob.sub_(1.0)
    else:
        log_prob, _ = _policy(flat, shape, actor_torch(flat, shape, features), batch.sample)
        data.log_prob.view(-1)[chosen] = log_prob + 0.2 * off[0][chosen]
        data.value.view(-1)[chosen] = critic_torch(flat, shape, features) + 0.3 * off[1][chosen]
    moments = torch.stack([batch.advantage.mean(), batch.advantage.std(unbiased=False)])
    loss = Loss(0.2, 0.5, entropy_coef, clip_value, normalize_advantage)
    workspace = make_workspace(shape, max(rows, room), "cpu", programs)
    for tensor in (workspace.partials, workspace.grad, workspace.squares, workspace.scratch):
        if tensor is not None:
            tensor.fill_(math.nan)
    return flat, shape, data, order, start, rows, loss, workspace, moments, normalizer, precision


_NEAR = {"tf32x3": (2e-6, 2e-5), "tf32": (2e-6, 8e-3), "bf16": (2e-2, 2e-2)}  # in the interpreter, and on a GPU


def _near(ours: Any, theirs: Any, sizes: Any, gpu: bool) -> None:
    """On a GPU within a share of the largest entry; in the interpreter, which multiplies tf32 in float32, of the norm."""
    precision = sizes.get("precision", "tf32x3")
    share, got, want = _NEAR[precision][gpu], ours[0][:-METRICS], theirs[0][:-METRICS]
    of_largest(share)(ours, theirs, sizes, gpu)
    off = float((got - want).norm() / want.norm())
    assert precision != "bf16" or off > 1e-5, "products of bf16 are not as near as this"
    if not gpu:
        assert off <= share, off
        of_largest(share)([got], [want], sizes, gpu)
        if precision != "bf16":
            within(1e-5, 1e-6)([ours[0][-METRICS:]], [theirs[0][-METRICS:]], sizes, gpu)


def _wide(inputs: int, hidden1: int, hidden2: int, outputs: int = 2, activation: str = "tanh") -> MlpShape:
    return MlpShape(inputs, hidden1, hidden2, outputs, activation, False)


_RELU, _GAUSSIAN = _SHAPE._replace(activation="relu"), MlpShape(4, 64, 64, 1, "tanh", True)
_SHAPES = (
    _SHAPE,
    _wide(6, 32, 48, 3, "relu"),
    MlpShape(3, 64, 64, 1, "tanh", True),
    MlpShape(11, 100, 17, 4, "tanh", True),
    _wide(8, 128, 128, 5),
    _wide(4, 256, 256, activation="relu"),
)

ppo_gradient = twin(
    ppo_gradient_torch, "update_triton", on="flat", check=_check, example=_example, exact=True, close=_near,
    compared=lambda arguments, returned: [arguments[7].partials.double().sum(0)],
    cases=[
        {},
        {"shape": _RELU, "rows": 1},
        {"shape": _GAUSSIAN, "rows": 37, "envs": 1, "steps": 50},
        {"shape": _GAUSSIAN._replace(outputs=3, activation="relu"), "normalize_obs": True, "clip_value": True},
        {"normalize_obs": True, "clip_value": True, "rows": 257, "start": 0},
        {"normalize_advantage": False, "entropy_coef": 0.1},
        {"shape": _wide(1, 16, 16), "rows": 33, "room": 200, "programs": 3},
        {"shape": _wide(17, 32, 64, 5)},
        {"shape": _wide(4, 50, 33), "steps": 1, "envs": 300},
        {"shape": _wide(4, 65, 65), "rows": 130, "programs": 1},
        {"shape": _wide(40, 256, 256), "rows": 33},
        {"shape": _wide(4, 128, 64, activation="relu"), "rows": 1, "clip_value": True, "room": 200, "programs": 3},
        {"shape": _GAUSSIAN._replace(hidden2=128), "envs": 1, "steps": 150, "rows": 129, "start": 0},
        {"shape": MlpShape(4, 100, 256, 3, "tanh", True), "normalize_obs": True, "clip_value": True, "rows": 257},
        {"shape": _wide(31, 256, 16, 5, "relu"), "entropy_coef": 0.1},
        {"shape": _wide(64, 20, 192), "normalize_advantage": False, "programs": 3, "rows": 290, "start": 3},
        {"precision": "bf16"},
        {"precision": "bf16", "shape": _wide(4, 80, 16)},
    ],
    large=[
        {"shape": shape, "precision": precision, "rows": rows, "steps": 8, "envs": 50, "start": 3, "programs": 132,
         "normalize_obs": True, "clip_value": True, "strangers": True}
        for shape in _SHAPES for precision in PRECISIONS for rows in (1, 130, 350)
    ],
)  # fmt: skip
