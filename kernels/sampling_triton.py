"""The kernels beside `gpusim.kernels.sampling`, and the same as functions of lanes for use inside other kernels."""

# mypy: disable-error-code="assignment"

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpusim.kernels.distributions import HALF_LOG_TAU as HOST_HALF_LOG_TAU
from gpusim.kernels.distributions import LOG_STD_RANGE
from gpusim.kernels.lang import STREAM_POLICY, Rng
from gpusim.kernels.lang_triton import words
from gpusim.kernels.launch import launch, programs
from gpusim.kernels.sampling import ActionSample
from gpusim.kernels.tune import sizes

POLICY = tl.constexpr(STREAM_POLICY)
LOWEST, HIGHEST = map(tl.constexpr, LOG_STD_RANGE)
TWO_PI = tl.constexpr(2 * math.pi)
HALF_LOG_TWO_PI = tl.constexpr(HOST_HALF_LOG_TAU)


def categorical_triton(logits: Tensor, seed: Tensor, index: Tensor, clock: Tensor) -> ActionSample:
    """As `categorical_torch`."""
    n, actions = logits.shape
    out = ActionSample(torch.empty(n, dtype=torch.int32, device=logits.device), *logits.new_empty(2, n))
    block = sizes("sampling", logits.device)
    grid = (programs(n, block["BLOCK"]),)
    given = logits.contiguous(), seed, index, clock, out, n
    launch(categorical_kernel, grid, *given, ACTIONS=actions, EACH=seed.ndim == 1, **block)
    return out


def gaussian_triton(mean: Tensor, log_std: Tensor, seed: Tensor, index: Tensor, clock: Tensor) -> ActionSample:
    """As `gaussian_torch`."""
    n, entries = mean.shape
    mean = mean.contiguous()
    out = ActionSample(torch.empty_like(mean), *mean.new_empty(2, n))
    block = sizes("sampling", mean.device)
    grid = (programs(n, block["BLOCK"]),)
    given = mean, log_std, seed, index, clock, out, n
    launch(gaussian_kernel, grid, *given, ENTRIES=entries, EACH=seed.ndim == 1, **block)
    return out


@triton.jit
def categorical_kernel(
    logits, seed, index, clock, out, n, ACTIONS: tl.constexpr, EACH: tl.constexpr, BLOCK: tl.constexpr
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    lanes = ()
    for k in tl.static_range(ACTIONS):
        lanes = lanes + (tl.load(logits + at.to(tl.int64) * ACTIONS + k, mask=inside, other=0.0),)
    env = tl.load(index + at, mask=inside, other=0)
    sample, log_prob = draw_categorical(lanes, key_of(seed, at, inside, EACH), env, tl.load(clock))
    tl.store(out.sample + at, sample, mask=inside)
    tl.store(out.log_prob + at, log_prob, mask=inside)
    tl.store(out.entropy + at, categorical_entropy(lanes), mask=inside)


@triton.jit
def gaussian_kernel(
    mean, log_std, seed, index, clock, out, n, ENTRIES: tl.constexpr, EACH: tl.constexpr, BLOCK: tl.constexpr
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    lanes = ()
    for k in tl.static_range(ENTRIES):
        lanes = lanes + (tl.load(mean + at.to(tl.int64) * ENTRIES + k, mask=inside, other=0.0),)
    env = tl.load(index + at, mask=inside, other=0)
    sample, log_prob = draw_gaussian(lanes, log_std, key_of(seed, at, inside, EACH), env, tl.load(clock))
    entropy = tl.zeros((BLOCK,), tl.float32)
    for k in tl.static_range(ENTRIES):
        tl.store(out.sample + at.to(tl.int64) * ENTRIES + k, sample[k], mask=inside)
        entropy += bounded(log_std, k) + (HALF_LOG_TWO_PI + 0.5)
    tl.store(out.log_prob + at, log_prob, mask=inside)
    tl.store(out.entropy + at, entropy, mask=inside)


@triton.jit
def key_of(seed, at, inside, EACH: tl.constexpr):
    """One for all, or each its own."""
    if EACH:
        return tl.load(seed + at, mask=inside, other=0)
    else:
        return tl.load(seed)


@triton.jit
def draw_categorical(logits, seed, env, clock):
    """An action and its log-probability, of a tuple of lanes."""
    random = words(Rng(seed, env, clock & 0xFFFFFFFF, clock >> 32, POLICY), 0)
    top = highest(logits)
    total = tl.zeros_like(top)
    for k in tl.static_range(len(logits)):
        total += tl.exp(logits[k] - top)
    threshold = (random[0] >> 8).to(tl.float32) * (2.0**-24) * total
    reached, sample, chosen = tl.zeros_like(top), tl.zeros_like(top).to(tl.int32), logits[0] - top
    for k in tl.static_range(len(logits) - 1):
        reached += tl.exp(logits[k] - top)
        beyond = threshold >= reached
        sample += beyond.to(tl.int32)
        chosen = tl.where(beyond, logits[k + 1] - top, chosen)
    return sample, chosen - tl.log(total)


@triton.jit
def highest(logits):
    top = logits[0]
    for k in tl.static_range(1, len(logits)):
        top = tl.maximum(top, logits[k])
    return top


@triton.jit
def categorical_entropy(logits):
    top = highest(logits)
    total, mean = tl.zeros_like(top), tl.zeros_like(top)
    for k in tl.static_range(len(logits)):
        weight = tl.exp(logits[k] - top)
        total += weight
        mean += weight * (logits[k] - top)
    return tl.log(total) - mean / total


@triton.jit
def bounded(log_std, k):
    return tl.minimum(tl.maximum(tl.load(log_std + k), LOWEST), HIGHEST)


@triton.jit
def draw_gaussian(mean, log_std, seed, env, clock):
    """A tuple of lanes and its log-probability, of a tuple of lanes; `log_std` is a pointer."""
    sample, log_prob = (), tl.zeros_like(mean[0])
    for k in tl.static_range(len(mean)):
        noise = normal(words(Rng(seed, env, clock & 0xFFFFFFFF, clock >> 32, POLICY), k // 2), k % 2)
        spread = bounded(log_std, k)
        sample = sample + (mean[k] + noise * tl.exp(spread),)
        log_prob += -0.5 * noise * noise - spread - HALF_LOG_TWO_PI
    return sample, log_prob


@triton.jit
def normal(random, PAIR: tl.constexpr):
    radius = ((random[2 * PAIR] >> 8) + 1).to(tl.float32) * (2.0**-24)
    turn = (random[2 * PAIR + 1] >> 8).to(tl.float32) * (2.0**-24)
    return tl.sqrt(-2.0 * tl.log(radius)) * tl.cos(turn * TWO_PI)
