"""The kernels beside the twin of `gpusim.kernels.finite`."""

import torch
import triton
import triton.language as tl

from gpusim.kernels.finite import NONE
from gpusim.kernels.launch import launch
from gpusim.kernels.launch import programs as programs_for
from gpusim.kernels.tune import sizes


def note_unfinite_triton(noted, obs, next_obs, reward, length, done, episode, value=None) -> None:
    """As `gpusim.kernels.finite.note_unfinite_torch`: one launch that looks, and one of a single program that writes."""
    steps, envs = reward.shape
    first = torch.full((), NONE, dtype=torch.int64, device=reward.device)
    looks = [_laid_out(x, reward) for x in (obs, next_obs, reward)]
    block = sizes("look", reward.device)
    programs = [programs_for(size, block["BLOCK"]) for _, size, _, _ in looks]
    flat = [x for look in looks for x in look]
    launch(look_kernel, (sum(programs),), first, value, *flat, *programs[:2], envs, **block)
    block = sizes("note", reward.device)
    size = min(block["BLOCK"], triton.next_power_of_2(steps))
    launch(
        note_kernel, (1,), noted, first, length, done, episode, steps, envs, NONE=NONE, **block | {"BLOCK": size}
    )  # fmt: skip


def _laid_out(x, reward):
    """The tensor as it lies in memory, its entries (none where they are whole numbers), how many a step has, and how many
    lie between two environments of a step; 1 where those are neighbours."""
    if not x.is_floating_point():
        return reward, 0, 1, 1
    size, each = x.numel(), x[0].numel()
    if x.is_contiguous():
        return x, size, each, each // x.shape[1]
    lanes = x.movedim(1, -1)
    if not lanes.is_contiguous():
        return x.contiguous(), size, each, each // x.shape[1]
    return lanes, size, each, 1


@triton.jit
def look_kernel(
    first, value, obs, obs_size, obs_step, obs_apart, next_obs, next_size, next_step, next_apart, reward, size, step, apart,
    programs, next_programs, envs, BLOCK: tl.constexpr,
):  # fmt: skip
    """The least place of an entry that is not finite, in the order (step, environment, quantity)."""
    program = tl.program_id(0)
    if program < programs:
        look(first, None, obs, obs_size, obs_step, obs_apart, program, envs, 0, BLOCK)
    elif program < programs + next_programs:
        look(first, value, next_obs, next_size, next_step, next_apart, program - programs, envs, 1, BLOCK)
    else:
        look(first, None, reward, size, step, apart, program - programs - next_programs, envs, 2, BLOCK)


@triton.jit
def look(first, value, x, size, each, apart, program, envs, quantity, BLOCK: tl.constexpr):
    at = tl.cast(program, tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inf = float("inf")
    bad = (tl.abs(tl.load(x + at, mask=at < size, other=0.0)) < inf) == 0
    if value is not None:
        bad = bad & (tl.abs(tl.load(value + at, mask=at < size, other=0.0)) < inf)
    if tl.max(bad.to(tl.int32), 0) != 0:
        if apart == 1:
            env = at % envs
        else:
            env = at % each // apart
        place = (at // each * envs + env) * 3 + quantity
        tl.atomic_min(first, tl.min(tl.where(bad, place, 4611686018427387904), 0))


@triton.jit
def note_kernel(noted, first, length, done, episode, steps, envs, NONE: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.load(first)
    if place < NONE:
        if tl.load(noted) == 0:
            env, step = place // 3 % envs, place // (3 * envs)
            ended = tl.zeros((BLOCK,), tl.int64)
            for start in range(0, steps, BLOCK):
                row = start + tl.arange(0, BLOCK)
                later = (row >= step) & (row < steps)
                ended += tl.load(done + row.to(tl.int64) * envs + env, mask=later, other=0) != 0
            tl.store(noted, 1)
            tl.store(noted + 1, place % 3)
            tl.store(noted + 2, step)
            tl.store(noted + 3, env)
            tl.store(noted + 4, tl.load(episode + env) - tl.sum(ended, 0))
            tl.store(noted + 5, tl.load(length + step * envs + env).to(tl.int64))
