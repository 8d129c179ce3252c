"""The kernels beside the twins of `gpusim.kernels.moments`."""

import torch
import triton
import triton.language as tl

from gpusim.kernels.launch import launch, programs
from gpusim.kernels.tune import sizes


def minibatch_moments_triton(advantage, order, minibatches, out=None):
    """As `gpusim.kernels.moments.minibatch_moments_torch`."""
    size = order.numel()
    if out is None:
        out = torch.empty(minibatches, 2, device=advantage.device)
    most = sizes("minibatch_moments", advantage.device)
    block = min(most["BLOCK"], triton.next_power_of_2(programs(size, minibatches)))
    launch(
        minibatch_moments_kernel, (minibatches,), advantage, order, size // minibatches, size % minibatches, out,
        BLOCK=block, num_warps=most["num_warps"],
    )  # fmt: skip
    return out


def update_moments_triton(mean, var, count, batch) -> None:
    """As `gpusim.kernels.moments.update_moments_torch`."""
    steps, features, envs = batch.shape
    rows = steps * envs
    most = sizes("update_moments", batch.device)
    block = min(most["BLOCK"], triton.next_power_of_2(rows))
    chunks = min(most["PROGRAMS"], programs(rows, block))
    parts = torch.empty(chunks, features, 2, dtype=torch.float64, device=batch.device)
    launch(
        moment_parts_kernel, (features, chunks), mean, batch, features, envs, rows, parts,
        BLOCK=block, num_warps=most["num_warps"],
    )  # fmt: skip
    launch(
        update_moments_kernel, (1,), mean, var, count, features, rows, parts, chunks,
        CHUNKS=triton.next_power_of_2(chunks), PD=triton.next_power_of_2(features),
    )  # fmt: skip


def discounted_returns_triton(reward, done, running, gamma, out=None):
    """As `gpusim.kernels.moments.discounted_returns_torch`."""
    if out is None:
        out = torch.empty_like(reward)
    steps, envs = reward.shape
    block = sizes("discounted_returns", reward.device)
    grid = (programs(envs, block["BLOCK"]),)
    launch(discounted_returns_kernel, grid, reward, done, running, out, gamma, steps, envs, **block)
    return out


@triton.jit
def minibatch_moments_kernel(advantage, order, size, longer, out, BLOCK: tl.constexpr):
    """Program m has minibatch m; the first `longer` have one row more. Summed in float64."""
    m = tl.program_id(0)
    first = m * size + tl.minimum(m, longer)
    size += (m < longer).to(tl.int32)
    shift = tl.load(advantage + tl.load(order + first))
    sums = tl.zeros((BLOCK,), tl.float64)
    squares = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, size, BLOCK):
        row = start + tl.arange(0, BLOCK)
        at = tl.load(order + first + row, mask=row < size, other=0)
        x = tl.where(row < size, tl.load(advantage + at, mask=row < size, other=0.0) - shift, 0.0).to(tl.float64)
        sums += x
        squares += x * x
    mean = tl.sum(sums, 0) / size
    var = tl.sum(squares, 0) / size - mean * mean
    var = tl.where(var < 0.0, 0.0, var)
    tl.store(out + 2 * m, (mean + shift).to(tl.float32))
    tl.store(out + 2 * m + 1, tl.sqrt_rn(var.to(tl.float32)))


@triton.jit
def moment_parts_kernel(mean, batch, features, envs, rows, parts, BLOCK: tl.constexpr):
    """Program (k, c) adds up entry k's deviations from the mean, and their squares, over every C-th block of rows."""
    k = tl.program_id(0).to(tl.int64)
    centre = tl.load(mean + k)
    sums = tl.zeros((BLOCK,), tl.float64)
    squares = tl.zeros((BLOCK,), tl.float64)
    for block in range(tl.program_id(1), tl.cdiv(rows, BLOCK), tl.num_programs(1)):
        row = block * BLOCK + tl.arange(0, BLOCK)
        at = (row // envs).to(tl.int64) * (features * envs) + k * envs + row % envs
        x = tl.load(batch + at, mask=row < rows, other=float("inf"))
        x = tl.where(tl.abs(x) < float("inf"), x.to(tl.float64) - centre, 0.0)
        sums += x
        squares += x * x
    out = parts + (tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)) * 2
    tl.store(out, tl.sum(sums, 0))
    tl.store(out + 1, tl.sum(squares, 0))


@triton.jit
def update_moments_kernel(mean, var, count, features, rows, parts, chunks, CHUNKS: tl.constexpr, PD: tl.constexpr):
    k, chunk = tl.arange(0, PD), tl.arange(0, CHUNKS)[:, None]
    inside = k < features
    at = parts + (chunk * features + k[None, :]) * 2
    keep = (chunk < chunks) & inside[None, :]
    old, n = tl.load(count), tl.cast(rows, tl.float64)
    total = old + n
    share = n / total
    delta = tl.sum(tl.load(at, mask=keep, other=0.0), 0) / n
    spread = tl.sum(tl.load(at + 1, mask=keep, other=0.0), 0) - delta * delta * n
    spread += tl.load(var + k, mask=inside, other=0.0) * old + delta * delta * old * share
    tl.store(mean + k, tl.load(mean + k, mask=inside, other=0.0) + delta * share, mask=inside)
    tl.store(var + k, spread * (share / n), mask=inside)
    tl.debug_barrier()
    tl.store(count, total)


@triton.jit
def discounted_returns_kernel(reward, done, running, out, gamma, steps, envs, BLOCK: tl.constexpr):
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = column < envs
    total = tl.load(running + column, mask=inside, other=0.0)
    for t in range(steps):
        at = tl.cast(t, tl.int64) * envs + column
        r = tl.load(reward + at, mask=inside, other=0.0)
        returns = total * gamma + tl.where(tl.abs(r) < float("inf"), r, 0.0)
        tl.store(out + at, returns, mask=inside)
        total = tl.where(tl.load(done + at, mask=inside, other=0) != 0, 0.0, returns)
    tl.store(running + column, total, mask=inside)
