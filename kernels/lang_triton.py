"""The Triton twins of `gpusim.kernels.lang`: same names, same meaning, for use inside kernels."""

from typing import Any, NamedTuple

import triton
import triton.language as tl

FLOAT_SCALE = tl.constexpr(2.0**-24)

if hasattr(tl, "to_tensor"):

    @triton.jit
    def _tensor(x):
        return tl.to_tensor(x)
else:  # before Triton 3.7, whose interpreter looks into modules that a kernel's file names, and no further
    from triton.language import core

    @triton.jit
    def _tensor(x):
        return core.to_tensor(x)


class Table(NamedTuple):
    """As `gpusim.kernels.lang.Table`."""

    pointer: Any
    rows: Any
    columns: Any  # 1: it has rows alone


@triton.jit
def words(rng, block):
    return tl.philox(
        rng.seed,
        _tensor(rng.env).to(tl.int32),
        _tensor(rng.episode).to(tl.int32),
        _tensor(rng.step).to(tl.int32),
        _tensor(rng.stream * 256 + block).to(tl.int32),
    )


@triton.jit
def _scale(word, low, high):
    return (word >> 8).to(tl.float32) * ((high - low) * FLOAT_SCALE) + low


@triton.jit
def uniform4(rng, block, low, high):
    a, b, c, d = words(rng, block)
    return _scale(a, low, high), _scale(b, low, high), _scale(c, low, high), _scale(d, low, high)


@triton.jit
def uniform(rng, block, low, high):
    return _scale(words(rng, block)[0], low, high)


@triton.jit
def slot_words(rng, block, count: tl.constexpr):
    """Each entity draws its block for itself: to share it among four takes an interleaving that Triton does not compile."""
    k = slots(rng.env, count)
    a, b, c, d = tl.philox(
        rng.seed,
        _beside(rng.env) + k * 0,
        _beside(rng.episode) + k * 0,
        _beside(rng.step) + k * 0,
        _beside(rng.stream * 256 + block) + (k >> 2),
    )
    odd, late = (k & 1) == 1, (k & 2) == 2
    return tl.where(late, tl.where(odd, d, c), tl.where(odd, b, a))


@triton.jit
def _beside(x):
    x = _tensor(x).to(tl.int32)
    return tl.expand_dims(x, -1) if x.type.is_block() else x


@triton.jit
def slot_uniform(rng, block, count: tl.constexpr, low, high):
    return _scale(slot_words(rng, block, count), low, high)


@triton.jit
def unit(word):
    return _scale(word, 0.0, 1.0)


@triton.jit
def below(word, count):
    return ((word.to(tl.uint64) * _tensor(count).to(tl.uint64)) >> 32).to(tl.int32)


@triton.jit
def where(condition, a, b):
    a, b = _tensor(a), _tensor(b)
    if not a.type.is_block() and not b.type.is_block():
        a = a.to(tl.float32)
    return tl.where(condition, a, b)


@triton.jit
def sin(x):
    return tl.sin(x)


@triton.jit
def cos(x):
    return tl.cos(x)


@triton.jit
def atan2(y, x):
    """After Cephes (Moshier): of the lesser of both by the greater, about 0 or, above tan(π/8), about 1."""
    y, x = tl.broadcast(y, _tensor(x).to(y.dtype))
    steep_y = tl.abs(y) > tl.abs(x)
    scale = tl.where(tl.maximum(tl.abs(x), tl.abs(y)) > 2.0**126, 0.25, 1.0)  # so that no sum overflows
    a = tl.where(steep_y, tl.abs(x), tl.abs(y)) * scale
    b = tl.where(steep_y, tl.abs(y), tl.abs(x)) * scale
    far = (a > b * 0.414213562) | ((a == b) & (a > 0))  # or both are infinite
    q = tl.where(far, a - b, a) / tl.where(far, a + b, b)
    q = tl.where(a == b, 0.0, q)
    z = q * q
    r = ((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1
    r = r * z * q + q
    r = tl.where(far, r - 2.1855694e-8 + 0.785398185, r)
    r = tl.where(steep_y, 1.57079637 - (r + 4.3711388e-8), r)
    r = tl.where(x.to(tl.int32, bitcast=True) < 0, 3.14159274 - (r + 8.7422777e-8), r)
    return tl.where((x != x) | (y != y), x + y, tl.where(y.to(tl.int32, bitcast=True) < 0, -r, r))


@triton.jit
def tanh(x):
    """After Cephes (Moshier)."""
    a, z = tl.abs(x), x * x
    near = ((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1
    near = (near * z - 3.33332819422e-1) * z * a + a
    r = tl.where(a < 0.625, near, 1.0 - 2.0 / (tl.exp(a + a) + 1.0))
    return tl.where(x.to(tl.int32, bitcast=True) < 0, -r, r)


@triton.jit
def exp(x):
    return tl.exp(x)


@triton.jit
def log(x):
    return tl.log(x)


@triton.jit
def sqrt(x):
    return tl.sqrt(x)


@triton.jit
def floor(x):
    return tl.floor(x)


@triton.jit
def ceil(x):
    return tl.ceil(x)


@triton.jit
def absolute(x):
    return tl.abs(x)


@triton.jit
def sign(x):
    one, zero = ones_like(x), tl.zeros_like(x)
    return tl.where(x > 0, one, tl.where(x < 0, -one, tl.where(x == 0, zero, x)))


@triton.jit
def minimum(x, y):
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def maximum(x, y):
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def clip(x, low, high):
    return minimum(maximum(x, low), high)


@triton.jit
def floor_divide(x, y):
    x, y = tl.broadcast(x, _tensor(y))
    if x.dtype.is_floating():
        return _float_floor_divide(x, y.to(x.dtype))
    quotient = x // y
    return quotient - ((quotient * y != x) & ((x < 0) != (y < 0))).to(x.dtype)


@triton.jit
def remainder(x, y):
    x, y = tl.broadcast(x, _tensor(y))
    if x.dtype.is_floating():
        return _float_remainder(x, y.to(x.dtype))
    rest = x % y
    return tl.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)


@triton.jit
def _float_remainder(x, y):
    """Exact while the quotient is below 2**23; what `%` compiles to rounds the product, and is not."""
    rest = tl.fma(-tl.floor(tl.div_rn(x, y)), y, x)
    rest = tl.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)  # the quotient was rounded up
    return tl.where(tl.abs(rest) >= tl.abs(y), rest - y, rest)


@triton.jit
def _float_floor_divide(x, y):
    """As torch has it: 1.0 // 0.1 is 9, since 0.1 is a little more than a tenth."""
    quotient = tl.floor(tl.div_rn(x - _float_remainder(x, y), y) + 0.5)
    return tl.where(y == 0, tl.div_rn(x, y), quotient)


@triton.jit
def zeros_like(x):
    return tl.zeros_like(x)


@triton.jit
def ones_like(x):
    return tl.zeros_like(x) + 1


@triton.jit
def false_like(x):
    return tl.zeros_like(x) > 0


@triton.jit
def slots(x, count):
    return tl.expand_dims(tl.zeros_like(x).to(tl.int32), -1) + tl.arange(0, count)


@triton.jit
def to_float(x):
    return x.to(tl.float32)


@triton.jit
def to_int(x):
    return x.to(tl.int32)


@triton.jit
def any_(x):
    return tl.max((x != 0).to(tl.int32), axis=-1) > 0


@triton.jit
def all_(x):
    return tl.min((x != 0).to(tl.int32), axis=-1) > 0


@triton.jit
def sum_(x):
    return tl.sum(x.to(tl.int32) if x.dtype == tl.int1 else x, axis=-1)


@triton.jit
def min_(x):
    return tl.min(x, axis=-1)


@triton.jit
def max_(x):
    return tl.max(x, axis=-1)


@triton.jit
def entity(x, k):
    chosen = tl.expand_dims(tl.arange(0, x.shape[-1]), 0) == k
    if x.dtype == tl.int1:
        return tl.max((chosen & x).to(tl.int32), axis=-1) > 0
    else:
        return tl.sum(tl.where(chosen, x, tl.zeros_like(x)), axis=-1)


@triton.jit
def cumsum(x):
    return tl.cumsum(x.to(tl.int32) if x.dtype == tl.int1 else x, axis=-1)


@triton.jit
def _or(x, y):
    return x | y


@triton.jit
def or_(x):
    return tl.reduce(x, len(x.shape) - 1, _or)


@triton.jit
def take(table, row, column=0):
    at = _within(row, table.rows) * table.columns + _within(column, table.columns)
    return tl.load(table.pointer + at)


@triton.jit
def rows(table):
    return table.rows


@triton.jit
def _within(index, count):
    return tl.minimum(tl.maximum(_tensor(index), 0), count - 1)
