"""The vocabulary in which environments are written: every word means the same on torch tensors and in a Triton kernel.

A function made of these words, of arithmetic and of comparisons is written as if for one environment. On torch
tensors each value is a lane, `[N]`, one entry per environment; `gpusim.kernels.lower` swaps each word for its Triton
twin of the same name (the `@triton.jit` functions in `gpusim.kernels.lang_triton`).

What the two worlds disagree about is pinned down here:

* `floor_divide` and `remainder` round towards minus infinity, for ints and floats, whatever the signs;
* `minimum`, `maximum`, `clip` and `where` take Python numbers in any position but the first, and never swallow a NaN; two
  numbers in `where` are float32, one beside a lane takes the lane's dtype (or float32, where a float is beside an int);
* conditions are bools and are joined by `&`, `|`, `~`, never by `and`, `or`, `not`, `if`, `while`;
* reductions run over the last axis, the entities of one environment.
"""

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from gpusim.kernels.philox import philox

Lane: TypeAlias = Any
"""One value per environment: a tensor `[N]` in torch, a block in a Triton kernel, a Python number where constant."""

STREAM_INIT, STREAM_STEP, STREAM_ACTION, STREAM_PARAMS, STREAM_POLICY = range(5)
"""What a draw is for. Streams of one environment never overlap."""


class Rng(NamedTuple):
    """Where in the random stream a function stands. Every draw made from it is a pure function of these five."""

    seed: Lane  # int64 in [0, 2**63)
    env: Lane  # index of the environment
    episode: Lane  # how often this environment has been reset before
    step: Lane  # steps since that reset
    stream: Lane  # one of STREAM_*


def words(rng: Rng, block) -> tuple[Lane, Lane, Lane, Lane]:
    """Four random 32-bit words; `block` (0 to 255, known in advance) tells apart the draws made from one `rng`."""
    step = rng.step.to(torch.int64) if isinstance(rng.step, Tensor) else rng.step
    return philox(rng.seed, rng.env, rng.episode, step, rng.stream * 256 + block)


def uniform4(rng: Rng, block, low, high) -> tuple[Lane, Lane, Lane, Lane]:
    """Four independent float32 draws from [low, high)."""
    drawn = words(rng, block)
    if torch.compiler.is_compiling():
        a, b, c, d = drawn
        return _scale(a, low, high), _scale(b, low, high), _scale(c, low, high), _scale(d, low, high)
    return tuple(_scale(torch.stack(drawn), low, high))  # type: ignore[return-value]


def uniform(rng: Rng, block, low, high) -> Lane:
    """One float32 draw from [low, high)."""
    return _scale(words(rng, block)[0], low, high)


def _scale(word, low, high):
    return (word >> 8).to(torch.float32) * ((high - low) * 2.0**-24) + low


def where(condition, a, b) -> Lane:
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = torch.full((), a, dtype=torch.float32, device=condition.device)
    return torch.where(condition, a, b)


def sin(x) -> Lane:
    return torch.sin(x)


def cos(x) -> Lane:
    return torch.cos(x)


def exp(x) -> Lane:
    return torch.exp(x)


def log(x) -> Lane:
    return torch.log(x)


def sqrt(x) -> Lane:
    return torch.sqrt(x)


def floor(x) -> Lane:
    return torch.floor(x)


def ceil(x) -> Lane:
    return torch.ceil(x)


def absolute(x) -> Lane:
    return torch.abs(x)


def minimum(x, y) -> Lane:
    return torch.minimum(x, y) if isinstance(y, Tensor) else torch.clamp(x, max=y)


def maximum(x, y) -> Lane:
    return torch.maximum(x, y) if isinstance(y, Tensor) else torch.clamp(x, min=y)


def clip(x, low, high) -> Lane:
    return minimum(maximum(x, low), high)


def floor_divide(x, y) -> Lane:
    return torch.floor_divide(x, y)


def remainder(x, y) -> Lane:
    return torch.remainder(x, y)


def zeros_like(x) -> Lane:
    return torch.zeros_like(x)


def ones_like(x) -> Lane:
    return torch.ones_like(x)


def false_like(x) -> Lane:
    """A condition that never holds."""
    return torch.zeros_like(x, dtype=torch.bool)


def to_float(x) -> Lane:
    """float32."""
    return x.to(torch.float32)


def to_int(x) -> Lane:
    """int32, towards zero."""
    return x.to(torch.int32)


def any_(x) -> Lane:
    return x.any(-1)


def all_(x) -> Lane:
    return x.all(-1)


def sum_(x) -> Lane:
    return x.sum(-1, dtype=torch.int32 if x.dtype == torch.bool else x.dtype)


def min_(x) -> Lane:
    return x.amin(-1)


def max_(x) -> Lane:
    return x.amax(-1)


def cumsum(x) -> Lane:
    return x.cumsum(-1, dtype=torch.int32 if x.dtype == torch.bool else x.dtype)
