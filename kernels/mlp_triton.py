"""The perceptron of `gpusim.kernels.mlp` inside a kernel: one row per lane, the hidden layers in tensor-core products.

Widths are padded with zeros to the next power of two, or made in pieces.
"""

# mypy: disable-error-code="assignment"

import math

import triton
import triton.language as tl
from triton.language.target_info import is_cuda

from gpusim.kernels.launch import interpreted
from gpusim.kernels.moments import LIMIT as HOST_LIMIT

INTERPRETED = tl.constexpr(interpreted())  # there, bfloat16 can be rounded to but not multiplied
TWO_LOG2_E = tl.constexpr(2 / math.log(2))
LIMIT = tl.constexpr(HOST_LIMIT)  # of normalized observations


@triton.jit
def tanh(x, PRECISION: tl.constexpr):
    """Within 5e-7 everywhere, within 5e-4 where products are of bf16; NaN stays NaN, infinities become ±1."""
    if INTERPRETED or not is_cuda():
        return 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)
    elif PRECISION == "bf16":
        return hardware("tanh.approx.f32 $0, $1;", x)
    else:  # as above without its guards against denormal numbers, which 1 swallows
        power = hardware("ex2.approx.ftz.f32 $0, $1;", x * TWO_LOG2_E)
        return tl.fma(hardware("rcp.approx.ftz.f32 $0, $1;", power + 1.0), -2.0, 1.0)


@triton.jit
def hardware(INSTRUCTION: tl.constexpr, x):
    """One instruction of NVIDIA's special-function units."""
    return tl.inline_asm_elementwise(INSTRUCTION, "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)


@triton.jit
def activate(x, RELU: tl.constexpr, PRECISION: tl.constexpr):
    if RELU:
        return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)
    else:
        return tanh(x, PRECISION)


@triton.jit
def slope(h, RELU: tl.constexpr):
    """The activation's derivative, of its value."""
    if RELU:
        return tl.where(h > 0, 1.0, 0.0)
    else:
        return 1.0 - h * h


@triton.jit
def product(a, b, PRECISION: tl.constexpr):
    """`a @ b` in float32: one of `gpusim.kernels.mlp.PRECISIONS`, or any `input_precision` of `tl.dot`."""
    if PRECISION == "bf16":
        a, b = a.to(tl.bfloat16), b.to(tl.bfloat16)
        return tl.dot(a.to(tl.float32), b.to(tl.float32)) if INTERPRETED else tl.dot(a, b)
    elif PRECISION == "tf32x3":
        coarse_a, fine_a = halves(a)
        coarse_b, fine_b = halves(b)
        small = tl.dot(coarse_a, fine_b, tl.dot(fine_a, coarse_b, input_precision="tf32"), input_precision="tf32")
        return tl.dot(coarse_a, coarse_b, small, input_precision="tf32")
    else:
        return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def halves(x):
    """About the nearest number with 10 bits of mantissa, and what it lacks, of which a tensor core takes 10 bits too.

    Without the guards that `tl.dot` has in three passes: what is infinite or too large ends as NaN.
    """
    coarse = (x * (1.0 + 2.0**-11)).to(tl.int32, bitcast=True) & -(1 << 13)
    coarse = coarse.to(tl.float32, bitcast=True)
    return coarse, x - coarse


@triton.jit
def normalized(x, mean, scale):
    """The tuple of lanes `x` less the mean, times the scale, clipped: entry k by the k-th float32 at each pointer."""
    out = ()
    for k in tl.static_range(len(x)):
        y = (x[k] - tl.load(mean + k)) * tl.load(scale + k)
        y = tl.minimum(
            tl.maximum(y, -LIMIT, propagate_nan=tl.PropagateNan.ALL), LIMIT, propagate_nan=tl.PropagateNan.ALL
        )
        out = out + (y,)
    return out


@triton.jit
def first_layer(
    x, weights, unit, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, RELU: tl.constexpr, PRECISION: tl.constexpr
):
    """Units `unit` `[C]` of the first hidden layer, `[BLOCK, C]`, zero beyond its width; `weights` at the perceptron."""
    inside = unit < HIDDEN1
    h = tl.load(weights + HIDDEN1 * INPUTS + unit, mask=inside, other=0.0)[None, :]
    for k in tl.static_range(INPUTS):
        h = tl.fma(x[k][:, None], tl.load(weights + unit * INPUTS + k, mask=inside, other=0.0)[None, :], h)
    return activate(h, RELU, PRECISION)


@triton.jit
def second_weights(weights, row, column, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr):
    """The second weight's entries from unit `row` of the first layer to unit `column` of the second, broadcast."""
    at = weights + HIDDEN1 * (INPUTS + 1) + (column * HIDDEN1 + row)
    if triton.next_power_of_2(HIDDEN1) == HIDDEN1 and triton.next_power_of_2(HIDDEN2) == HIDDEN2:
        return tl.load(at)
    else:
        return tl.load(at, mask=(row < HIDDEN1) & (column < HIDDEN2), other=0.0)


@triton.jit
def forward_in_pieces(
    x,
    weights,
    C1: tl.constexpr,
    C2: tl.constexpr,
    INPUTS: tl.constexpr,
    HIDDEN1: tl.constexpr,
    HIDDEN2: tl.constexpr,
    OUTPUTS: tl.constexpr,
    RELU: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The outputs alone; pieces of C2 units of the second layer one after the other, each from pieces of C1 units of the
    first, which are made anew for it. `weights` at the perceptron."""
    outputs = last_bias(x[0], weights, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS)
    for j in tl.range((HIDDEN2 + C2 - 1) // C2, num_stages=1):
        column = tl.arange(0, C2) + j * C2
        bias = second_bias(weights, column, INPUTS, HIDDEN1, HIDDEN2)
        h2 = tl.zeros((x[0].shape[0], C2), tl.float32) + bias[None, :]
        for c in tl.range((HIDDEN1 + C1 - 1) // C1, num_stages=1):
            unit = tl.arange(0, C1) + c * C1
            h1 = first_layer(x, weights, unit, INPUTS, HIDDEN1, RELU, PRECISION)
            part = second_weights(weights, unit[:, None], column[None, :], INPUTS, HIDDEN1, HIDDEN2)
            h2 += product(h1, part, PRECISION)
        more = last_sums(activate(h2, RELU, PRECISION), weights, column, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS)
        outputs = added(outputs, more)
    return outputs


@triton.jit
def added(a, b):
    total = ()
    for k in tl.static_range(len(a)):
        total = total + (a[k] + b[k],)
    return total


@triton.jit
def second_bias(weights, column, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr):
    start: tl.constexpr = HIDDEN1 * (INPUTS + 1) + HIDDEN2 * HIDDEN1
    return tl.load(weights + start + column, mask=column < HIDDEN2, other=0.0)


@triton.jit
def last_weights(weights, k, column, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr):
    """Those of output `k`."""
    start: tl.constexpr = HIDDEN1 * (INPUTS + 1) + HIDDEN2 * (HIDDEN1 + 1)
    return tl.load(weights + start + k * HIDDEN2 + column, mask=column < HIDDEN2, other=0.0)


@triton.jit
def last_layer(
    h2,
    weights,
    column,
    INPUTS: tl.constexpr,
    HIDDEN1: tl.constexpr,
    HIDDEN2: tl.constexpr,
    OUTPUTS: tl.constexpr,
):
    """The outputs, a tuple of lanes."""
    sums = last_sums(h2, weights, column, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS)
    return added(sums, last_bias(sums[0], weights, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS))


@triton.jit
def last_sums(
    h2,
    weights,
    column,
    INPUTS: tl.constexpr,
    HIDDEN1: tl.constexpr,
    HIDDEN2: tl.constexpr,
    OUTPUTS: tl.constexpr,
):
    """What units `column` of the second layer add to the outputs."""
    sums = ()
    for k in tl.static_range(OUTPUTS):
        w3 = last_weights(weights, k, column, INPUTS, HIDDEN1, HIDDEN2)
        sums = sums + (tl.sum(h2 * w3[None, :], 1),)
    return sums


@triton.jit
def last_bias(like, weights, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr, OUTPUTS: tl.constexpr):
    """The last bias, a tuple of lanes as `like`."""
    start: tl.constexpr = HIDDEN1 * (INPUTS + 1) + HIDDEN2 * (HIDDEN1 + 1 + OUTPUTS)
    lanes = ()
    for k in tl.static_range(OUTPUTS):
        lanes = lanes + (tl.zeros_like(like) + tl.load(weights + start + k),)
    return lanes
