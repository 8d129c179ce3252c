"""Statistics that learners normalize by: of a minibatch's advantages, of observations, of discounted returns."""

import math

import torch
from torch import Tensor

from gpusim.kernels.twin import twin, within

LIMIT = 10.0  # to which normalized observations are clipped


def _require(tensor: Tensor, name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if tensor.dtype != dtype or tensor.shape != shape or not tensor.is_contiguous():
        raise ValueError(f"{name} must be contiguous {dtype} {list(shape)}, not {tensor.dtype} {list(tensor.shape)}.")


# ---------------------------------------------------------------------------------------------------- minibatches


def minibatch_moments_torch(advantage: Tensor, order: Tensor, minibatches: int, out: Tensor | None = None) -> Tensor:
    """Mean and (biased) standard deviation of the advantages in each minibatch, `[minibatches, 2]`, float32.

    Args:
        advantage: float32, of any shape: M numbers.
        order: int32 `[M]`, a permutation of the flat indices, cut into minibatches as `torch.tensor_split` would.
        out: where to write them.

    Raises:
        ValueError: shapes or dtypes do not fit, or there are more minibatches than advantages.
    """
    parts = advantage.flatten()[order.long()].tensor_split(minibatches)
    found = torch.stack([torch.stack([part.mean(), part.std(unbiased=False)]) for part in parts])
    return found if out is None else out.copy_(found)


def _check_minibatches(advantage: Tensor, order: Tensor, minibatches: int, out: Tensor | None = None) -> None:
    size = advantage.numel()
    _require(order, "order", torch.int32, (size,))
    _require(advantage, "advantage", torch.float32, tuple(advantage.shape))
    if not 1 <= minibatches <= size:
        raise ValueError(f"{size} advantages cannot be cut into {minibatches} minibatches.")
    if out is not None:
        _require(out, "out", torch.float32, (minibatches, 2))


def _minibatches(steps: int, envs: int, minibatches: int = 16) -> tuple:
    generator = torch.Generator().manual_seed(0)
    advantage = 100 + torch.randn(steps, envs, generator=generator)
    order = torch.randperm(steps * envs, generator=generator).int()
    return advantage, order, minibatches, torch.full((minibatches, 2), math.nan)


minibatch_moments = twin(
    minibatch_moments_torch, "moments_triton", on="advantage", check=_check_minibatches, example=_minibatches,
    exact=True, close=within(1e-6, 1e-6, on_gpu=(1.3e-6, 1e-5)),
    cases=[
        {"steps": t, "envs": n, "minibatches": m} for t, n, m in ((1, 1, 1), (1, 7, 3), (7, 11, 4), (50, 301, 3))
    ],
    large=[{"steps": 1, "envs": n, "minibatches": 7} for n in (1000, 70_001)],
)  # fmt: skip


# -------------------------------------------------------------------------------------------- running statistics


def update_moments_torch(mean: Tensor, var: Tensor, count: Tensor, batch: Tensor) -> None:
    """Adds a batch to the mean and (biased) variance of all that was seen, in place (Chan et al., 1979).

    An entry that is not finite counts as the mean so far, so that it spoils neither.

    Args:
        mean, var: float64 `[D]`.
        count: float64, 0-dim: how many there were.
        batch: float32 `[T, D, N]`, T * N rows.

    Raises:
        ValueError: shapes or dtypes do not fit.
    """
    add_rows(mean, var, count, batch.movedim(1, 2).reshape(-1, batch.shape[1]))


def _check_batch(mean: Tensor, var: Tensor, count: Tensor, batch: Tensor) -> None:
    if batch.ndim != 3 or batch.numel() == 0:
        raise ValueError(f"batch must be [T, D, N], none of them 0, not {list(batch.shape)}.")
    _require(batch, "batch", torch.float32, tuple(batch.shape))
    _require(mean, "mean", torch.float64, (batch.shape[1],))
    _require(var, "var", torch.float64, (batch.shape[1],))
    _require(count, "count", torch.float64, ())


@torch.no_grad()
def add_rows(mean: Tensor, var: Tensor, count: Tensor, rows: Tensor) -> None:
    """As `update_moments`, of rows `[R, *shape]` of any shape, that of mean and var."""
    rows = rows.double()
    rows = torch.where(rows.isfinite(), rows, mean)
    n, new_mean, new_var = len(rows), rows.mean(0), rows.var(0, unbiased=False)
    for old, new in zip((mean, var, count), joined(mean, var, count, new_mean, new_var * n, n), strict=True):
        old.copy_(new)


def _batch(steps: int, inputs: int, envs: int, count: float = 0.0, spoiled: bool = False) -> tuple:
    """`count` rows of mean 49 were seen before; of those that are `spoiled`, two entries are not finite."""
    batch = 50 + torch.randn(steps, inputs, envs, generator=torch.Generator().manual_seed(0))
    if spoiled:
        batch[2, 1, 7], batch[4, 0, 3] = math.nan, math.inf
    mean, number = torch.full((inputs,), 49.0 if count else 0.0).double(), torch.tensor(count).double()
    return mean, torch.ones(inputs).double(), number, batch


update_moments = twin(
    update_moments_torch, "moments_triton", on="batch", check=_check_batch, example=_batch,
    close=within(1e-10, 1e-12, on_gpu=(1e-9, 1e-9)),
    cases=[
        *(
            {"steps": t, "inputs": d, "envs": n, "count": count}
            for t, d, n in ((1, 1, 1), (3, 5, 7), (1, 2, 300), (37, 3, 301))
            for count in (0.0, 400.0)
        ),
        {"steps": 6, "inputs": 3, "envs": 50, "count": 1.0, "spoiled": True},
    ],
    large=[{"steps": t, "inputs": d, "envs": n, "count": 7.0} for t, d, n in ((1, 1, 2), (16, 5, 333), (64, 4, 4099))],
)  # fmt: skip


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


@torch.no_grad()
def discounted_returns_torch(
    reward: Tensor, done: Tensor, running: Tensor, gamma: float, out: Tensor | None = None
) -> Tensor:
    """What every environment has gathered since its episode began, discounted by age: `[T, N]`, float32.

    R_t = γ R_{t−1} + r_t, and R starts again at 0 after a step that is done; a reward that is not finite counts as 0.

    Args:
        reward: float32 `[T, N]`.
        done: bool `[T, N]`.
        running: float32 `[N]`, γ's multiplicand at the first step; left as the next call wants it.
        out: where to write them.

    Raises:
        ValueError: shapes or dtypes do not fit.
    """
    returns = []
    for r, d in zip(reward.nan_to_num(0.0, 0.0, 0.0), done, strict=True):
        returns.append(running * gamma + r)
        running.copy_(returns[-1].masked_fill(d, 0.0))
    found = torch.stack(returns)
    return found if out is None else out.copy_(found)


def _check_rewards(reward: Tensor, done: Tensor, running: Tensor, gamma: float, out: Tensor | None = None) -> None:
    if reward.ndim != 2:
        raise ValueError(f"reward must be [T, N], not {list(reward.shape)}.")
    shape = tuple(reward.shape)
    _require(reward, "reward", torch.float32, shape)
    _require(done, "done", torch.bool, shape)
    _require(running, "running", torch.float32, shape[1:])
    if out is not None:
        _require(out, "out", torch.float32, shape)


def _rewards(steps: int, envs: int, spoiled: bool = False) -> tuple:
    generator = torch.Generator().manual_seed(0)
    reward, done = torch.randn(steps, envs, generator=generator), torch.rand(steps, envs, generator=generator) < 0.3
    if spoiled:
        reward[1, 0], reward[2, 1], done[2] = math.nan, math.inf, True
    return reward, done, torch.randn(envs, generator=generator), 0.97, torch.full((steps, envs), math.nan)


discounted_returns = twin(
    discounted_returns_torch, "moments_triton", on="reward", check=_check_rewards, example=_rewards,
    close=within(1.3e-6, 1e-5),
    cases=[
        *({"steps": t, "envs": n} for t, n in ((1, 1), (7, 3), (1, 300), (9, 130), (20, 333))),
        {"steps": 4, "envs": 3, "spoiled": True},
    ],
    large=[{"steps": 64, "envs": 4099}],
)  # fmt: skip
