"""The vocabulary in which environments are written: every word means the same on torch tensors and in a Triton kernel.

A function made of these words, of arithmetic and of comparisons is written as if for one environment. On torch tensors
each value is a lane, `[N]`, one entry per environment; so it is on NumPy arrays, whose operations cost a third of torch's
on a CPU. For a kernel, `gpusim.kernels.lower` swaps each word for its Triton twin of the same name, the `@triton.jit`
functions in `gpusim.kernels.lang_triton`.

What the two worlds disagree about is pinned down here:

* `floor_divide` and `remainder` round towards minus infinity, for ints and floats, whatever the signs;
* `minimum`, `maximum`, `clip` and `where` take Python numbers in any position but the first, and never swallow a NaN;
  a number beside a lane takes the lane's dtype (float32, where a float is beside an int), two in `where` are float32;
* conditions are bools and are joined by `&`, `|`, `~`, never by `and`, `or`, `not`, `if`, `while`;
* reductions run over the last axis, the entities of one environment;
* an index beyond either end of a table is that end's.

Entities (cars, aliens, dice) are fields of shape `[N, K]` beside lanes `[N]`, slot k of each its own; K is a power of two. A
lane meets them as `x[:, None]`.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gpusim.kernels.philox import philox

__all__ = [
    "Lane", "Rng", "absolute", "all_", "any_", "atan2", "below", "ceil", "clip", "cos", "cumsum", "entity", "exp",
    "false_like", "floor", "floor_divide", "log", "max_", "maximum", "min_", "minimum", "ones_like", "or_", "remainder",
    "rows", "sign", "sin", "slot_uniform", "slot_words", "slots", "sqrt", "sum_", "take", "tanh", "to_float", "to_int",
    "uniform", "uniform4", "unit", "where", "words", "zeros_like",
]  # fmt: skip

Lane: TypeAlias = Any
"""One value per environment: a tensor `[N]` in torch, a block in a Triton kernel, a Python number where constant."""

Table: TypeAlias = Any
"""Numbers that all environments share, `[T]` or `[T, K]`: a tensor in torch, an array in NumPy, a pointer in a kernel."""

STREAM_INIT, STREAM_STEP, STREAM_ACTION, STREAM_PARAMS, STREAM_POLICY = range(5)
"""What a draw is for. Streams of one environment never overlap: each has `BLOCKS` blocks of four words."""
BLOCKS = 256


class Rng(NamedTuple):
    """Where in the random stream a function stands. Every draw made from it is a pure function of these five."""

    seed: Lane  # int64 in [0, 2**63)
    env: Lane  # index of the environment
    episode: Lane  # how often this environment has been reset before
    step: Lane  # steps since that reset
    stream: Lane  # one of STREAM_*


class DrawnRng(NamedTuple):
    """An `Rng` whose words have been drawn already."""

    seed: Lane
    env: Lane
    episode: Lane
    step: Lane
    stream: Lane
    words: Any  # by block: the four words as int32 of the same bits


class TriedTable(NamedTuple):
    """A table of which no index may lie outside, as long as an environment is being tried."""

    values: Table

    def __getitem__(self, key):
        raise TypeError("a table is read by take(table, row)")


def words(rng: Rng | DrawnRng, block) -> tuple[Lane, Lane, Lane, Lane]:
    """Four random 32-bit words; `block` (0 to 255, known in advance) tells apart the draws made from one `rng`.

    Raises:
        ValueError: there is no such block.
    """
    if not isinstance(block, int | np.integer) or isinstance(block, bool) or not 0 <= block < BLOCKS:
        raise ValueError(
            f"a block is a whole number from 0 to {BLOCKS - 1}, known in advance, not {_named(block)}; "
            f"{BLOCKS} blocks are the words of {4 * BLOCKS} entities"
        )
    if isinstance(rng, DrawnRng):
        return tuple(_cast(word, "int64") & 0xFFFFFFFF for word in rng.words[block])
    step = rng.step if isinstance(rng.step, int) else _cast(rng.step, "int64")
    return philox(rng.seed, rng.env, rng.episode, step, rng.stream * BLOCKS + block)


def uniform4(rng: Rng, block, low, high) -> tuple[Lane, Lane, Lane, Lane]:
    """Four independent float32 draws from [low, high)."""
    a, b, c, d = words(rng, block)
    return _scale(a, low, high), _scale(b, low, high), _scale(c, low, high), _scale(d, low, high)


def uniform(rng: Rng, block, low, high) -> Lane:
    """One float32 draw from [low, high)."""
    return _scale(words(rng, block)[0], low, high)


def slot_words(rng: Rng, block, count) -> Lane:
    """A random 32-bit word for each of `count` entities, `[N, count]`; `count` is a power of two, known in advance.

    They are the words of the blocks from `block` on, in their order, four entities to a block; the last is 255 at most.

    Raises:
        ValueError: there is no such block, or `count` is no power of two.
    """
    entities(count)
    drawn = [word for i in range(-(-count // 4)) for word in words(rng, block + i)][:count]
    if isinstance(drawn[0], np.ndarray):
        return np.stack(drawn, -1)
    return torch.stack(drawn, -1)


def slot_uniform(rng: Rng, block, count, low, high) -> Lane:
    """A float32 draw from [low, high) for each of `count` entities, `[N, count]`, of their `slot_words`."""
    return _scale(slot_words(rng, block, count), low, high)


def entities(count) -> None:
    """Raises ValueError where there cannot be so many."""
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1 or count & (count - 1):
        raise ValueError(f"the number of entities must be a power of two, not {_named(count)}; some may be idle")


def unit(word) -> Lane:
    """float32 in [0, 1), made of one of `words`."""
    return _scale(word, 0.0, 1.0)


def below(word, count) -> Lane:
    """int32 in [0, count), made of one of `words`; `count` is a whole number or int lane below 2**31."""
    return to_int((word * count) >> 32)


def _named(block) -> str:
    return "a lane" if is_lane(block) else repr(block)


def _scale(word, low, high):
    return to_float(word >> 8) * ((high - low) * 2.0**-24) + low


def _of(x) -> Any:
    """The library of a lane."""
    return np if isinstance(x, np.ndarray) else torch


def _cast(x, dtype: str) -> Lane:
    return x.astype(dtype) if isinstance(x, np.ndarray) else x.to(getattr(torch, dtype))


LANES = (np.ndarray, Tensor)  # isinstance is quickest on the first, which is on the hot path


def is_lane(x) -> bool:
    """Whether `x` has an entry for each environment; otherwise it is a number."""
    return isinstance(x, LANES)


def where(condition, a, b) -> Lane:
    """`a` where `condition` holds, else `b`."""
    if isinstance(condition, np.ndarray):
        chosen = np.where(condition, a if is_lane(a) or is_lane(b) else np.float32(a), b)
        return chosen.astype(np.float32) if chosen.dtype == np.float64 else chosen
    if not is_lane(a) and not is_lane(b):
        a = torch.full((), a, dtype=torch.float32, device=condition.device)
    return torch.where(condition, a, b)


def sin(x) -> Lane:
    """Sine of an angle [rad]."""
    return _of(x).sin(x)


def cos(x) -> Lane:
    """Cosine of an angle [rad]."""
    return _of(x).cos(x)


def atan2(y, x) -> Lane:
    """The angle [rad] of the point (x, y), both floats, from -π to π; of signed zeros and infinities as in C: of ±0 beside a
    negative number or -0.0 it is ±π."""
    if isinstance(y, np.ndarray):
        return np.arctan2(y, x)
    return torch.atan2(y, x if isinstance(x, Tensor) else torch.full_like(y, x))


def tanh(x) -> Lane:
    """Hyperbolic tangent."""
    return _of(x).tanh(x)


def exp(x) -> Lane:
    """eˣ."""
    return _of(x).exp(x)


def log(x) -> Lane:
    """Natural logarithm."""
    return _of(x).log(x)


def sqrt(x) -> Lane:
    """Square root."""
    return _of(x).sqrt(x)


def floor(x) -> Lane:
    """The greatest whole number that is not above `x`, as a float."""
    return _of(x).floor(x)


def ceil(x) -> Lane:
    """The least whole number that is not below `x`, as a float."""
    return _of(x).ceil(x)


def absolute(x) -> Lane:
    """`x` without its sign."""
    return abs(x)


def sign(x) -> Lane:
    """-1, 0 or 1, of the dtype of `x`; 0 of either zero, NaN of NaN."""
    if isinstance(x, np.ndarray):
        return np.sign(x)
    return torch.where(x != x, x, torch.sign(x)) if x.is_floating_point() else torch.sign(x)


def minimum(x, y) -> Lane:
    """The lesser of two; NaN where either is."""
    return torch.clamp(x, max=y) if isinstance(x, Tensor) and not isinstance(y, Tensor) else _of(x).minimum(x, y)


def maximum(x, y) -> Lane:
    """The greater of two; NaN where either is."""
    return torch.clamp(x, min=y) if isinstance(x, Tensor) and not isinstance(y, Tensor) else _of(x).maximum(x, y)


def clip(x, low, high) -> Lane:
    """`x`, brought to the nearest value between `low` and `high`."""
    return minimum(maximum(x, low), high)


def floor_divide(x, y) -> Lane:
    """x / y rounded towards minus infinity, of ints an int: Python's `//`."""
    return _of(x).floor_divide(x, y)


def remainder(x, y) -> Lane:
    """What `floor_divide` leaves, with the sign of `y`: Python's `%`."""
    return _of(x).remainder(x, y)


def zeros_like(x) -> Lane:
    """0 of the shape and dtype of `x`."""
    return _of(x).zeros_like(x)


def ones_like(x) -> Lane:
    """1 of the shape and dtype of `x`."""
    return _of(x).ones_like(x)


def false_like(x) -> Lane:
    """A condition that never holds."""
    return np.zeros(x.shape, bool) if isinstance(x, np.ndarray) else torch.zeros_like(x, dtype=torch.bool)


def slots(x, count) -> Lane:
    """0 to `count - 1` for each entry: of a lane `[N]` int32 `[N, count]`; `count` is a power of two.

    Raises:
        ValueError: `count` is none.
    """
    entities(count)
    if isinstance(x, np.ndarray):
        return np.zeros((*x.shape, 1), np.int32) + np.arange(count, dtype=np.int32)
    numbers = torch.arange(count, dtype=torch.int32, device=x.device)
    return torch.zeros_like(x, dtype=torch.int32)[..., None] + numbers


def to_float(x) -> Lane:
    """float32."""
    return _cast(x, "float32")


def to_int(x) -> Lane:
    """int32, towards zero."""
    return _cast(x, "int32")


def take(table: Table, row, column=0) -> Lane:
    """The entry of a table in that row (and column, where it has some) for each environment, of the table's dtype.

    Args:
        table: one of `gpusim.Env.tables`, as found in `params`.
        row: an int lane, entities `[N, K]`, or a number; one outside is the first or the last.
        column: likewise; of a table `[T]` none.

    Raises:
        IndexError: an environment that is being tried takes an entry that there is not.
        TypeError: it takes one by what is no whole number.
    """
    if isinstance(table, TriedTable):
        table = table.values
        _inside("row", row, table.shape[0])
        _inside("column", column, table.shape[1] if table.ndim == 2 else 1)
    row = _within(row, table.shape[0])
    if table.ndim == 1:
        return _entry(table, row)
    column = _within(column, table.shape[1])
    return table[row, column] if is_lane(row) or is_lane(column) else _entry(table[row], column)


def _entry(table: Table, index) -> Lane:
    """Of an array by a number `[1]`: without axes NumPy's own are no lanes."""
    one = isinstance(table, np.ndarray) and not is_lane(index)
    return table[index : index + 1] if one else table[index]


def rows(table: Table) -> Any:
    """T, how many rows a table has."""
    return table.values.shape[0] if isinstance(table, TriedTable) else table.shape[0]


def _within(index, count: int) -> Any:
    return clip(index, 0, count - 1) if is_lane(index) else min(max(index, 0), count - 1)


def _inside(what: str, index, count: int) -> None:
    if not _whole(index):
        given = f"a {str(index.dtype).removeprefix('torch.')} lane" if is_lane(index) else repr(index)
        raise TypeError(f"a {what} is an int lane or a whole number, not {given}")
    with torch._C.DisableTorchFunction():  # or `gpusim.watch` would take it for the author's look
        low, high = (int(index.min()), int(index.max())) if is_lane(index) else (index, index)
    if low < 0 or high >= count:
        raise IndexError(f"{what} {low if low < 0 else high} of a table of {count} {what}s")


def _whole(index) -> bool:
    if is_lane(index):
        return index.dtype in (torch.int32, torch.int64)
    return isinstance(index, int | np.integer) and not isinstance(index, bool)


def any_(x) -> Lane:
    """Whether a condition holds for any entity, or an entity is not 0; `[N]` of `[N, K]`, as all reductions."""
    return x.any(-1)


def all_(x) -> Lane:
    """Whether a condition holds for every entity, or none of them is 0."""
    return x.all(-1)


def sum_(x) -> Lane:
    """The sum over the entities; of a condition, for how many it holds, int32."""
    return _of(x).sum(x, -1, dtype=_summed(x))


def min_(x) -> Lane:
    """The least of the entities."""
    return _of(x).amin(x, -1)


def max_(x) -> Lane:
    """The greatest of the entities."""
    return _of(x).amax(x, -1)


def cumsum(x) -> Lane:
    """Of each entity the sum up to it and with it, `[N, K]`; of a condition, its count, int32."""
    return _of(x).cumsum(x, -1, dtype=_summed(x))


def entity(x, k) -> Lane:
    """Number `k` of the entities of each environment, `[N]` of `[N, K]`; `k` is a whole number, a loop's variable perhaps.

    Raises:
        IndexError: there is none of that number.
        TypeError: `k` is no whole number.
    """
    if not isinstance(k, int | np.integer) or isinstance(k, bool):
        raise TypeError(f"the number of an entity is a whole number, known in advance, not {_named(k)}")
    if not 0 <= k < x.shape[-1]:
        raise IndexError(f"entity {k} of {x.shape[-1]}")
    return x[..., k].copy() if isinstance(x, np.ndarray) else x[..., k].clone()


def or_(x) -> Lane:
    """The bits that any entity has."""
    if isinstance(x, np.ndarray):
        return np.bitwise_or.reduce(x, -1)
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = x[..., :half] | x[..., half:]
    return x[..., 0]


def _summed(x):
    """Conditions are counted in int32; anything else keeps its dtype."""
    if isinstance(x, np.ndarray):
        return np.int32 if x.dtype == np.bool_ else x.dtype
    return torch.int32 if x.dtype == torch.bool else x.dtype
