"""The kernels beside the twins of `gpusim.kernels.adam`: one adds up the parts, one steps, by as many programs as fit.

Every program of the second adds up the same squares in the same order, so all of them clip by the same norm, to the bit.
"""

import triton
import triton.language as tl

from gpusim.kernels.adam import BETAS
from gpusim.kernels.launch import launch, programs
from gpusim.kernels.tune import sizes

BETA1 = tl.constexpr(BETAS[0])
BETA2 = tl.constexpr(BETAS[1])


def sum_rows_triton(parts, grad, squares) -> None:
    """As `gpusim.kernels.adam.sum_rows_torch`, on a CUDA device (or under Triton's interpreter)."""
    block = sizes("sum_rows", parts.device)
    grid = (programs(grad.numel(), block["COLUMNS"]),)
    launch(sum_parts_kernel, grid, parts, len(parts), grad.numel(), grad, squares, **block)


def adam_step_triton(workspace, flat, moment1, moment2, steps, learning_rate, max_grad_norm, eps, losses) -> None:
    """As `gpusim.kernels.adam.adam_step_torch`, on a CUDA device (or under Triton's interpreter)."""
    size, squares = flat.numel(), workspace.squares.numel()
    block = sizes("adam_step", flat.device)
    launch(
        adam_kernel, (programs(size, block["BLOCK"]),), workspace.grad, workspace.squares, squares, workspace.arrived, size,
        flat, moment1, moment2, steps, learning_rate, max_grad_norm, eps, losses,
        SQUARES=triton.next_power_of_2(squares), **block,
    )  # fmt: skip


@triton.jit
def sum_parts_kernel(parts, count, size, grad, squares, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
    """Columns of `[count, size]`, always added in the same order; of all but the last 8 also the sum of squares."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, count, ROWS):
        row = start + tl.arange(0, ROWS)
        at = row[:, None].to(tl.int64) * size + column[None, :]
        sums += tl.load(parts + at, mask=(row < count)[:, None] & (column < size)[None, :], other=0.0)
    total = tl.sum(sums, 0)
    tl.store(grad + column, total, mask=column < size)
    tl.store(squares + tl.program_id(0), tl.sum(tl.where(column < size - 8, total * total, 0.0), 0))


@triton.jit
def adam_kernel(
    grad, squares, count, arrived, size, flat, moment1, moment2, steps, learning_rate, max_grad_norm, eps, losses,
    SQUARES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    each = tl.arange(0, SQUARES)
    norm = tl.sqrt_rn(tl.sum(tl.load(squares + each, mask=each < count, other=0.0), 0))
    factor = tl.div_rn(max_grad_norm, norm + 1e-6)
    done = tl.load(steps) + 1.0
    rate = (tl.load(learning_rate).to(tl.float64) / (1.0 - _power(BETA1, done))).to(tl.float32)
    root2 = tl.sqrt_rn((1.0 - _power(BETA2, done)).to(tl.float32))
    _step(grad, flat, moment1, moment2, at, at < size, tl.where(factor > 1.0, 1.0, factor), rate, root2, eps)
    if tl.program_id(0) == 0:
        _losses(grad + size, norm, losses)
    tl.debug_barrier()  # all of this program have read `steps`
    if tl.atomic_add(arrived, 1, sem="acq_rel") == tl.num_programs(0) - 1:  # and so have all others
        tl.store(arrived, 0)
        tl.store(steps, done)


@triton.jit
def _power(base, exponent):
    """`base` to a whole number, in float64, by squaring."""
    bits = exponent.to(tl.int32)
    square = tl.full((), base, tl.float64)
    power = tl.full((), 1.0, tl.float64)
    for _ in tl.static_range(25):
        power = tl.where(bits & 1 == 1, power * square, power)
        square = square * square
        bits = bits >> 1
    return power


@triton.jit
def _step(grad, flat, moment1, moment2, at, inside, factor, rate, root2, eps):
    g = tl.load(grad + at, mask=inside, other=0.0) * factor
    m, v = tl.load(moment1 + at, mask=inside, other=0.0), tl.load(moment2 + at, mask=inside, other=0.0)
    m += (g - m) * (1.0 - BETA1)
    v = v * BETA2 + g * g * (1.0 - BETA2)
    tl.store(moment1 + at, m, mask=inside)
    tl.store(moment2 + at, v, mask=inside)
    moved = rate * tl.div_rn(m, tl.div_rn(tl.sqrt_rn(v), root2) + eps)
    tl.store(flat + at, tl.load(flat + at, mask=inside, other=0.0) - moved, mask=inside)


@triton.jit
def _losses(metrics, norm, losses):
    k = tl.arange(0, 8)
    found = tl.load(metrics + k)
    critic = tl.sum(tl.where(k == 6, found, 0.0), 0)
    tl.store(losses + k, tl.where(k == 0, found + critic, tl.where(k == 6, norm, tl.where(k == 7, 0.0, found))))
