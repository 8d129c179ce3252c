"""The kernel beside `adam_step_torch`: every program adds up its columns of the parts; the last to arrive does the rest."""

import triton
import triton.language as tl

from gpusim.kernels.adam import BETAS
from gpusim.kernels.launch import launch

BETA1 = tl.constexpr(BETAS[0])
BETA2 = tl.constexpr(BETAS[1])
COLUMNS = 64  # of the parts, in one program
ROWS = 64  # of the parts at a time
BLOCK = 4096  # parameters at a time, in the last program


def adam_step_triton(workspace, flat, moment1, moment2, steps, learning_rate, max_grad_norm, eps, losses) -> None:
    """As `gpusim.kernels.adam.adam_step_torch`, on a CUDA device (or under Triton's interpreter)."""
    size = flat.numel()
    programs = triton.cdiv(size, COLUMNS)
    launch(
        adam_kernel, (programs,), workspace.partials, len(workspace.partials), size, workspace.grad, workspace.squares,
        workspace.arrived, flat, moment1, moment2, steps, learning_rate, max_grad_norm, eps, losses,
        COLUMNS=COLUMNS, ROWS=ROWS, BLOCK=min(BLOCK, triton.next_power_of_2(size)),
        PROGRAMS=triton.next_power_of_2(programs), num_warps=8,
    )  # fmt: skip


@triton.jit
def adam_kernel(
    partials, parts, size, grad, squares, arrived, flat, moment1, moment2, steps, learning_rate, max_grad_norm, eps,
    losses, COLUMNS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = _column_sums(partials, column, column < size, parts, size, COLUMNS, ROWS)
    tl.store(grad + column, total, mask=column < size)
    tl.store(squares + tl.program_id(0), tl.sum(total * total, 0))
    tl.debug_barrier()
    before = tl.atomic_add(arrived, 1, sem="acq_rel")
    if before == tl.num_programs(0) - 1:
        tl.store(arrived, 0)
        program = tl.arange(0, PROGRAMS)
        each = tl.load(squares + program, mask=program < tl.num_programs(0), other=0.0, cache_modifier=".cg")
        norm = tl.sqrt_rn(tl.sum(each, 0))
        factor = tl.div_rn(max_grad_norm, norm + 1e-6)
        factor = tl.where(factor > 1.0, 1.0, factor)
        done = tl.load(steps) + 1.0
        step = (tl.load(learning_rate).to(tl.float64) / (1.0 - _power(BETA1, done))).to(tl.float32)
        root2 = tl.sqrt_rn((1.0 - _power(BETA2, done)).to(tl.float32))
        for start in range(0, size, BLOCK):
            at = start + tl.arange(0, BLOCK)
            _step(grad, flat, moment1, moment2, at, at < size, factor, step, root2, eps)
        _losses(partials, parts, size, norm, losses, ROWS)
        tl.debug_barrier()
        tl.store(steps, done)


@triton.jit
def _column_sums(partials, column, inside, parts, size, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
    """Of `[G, P + 8]`, always added in the same order."""
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, parts, ROWS):
        row = start + tl.arange(0, ROWS)
        at = row[:, None].to(tl.int64) * (size + 8) + column[None, :]
        sums += tl.load(partials + at, mask=(row < parts)[:, None] & inside[None, :], other=0.0)
    return tl.sum(sums, 0)


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
def _step(grad, flat, moment1, moment2, at, inside, factor, step, root2, eps):
    g = tl.load(grad + at, mask=inside, other=0.0, cache_modifier=".cg") * factor
    m, v = tl.load(moment1 + at, mask=inside, other=0.0), tl.load(moment2 + at, mask=inside, other=0.0)
    m += (g - m) * (1.0 - BETA1)
    v = v * BETA2 + g * g * (1.0 - BETA2)
    tl.store(moment1 + at, m, mask=inside)
    tl.store(moment2 + at, v, mask=inside)
    moved = step * tl.div_rn(m, tl.div_rn(tl.sqrt_rn(v), root2) + eps)
    tl.store(flat + at, tl.load(flat + at, mask=inside, other=0.0) - moved, mask=inside)


@triton.jit
def _losses(partials, parts, size, norm, losses, ROWS: tl.constexpr):
    k = tl.arange(0, 8)
    metrics = _column_sums(partials + size, k, k < 8, parts, size, 8, ROWS)
    critic = tl.sum(tl.where(k == 6, metrics, 0.0), 0)
    metrics = tl.where(k == 0, metrics + critic, tl.where(k == 6, norm, tl.where(k == 7, 0.0, metrics)))
    tl.store(losses + k, metrics)
