"""Statistics that learners normalize by: of a minibatch's advantages, of observations, of discounted returns."""

import torch
from torch import Tensor

from gpusim.kernels.launch import runs_on

LIMIT = 10.0  # to which normalized observations are clipped


def _by_kernel(x: Tensor) -> bool:
    return runs_on(x.device)


def _require(tensor: Tensor, name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if tensor.dtype != dtype or tensor.shape != shape or not tensor.is_contiguous():
        raise ValueError(f"{name} must be contiguous {dtype} {list(shape)}, not {tensor.dtype} {list(tensor.shape)}.")


# ---------------------------------------------------------------------------------------------------- minibatches


def minibatch_moments(advantage: Tensor, order: Tensor, minibatches: int, out: Tensor | None = None) -> Tensor:
    """Mean and (biased) standard deviation of the advantages in each minibatch, `[minibatches, 2]`, float32.

    Args:
        advantage: float32, of any shape: M numbers.
        order: int32 `[M]`, a permutation of the flat indices, cut into minibatches as `torch.tensor_split` would.

    Raises:
        ValueError: shapes or dtypes do not fit, or there are more minibatches than advantages.
    """
    size = advantage.numel()
    _require(order, "order", torch.int32, (size,))
    _require(advantage, "advantage", torch.float32, tuple(advantage.shape))
    if not 1 <= minibatches <= size:
        raise ValueError(f"{size} advantages cannot be cut into {minibatches} minibatches.")
    if out is None:
        out = torch.empty(minibatches, 2, device=advantage.device)
    _require(out, "out", torch.float32, (minibatches, 2))
    if _by_kernel(advantage):
        from gpusim.kernels.moments_triton import minibatch_moments_triton

        return minibatch_moments_triton(advantage, order, minibatches, out)
    return out.copy_(minibatch_moments_torch(advantage, order, minibatches))


def minibatch_moments_torch(advantage: Tensor, order: Tensor, minibatches: int) -> Tensor:
    """The specification."""
    parts = advantage.flatten()[order.long()].tensor_split(minibatches)
    return torch.stack([torch.stack([part.mean(), part.std(unbiased=False)]) for part in parts])


# -------------------------------------------------------------------------------------------- running statistics


def update_moments(mean: Tensor, var: Tensor, count: Tensor, batch: Tensor) -> None:
    """Adds a batch to the mean and (biased) variance of all that was seen, in place (Chan et al., 1979).

    An entry that is not finite counts as the mean so far, so that it spoils neither.

    Args:
        mean, var: float64 `[D]`.
        count: float64, 0-dim: how many there were.
        batch: float32 `[T, D, N]`, T * N rows.

    Raises:
        ValueError: shapes or dtypes do not fit.
    """
    if batch.ndim != 3 or batch.numel() == 0:
        raise ValueError(f"batch must be [T, D, N], none of them 0, not {list(batch.shape)}.")
    _require(batch, "batch", torch.float32, tuple(batch.shape))
    _require(mean, "mean", torch.float64, (batch.shape[1],))
    _require(var, "var", torch.float64, (batch.shape[1],))
    _require(count, "count", torch.float64, ())
    if _by_kernel(batch):
        from gpusim.kernels.moments_triton import update_moments_triton

        update_moments_triton(mean, var, count, batch)
    else:
        update_moments_torch(mean, var, count, batch)


@torch.no_grad()
def update_moments_torch(mean: Tensor, var: Tensor, count: Tensor, batch: Tensor) -> None:
    """The specification."""
    add_rows(mean, var, count, batch.movedim(1, 2).reshape(-1, batch.shape[1]))


@torch.no_grad()
def add_rows(mean: Tensor, var: Tensor, count: Tensor, rows: Tensor) -> None:
    """As `update_moments`, of rows `[R, *shape]` of any shape, that of mean and var."""
    rows = rows.double()
    rows = torch.where(rows.isfinite(), rows, mean)
    n, new_mean, new_var = len(rows), rows.mean(0), rows.var(0, unbiased=False)
    for old, new in zip((mean, var, count), joined(mean, var, count, new_mean, new_var * n, n), strict=True):
        old.copy_(new)


def joined(
    mean: Tensor, var: Tensor, count: Tensor, new_mean: Tensor, squares: Tensor, n: Tensor | int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, (biased) variance and count of both of two sets of rows (Chan et al., 1979).

    Args:
        mean, var, count: of the one.
        new_mean, squares, n: of the other; `squares` is the sum of its squared deviations from its mean.
    """
    total, delta = count + n, new_mean - mean
    spread = var * count + squares + delta * delta * count * n / total
    return mean + delta * n / total, spread / total, total


def normalized(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """`x` less the mean, times the scale, clipped to ±10."""
    return ((x - mean) * scale).clamp(-LIMIT, LIMIT)


# ------------------------------------------------------------------------------------------------------- returns


def discounted_returns(
    reward: Tensor, done: Tensor, running: Tensor, gamma: float, out: Tensor | None = None
) -> Tensor:
    """What every environment has gathered since its episode began, discounted by age: `[T, N]`, float32.

    R_t = γ R_{t−1} + r_t, and R starts again at 0 after a step that is done; a reward that is not finite counts as 0.

    Args:
        reward: float32 `[T, N]`.
        done: bool `[T, N]`.
        running: float32 `[N]`, γ's multiplicand at the first step; left as the next call wants it.

    Raises:
        ValueError: shapes or dtypes do not fit.
    """
    if reward.ndim != 2:
        raise ValueError(f"reward must be [T, N], not {list(reward.shape)}.")
    shape = tuple(reward.shape)
    _require(reward, "reward", torch.float32, shape)
    _require(done, "done", torch.bool, shape)
    _require(running, "running", torch.float32, shape[1:])
    if out is None:
        out = torch.empty_like(reward)
    _require(out, "out", torch.float32, shape)
    if _by_kernel(reward):
        from gpusim.kernels.moments_triton import discounted_returns_triton

        return discounted_returns_triton(reward, done, running, gamma, out)
    return out.copy_(discounted_returns_torch(reward, done, running, gamma))


@torch.no_grad()
def discounted_returns_torch(reward: Tensor, done: Tensor, running: Tensor, gamma: float) -> Tensor:
    """The specification."""
    returns = []
    for r, d in zip(reward.nan_to_num(0.0, 0.0, 0.0), done, strict=True):
        returns.append(running * gamma + r)
        running.copy_(returns[-1].masked_fill(d, 0.0))
    return torch.stack(returns)
