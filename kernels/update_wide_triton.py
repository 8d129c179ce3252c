"""What a program of the update's kernel does where a hidden layer has more than 64 units: too many for its registers.

A block of rows passes through six products, one after the other, each in tiles of at most 64 by 64. Between them its two
hidden layers lie in the program's own `scratch` in global memory, and what a product adds to the gradient is added to
the program's own row of `partials`. So nothing depends on who is first, and a barrier of the program's threads is all
that is needed: what they wrote to global memory before `bar.sync` all of them see after it. One stands between any two
phases of which the later reads what the earlier wrote, or overwrites what the earlier read.

The first layer lies transposed: so the second factor of each large product runs along what is summed over, as `wgmma`
wants it. Loops are not pipelined, since addresses of copies yet to come would spill.
"""

import triton
import triton.language as tl

from gpusim.kernels.loss_triton import by_hidden2, features_and_one, first_weights, head, packed, rows, store_sums
from gpusim.kernels.mlp_triton import activate, added, last_bias, last_sums, product, second_bias, second_weights, slope

DEPTH = tl.constexpr(32)  # of a product's tiles


@triton.jit
def wide_network(
    ACTOR: tl.constexpr, flat, data, order, start, size, envs, moments, normalizer, clip, value_coef, entropy_coef,
    partials, scratch, OFFSET: tl.constexpr, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr,
    OUTPUTS: tl.constexpr, EXTRAS: tl.constexpr, PARAMETERS: tl.constexpr, RELU: tl.constexpr, GAUSSIAN: tl.constexpr,
    CLIP_VALUE: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Layers are made in pieces of C1 and C2 units; beyond their widths both are 0 in `scratch`."""
    C1: tl.constexpr = min(BLOCK, triton.next_power_of_2(HIDDEN1))
    C2: tl.constexpr = min(BLOCK, triton.next_power_of_2(HIDDEN2))
    W1: tl.constexpr = triton.cdiv(HIDDEN1, C1) * C1
    W2: tl.constexpr = triton.cdiv(HIDDEN2, C2) * C2
    PY: tl.constexpr = max(16, triton.next_power_of_2(OUTPUTS + EXTRAS))
    part = partials + tl.program_id(0).to(tl.int64) * (PARAMETERS + 8)
    weights, out = flat + OFFSET, part + OFFSET
    hidden1 = scratch + (tl.program_id(0) * 2 + tl.program_id(1)).to(tl.int64) * (BLOCK * (W1 + W2))
    hidden2 = hidden1 + BLOCK * W1
    sums = tl.zeros((PY,), tl.float32)
    # A program for which no rows are left still has to fill its row of `partials` with zeros: it takes an empty block.
    blocks = tl.maximum(tl.cdiv(size, BLOCK), tl.program_id(0) + 1)
    # Addresses of all phases, computed before the loop and held over it, would spill: hence disable_licm.
    for block in tl.range(tl.program_id(0), blocks, tl.num_programs(0), num_stages=1, disable_licm=True):
        again = block > tl.program_id(0)
        at, inside = rows(order, start, size, block, BLOCK)
        _first(hidden1, weights, data[0], at, envs, normalizer, INPUTS, HIDDEN1, RELU, PRECISION, BLOCK, C1, W1)
        tl.debug_barrier()
        outputs = _second(
            hidden1, hidden2, weights, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, RELU, PRECISION, BLOCK, C1, C2, W1, W2
        )
        lanes = head(
            ACTOR, outputs, flat, data, at, envs, moments, inside, 1.0 / size, clip, value_coef, entropy_coef,
            OUTPUTS, GAUSSIAN, CLIP_VALUE,
        )  # fmt: skip
        sums += tl.sum(packed(lanes, PY), 0)
        tl.debug_barrier()
        _by_last(hidden2, lanes, weights, out, again, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, RELU, BLOCK, W2)
        tl.debug_barrier()
        _by_second(hidden1, hidden2, out, again, INPUTS, HIDDEN1, HIDDEN2, PRECISION, BLOCK, C1, C2, W1, W2)
        tl.debug_barrier()
        _by_hidden1(hidden1, hidden2, weights, INPUTS, HIDDEN1, HIDDEN2, RELU, PRECISION, BLOCK, C1, W1, W2)
        tl.debug_barrier()
        _by_first(
            hidden1, data[0], order, start, size, block, envs, normalizer, out, again, INPUTS, HIDDEN1, PRECISION, BLOCK,
            C1, W1,
        )  # fmt: skip
        tl.debug_barrier()
    bias = out + HIDDEN1 * (INPUTS + 1) + HIDDEN2 * (HIDDEN1 + 1 + OUTPUTS)
    store_sums(ACTOR, part, bias, sums, tl.arange(0, PY), value_coef, entropy_coef, PARAMETERS, OUTPUTS, EXTRAS)


@triton.jit
def _add(place, more, inside, again):
    """Adds to what this program stored there before, if it did."""
    if again:
        more += tl.load(place, mask=inside, other=0.0)
    tl.store(place, more, mask=inside)


@triton.jit
def _first(
    hidden1, weights, obs, at, envs, normalizer, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr, C1: tl.constexpr, W1: tl.constexpr,
):  # fmt: skip
    """Fills `hidden1`, `[W1, BLOCK]`, with the first layer."""
    PX: tl.constexpr = max(16, triton.next_power_of_2(INPUTS + 1))
    CX: tl.constexpr = min(PX, DEPTH)
    for c in tl.range(W1 // C1, num_stages=1):
        unit = tl.arange(0, C1) + c * C1
        h1 = tl.zeros((C1, BLOCK), tl.float32)
        for f in tl.range((INPUTS + CX) // CX, num_stages=1):
            feature = tl.arange(0, CX) + f * CX
            x = features_and_one(obs, at, envs, normalizer, feature, INPUTS)
            w1 = first_weights(weights, feature, unit, INPUTS, HIDDEN1)
            h1 += product(tl.trans(w1), tl.trans(x), PRECISION)
        tl.store(hidden1 + (unit[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]), activate(h1, RELU, PRECISION))


@triton.jit
def _second(
    hidden1, hidden2, weights, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr,
    OUTPUTS: tl.constexpr, RELU: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr, C1: tl.constexpr,
    C2: tl.constexpr, W1: tl.constexpr, W2: tl.constexpr,
):  # fmt: skip
    """Fills `hidden2`, `[BLOCK, W2]`, with the second layer; returns the outputs, a tuple of lanes."""
    K: tl.constexpr = min(C1, DEPTH)
    row = tl.arange(0, BLOCK)
    outputs = last_bias(tl.zeros((BLOCK,), tl.float32), weights, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS)
    for j in tl.range(W2 // C2, num_stages=1):
        column = tl.arange(0, C2) + j * C2
        h2 = tl.zeros((BLOCK, C2), tl.float32)
        for c in tl.range(W1 // K, num_stages=1):
            unit = tl.arange(0, K) + c * K
            w2 = second_weights(weights, unit[:, None], column[None, :], INPUTS, HIDDEN1, HIDDEN2)
            h1 = tl.load(hidden1 + (unit[:, None] * BLOCK + row[None, :]))
            h2 += product(tl.trans(h1), w2, PRECISION)
        h2 = activate(h2 + second_bias(weights, column, INPUTS, HIDDEN1, HIDDEN2)[None, :], RELU, PRECISION)
        tl.store(hidden2 + (row[:, None] * W2 + column[None, :]), h2)
        outputs = added(outputs, last_sums(h2, weights, column, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS))
    return outputs


@triton.jit
def _by_last(
    hidden2, lanes, weights, out, again, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr,
    OUTPUTS: tl.constexpr, RELU: tl.constexpr, BLOCK: tl.constexpr, W2: tl.constexpr,
):  # fmt: skip
    """Adds to the gradient by the last weights and the second bias; `hidden2` becomes
    the derivative by what enters its activation."""
    K: tl.constexpr = min(W2, DEPTH)
    out += HIDDEN1 * (INPUTS + 1) + HIDDEN2 * HIDDEN1
    for j in tl.range(W2 // K, num_stages=1):
        column = tl.arange(0, K) + j * K
        place = hidden2 + (tl.arange(0, BLOCK)[:, None] * W2 + column[None, :])
        h2 = tl.load(place)
        for k in tl.static_range(OUTPUTS):
            by_w3 = tl.sum(lanes[k][:, None] * h2, 0)
            _add(out + (k + 1) * HIDDEN2 + column, by_w3, column < HIDDEN2, again)
        d2 = by_hidden2(lanes, h2, weights, column, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, RELU)
        _add(out + column, tl.sum(d2, 0), column < HIDDEN2, again)
        tl.debug_barrier()  # several threads may have read an entry that one of them overwrites
        tl.store(place, d2)


@triton.jit
def _by_second(
    hidden1, hidden2, out, again, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr, W1: tl.constexpr,
    W2: tl.constexpr,
):  # fmt: skip
    """Adds to the gradient by the second weights."""
    out += HIDDEN1 * (INPUTS + 1)
    for tile in tl.range((W1 // C1) * (W2 // C2), num_stages=1):
        unit = tl.arange(0, C1) + tile % (W1 // C1) * C1
        column = tl.arange(0, C2) + tile // (W1 // C1) * C2
        by_w2 = tl.zeros((C2, C1), tl.float32)
        for r in tl.range(BLOCK // DEPTH, num_stages=1):
            row = tl.arange(0, DEPTH) + r * DEPTH
            h1 = tl.load(hidden1 + (unit[:, None] * BLOCK + row[None, :]))
            d2 = tl.load(hidden2 + (row[:, None] * W2 + column[None, :]))
            by_w2 += product(tl.trans(d2), tl.trans(h1), PRECISION)
        inside = (column < HIDDEN2)[:, None] & (unit < HIDDEN1)[None, :]
        _add(out + (column[:, None] * HIDDEN1 + unit[None, :]), by_w2, inside, again)


@triton.jit
def _by_hidden1(
    hidden1, hidden2, weights, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr, C1: tl.constexpr, W1: tl.constexpr, W2: tl.constexpr,
):  # fmt: skip
    """`hidden1` becomes the derivative by what enters its activation."""
    K: tl.constexpr = min(W2, DEPTH)
    row = tl.arange(0, BLOCK)
    for c in tl.range(W1 // C1, num_stages=1):
        unit = tl.arange(0, C1) + c * C1
        d1 = tl.zeros((C1, BLOCK), tl.float32)
        for j in tl.range(W2 // K, num_stages=1):
            column = tl.arange(0, K) + j * K
            w2 = second_weights(weights, unit[None, :], column[:, None], INPUTS, HIDDEN1, HIDDEN2)
            d2 = tl.load(hidden2 + (row[:, None] * W2 + column[None, :]))
            d1 += product(tl.trans(w2), tl.trans(d2), PRECISION)
        place = hidden1 + (unit[:, None] * BLOCK + row[None, :])
        d1 *= slope(tl.load(place), RELU)
        tl.debug_barrier()  # as in _by_last
        tl.store(place, d1)


@triton.jit
def _by_first(
    hidden1, obs, order, start, size, block, envs, normalizer, out, again, INPUTS: tl.constexpr,
    HIDDEN1: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr, C1: tl.constexpr, W1: tl.constexpr,
):  # fmt: skip
    """Adds to the gradient by the first weights and bias."""
    PX: tl.constexpr = max(16, triton.next_power_of_2(INPUTS + 1))
    CX: tl.constexpr = min(PX, DEPTH)
    for c in tl.range(W1 // C1, num_stages=1):
        unit = tl.arange(0, C1) + c * C1
        for f in tl.range((INPUTS + CX) // CX, num_stages=1):
            feature = tl.arange(0, CX) + f * CX
            by_w1 = tl.zeros((C1, CX), tl.float32)
            for r in tl.range(BLOCK // DEPTH, num_stages=1):
                at, _ = rows(order, start, size, block * (BLOCK // DEPTH) + r, DEPTH)
                x = features_and_one(obs, at, envs, normalizer, feature, INPUTS)
                row = tl.arange(0, DEPTH) + r * DEPTH
                by_w1 += product(tl.load(hidden1 + (unit[:, None] * BLOCK + row[None, :])), x, PRECISION)
            bias = unit[:, None] + HIDDEN1 * INPUTS
            place = tl.where((feature < INPUTS)[None, :], unit[:, None] * INPUTS + feature[None, :], bias)
            _add(out + place, by_w1, (unit < HIDDEN1)[:, None] & (feature <= INPUTS)[None, :], again)
