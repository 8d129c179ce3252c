"""The kernels beside `gpusim.kernels.replay`: one launch to insert, one to sample uniformly, three to sample by priority."""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpusim.kernels import replay
from gpusim.kernels.launch import launch, programs
from gpusim.kernels.replay import Form, Priorities, Sample, Transitions
from gpusim.kernels.tune import sizes

SMALLEST, UNIT, HEAVIEST = map(tl.constexpr, (replay.SMALLEST, replay.UNIT, replay.HEAVIEST))


def insert_triton(
    ring: Transitions, steps: Transitions, count: Tensor, priorities: Priorities | None = None, late: int = 0
) -> None:
    """As `insert_torch`."""
    size, rows, envs = len(ring.reward), steps.reward.numel(), steps.reward.shape[1]
    bits = steps.obs.dtype == torch.bool and ring.obs.dtype == torch.uint8
    obs, next_obs = _cells_last(steps.obs), _cells_last(steps.next_obs)
    if obs.stride() != next_obs.stride():
        obs, next_obs = obs.contiguous(), next_obs.contiguous()
    cells, width = obs.shape[2], ring.obs[0].numel()
    steps = Transitions(obs, next_obs, *(x.contiguous() for x in steps[2:]))
    grid, tile = _tiles(rows, width, count.device, 8 if bits else 1)
    launch(
        insert_kernel, grid, ring, steps, *obs.stride(), count, priorities, rows, envs, size, late,
        CELLS=cells, BITS=bits, NUMBERS=ring.action[0].numel(), **tile,
    )  # fmt: skip
    count.add_(rows)


def sample_uniform_triton(
    u: Tensor, ring: Transitions, form: Form, count: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    """As `sample_uniform_torch`."""
    out = _empty(len(u), ring, form)
    _gather(u, ring, form, count, out, num_envs, n_step, gamma)
    return out


def sample_prioritized_triton(
    u: Tensor, ring: Transitions, form: Form, priority: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    """As `sample_prioritized_torch`."""
    out = _empty(len(u), ring, form)
    draw_prioritized_triton(u, priority, out.place, out.probability)
    _gather(None, ring, form, None, out, num_envs, n_step, gamma)
    return out


def draw_prioritized_triton(u: Tensor, priority: Tensor, place: Tensor, probability: Tensor) -> None:
    """As `draw_prioritized`, into `place` and `probability`: sums of some √C blocks, then a program for each draw."""
    size = len(priority)
    across = max(16, triton.next_power_of_2(math.isqrt(size)))
    most = sizes("draw", u.device)
    lanes = min(most["LANES"], across)
    block = {"CHUNKS": across // lanes, "LANES": lanes, "num_warps": most["num_warps"]}
    sums = torch.empty(programs(size, across), dtype=torch.int64, device=u.device)
    launch(weights_kernel, (len(sums),), priority, sums, size, **block)
    launch(draw_kernel, (len(u),), u, priority, sums, place, probability, size, len(sums), **block)


def update_priorities_triton(priorities: Priorities, place: Tensor, error: Tensor, alpha: float) -> None:
    """As `update_priorities_torch`."""
    size = len(place)
    block = sizes("update_priorities", place.device)
    launch(
        update_kernel, (programs(size, block["BLOCK"]),), priorities, place, error.contiguous(), alpha, size, **block
    )


def _cells_last(obs: Tensor) -> Tensor:
    """`[T, N, cells]`, by a copy only where strides cannot say it."""
    return obs.reshape(*obs.shape[:2], -1)


def _tiles(rows: int, width: int, device: torch.device, each: int = 1) -> tuple[tuple[int, int], dict[str, Any]]:
    """The grid over `rows` of `width` entries, each of which stands for `each` cells, and the size of a program's tile."""
    most = sizes("replay", device)
    wide = min(most["WIDE"], triton.next_power_of_2(width))
    high = max(1, min(most["ROWS"], most["TILE"] // (wide * each)))
    return (programs(rows, high), programs(width, wide)), {"ROWS": high, "WIDE": wide, "num_warps": most["num_warps"]}


def _empty(batch: int, ring: Transitions, form: Form) -> Sample:
    def empty(dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.empty(batch, *shape, dtype=dtype, device=ring.reward.device)

    whole, number = torch.int64, torch.float32
    obs, next_obs = empty(form.dtype, *form.shape), empty(form.dtype, *form.shape)
    action = empty(number if ring.action.is_floating_point() else whole, *ring.action.shape[1:])
    return Sample(empty(whole), obs, action, empty(number), empty(number), next_obs, empty(number))


def _gather(
    u: Tensor | None, ring: Transitions, form: Form, count: Tensor | None, out: Sample, envs: int, n_step: int,
    gamma: float,
) -> None:  # fmt: skip
    """All but place and probability, which without `u` are there already."""
    batch = len(out.place)
    grid, tile = _tiles(batch, form.cells, out.place.device)
    powers = tuple(gamma ** (i + 1) for i in range(n_step))
    arguments: tuple[Any, ...] = (u, count, ring, out, powers, batch, len(ring.reward), envs)
    # as the twin rounds: each product by itself
    launch(
        sample_kernel, grid, *arguments, N_STEP=n_step, CELLS=form.cells, BITS=form.bits,
        NUMBERS=ring.action[0].numel(), fp_fusion=False, **tile,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- insert


@triton.jit
def insert_kernel(
    ring, steps, by_step, by_env, by_cell, count, priorities, rows, envs, size, late,
    CELLS: tl.constexpr, BITS: tl.constexpr, NUMBERS: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = row < rows
    put = tl.load(count)
    place = (put + row) % size
    start = (row // envs).to(tl.int64) * by_step + (row % envs).to(tl.int64) * by_env
    write(ring.obs, steps.obs, place, start, part, by_cell, inside, CELLS, BITS)
    write(ring.next_obs, steps.next_obs, place, start, part, by_cell, inside, CELLS, BITS)
    if tl.program_id(1) == 0:
        for number in range(NUMBERS):
            given = tl.load(steps.action + row.to(tl.int64) * NUMBERS + number, mask=inside, other=0)
            tl.store(ring.action + place * NUMBERS + number, given, mask=inside)
        tl.store(ring.reward + place, tl.load(steps.reward + row, mask=inside, other=0.0), mask=inside)
        tl.store(ring.terminated + place, tl.load(steps.terminated + row, mask=inside, other=0) != 0, mask=inside)
        tl.store(ring.done + place, tl.load(steps.done + row, mask=inside, other=0) != 0, mask=inside)
        if priorities is not None:
            tl.store(priorities.value + place, tl.zeros((ROWS,), tl.float32), mask=inside & (row >= rows - late))
            complete = put - late + row
            value = tl.where(complete >= 0, tl.load(priorities.greatest), 0.0)
            tl.store(priorities.value + (complete + size) % size, value, mask=inside)


@triton.jit
def write(ring, steps, place, start, part, by_cell, inside, CELLS: tl.constexpr, BITS: tl.constexpr):
    """Observations into the ring, in `part` of their entries there."""
    if BITS:
        BYTES: tl.constexpr = (CELLS + 7) // 8
        bit = tl.arange(0, 8)
        cell = part[:, None] * 8 + bit[None, :]
        keep = inside[:, None, None] & (cell < CELLS)[None, :, :]
        at = start[:, None, None] + (cell.to(tl.int64) * by_cell)[None, :, :]
        x = tl.load(steps + at, mask=keep, other=0) != 0
        byte = tl.sum(x.to(tl.int32) << bit[None, None, :], 2).to(tl.uint8)
        keep = inside[:, None] & (part < BYTES)[None, :]
        tl.store(ring + place[:, None] * BYTES + part[None, :], byte, mask=keep)
    else:
        keep = inside[:, None] & (part < CELLS)[None, :]
        at = start[:, None] + (part.to(tl.int64) * by_cell)[None, :]
        tl.store(ring + place[:, None] * CELLS + part[None, :], tl.load(steps + at, mask=keep, other=0), mask=keep)


# ---------------------------------------------------------------------------------------------------------- sample


@triton.jit
def sample_kernel(
    u, count, ring, out, powers, batch, size, envs, N_STEP: tl.constexpr, CELLS: tl.constexpr, BITS: tl.constexpr,
    NUMBERS: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside, first_part = row < batch, tl.program_id(1) == 0
    if u is None:
        place = tl.load(out.place + row, mask=inside, other=0)
    else:
        put = tl.load(count)
        held = tl.minimum(put, size)
        among = held - tl.cast(envs, tl.int64) * (N_STEP - 1)
        oldest = put - held
        place = (oldest + (tl.load(u + row, mask=inside, other=0.0) * among.to(tl.float64)).to(tl.int64)) % size
        if first_part:
            tl.store(out.place + row, place, mask=inside)
            probability = tl.div_rn(tl.full((ROWS,), 1.0, tl.float32), tl.zeros((ROWS,), tl.float32) + among)
            tl.store(out.probability + row, probability, mask=inside)
    returns = tl.load(ring.reward + place, mask=inside, other=0.0)
    going = tl.load(ring.done + place, mask=inside, other=0) == 0
    discount, last, following = tl.zeros((ROWS,), tl.float32) + powers[0], place, place
    for i in tl.static_range(1, N_STEP):
        following = (following + envs) % size
        gain = tl.load(ring.reward + following, mask=inside, other=0.0) * powers[i - 1]
        returns += gain * going.to(tl.float32)
        last = tl.where(going, following, last)
        discount = tl.where(going, powers[i], discount)
        going = going & (tl.load(ring.done + following, mask=inside, other=0) == 0)
    read(ring.obs, out.obs, place, row, part, inside, CELLS, BITS)
    read(ring.next_obs, out.next_obs, last, row, part, inside, CELLS, BITS)
    if first_part:
        ended = tl.load(ring.terminated + last, mask=inside, other=0) != 0
        for number in range(NUMBERS):
            action = tl.load(ring.action + place * NUMBERS + number, mask=inside, other=0)
            tl.store(out.action + row.to(tl.int64) * NUMBERS + number, action, mask=inside)
        tl.store(out.returns + row, returns, mask=inside)
        tl.store(out.discount + row, tl.where(ended, 0.0, discount), mask=inside)


@triton.jit
def read(ring, out, place, row, part, inside, CELLS: tl.constexpr, BITS: tl.constexpr):
    """Observations out of the ring, `part` of their cells."""
    keep = inside[:, None] & (part < CELLS)[None, :]
    at = row.to(tl.int64)[:, None] * CELLS + part[None, :]
    if BITS:
        BYTES: tl.constexpr = (CELLS + 7) // 8
        byte = tl.load(ring + place[:, None] * BYTES + (part >> 3)[None, :], mask=keep, other=0).to(tl.int32)
        tl.store(out + at, ((byte >> (part & 7)[None, :]) & 1) != 0, mask=keep)
    else:
        tl.store(out + at, tl.load(ring + place[:, None] * CELLS + part[None, :], mask=keep, other=0), mask=keep)


# ------------------------------------------------------------------------------------------------------ priorities


@triton.jit
def weight(priority):
    """As `replay._weight`."""
    scaled = tl.minimum(tl.ceil(priority * UNIT), HEAVIEST)
    return tl.where(priority > 0.0, scaled, 0.0).to(tl.int64)


@triton.jit
def weights_kernel(priority, sums, size, CHUNKS: tl.constexpr, LANES: tl.constexpr):
    """Program b adds up the weights of block b."""
    start = tl.program_id(0).to(tl.int64) * (CHUNKS * LANES)
    total = tl.zeros((LANES,), tl.int64)
    for chunk in range(CHUNKS):
        at = start + chunk * LANES + tl.arange(0, LANES)
        total += weight(tl.load(priority + at, mask=at < size, other=0.0))
    tl.store(sums + tl.program_id(0), tl.sum(total, 0))


@triton.jit
def draw_kernel(
    u, priority, sums, place, probability, size, blocks, CHUNKS: tl.constexpr, LANES: tl.constexpr
):  # fmt: skip
    """Program i finds the block into which u[i] times the sum of all falls, then the entry in it."""
    i = tl.program_id(0)
    lane = tl.arange(0, LANES)
    total = tl.zeros((LANES,), tl.int64)
    for start in range(0, blocks, LANES):
        total += tl.load(sums + start + lane, mask=start + lane < blocks, other=0)
    whole = tl.sum(total, 0)
    wanted = tl.minimum((tl.load(u + i) * whole.to(tl.float64)).to(tl.int64), whole - 1)
    before, block = tl.zeros((), tl.int64), tl.zeros((), tl.int64)
    reached = tl.zeros((), tl.int64)
    for start in range(0, blocks, LANES):
        each = tl.load(sums + start + lane, mask=start + lane < blocks, other=0)
        passed = (reached + tl.cumsum(each, 0) <= wanted) & (start + lane < blocks)
        block += tl.sum(passed.to(tl.int64), 0)
        before += tl.sum(tl.where(passed, each, 0), 0)
        reached += tl.sum(each, 0)
    first = block * (CHUNKS * LANES)
    entry, reached = first, before
    for chunk in range(CHUNKS):
        at = first + chunk * LANES + lane
        each = weight(tl.load(priority + at, mask=at < size, other=0.0))
        entry += tl.sum((reached + tl.cumsum(each, 0) <= wanted).to(tl.int64), 0)
        reached += tl.sum(each, 0)
    share = weight(tl.load(priority + entry)).to(tl.float64) / whole.to(tl.float64)
    tl.store(place + i, entry)
    tl.store(probability + i, share.to(tl.float32))


@triton.jit
def update_kernel(priorities, place, error, alpha, size, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = row < size
    priority = tl.exp2(tl.log2(tl.abs(tl.load(error + row, mask=inside, other=0.0)) + SMALLEST) * alpha)
    tl.store(priorities.value + tl.load(place + row, mask=inside, other=0), priority, mask=inside)
    tl.atomic_max(priorities.greatest, tl.max(tl.where(inside, priority, 0.0), 0))
