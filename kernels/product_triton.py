"""Products that take part in several: an operand is rounded, or split, once.

Near float32 (`tf32x3`) they are six products of bfloat16, which holds 8 bits of a number: tensor cores take these in either
order and twice as fast as TF32, of which three products are not more exact. Infinity times anything is NaN.
"""

import triton
import triton.language as tl

from gpusim.kernels.mlp_triton import INTERPRETED


@triton.jit
def _dot(a, b, acc):
    if INTERPRETED:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc)
    else:
        return tl.dot(a, b, acc)


@triton.jit
def prepared(x, PRECISION: tl.constexpr):
    """What is multiplied for `x`: in `tf32x3` three bfloat16 whose sum it is, to 24 bits."""
    if PRECISION == "tf32x3":
        a = x.to(tl.bfloat16)
        rest = x - a.to(tl.float32)
        b = rest.to(tl.bfloat16)
        return a, b, (rest - b.to(tl.float32)).to(tl.bfloat16)
    elif PRECISION == "bf16":
        return (x.to(tl.bfloat16),)
    else:
        return (x,)


@triton.jit
def transposed(x):
    if len(x) == 1:
        return (tl.trans(x[0]),)
    else:
        return tl.trans(x[0]), tl.trans(x[1]), tl.trans(x[2])


@triton.jit
def multiply(a, b, PRECISION: tl.constexpr):
    """The product of two that are `prepared`, in float32; small terms first."""
    total = tl.zeros((a[0].shape[0], b[0].shape[1]), tl.float32)
    if PRECISION == "tf32x3":
        total = _dot(a[2], b[0], total)
        total = _dot(a[1], b[1], total)
        total = _dot(a[1], b[0], total)
        total = _dot(a[0], b[2], total)
        total = _dot(a[0], b[1], total)
        return _dot(a[0], b[0], total)
    elif PRECISION == "bf16":
        return _dot(a[0], b[0], total)
    else:
        return tl.dot(a[0], b[0], total, input_precision=PRECISION)
