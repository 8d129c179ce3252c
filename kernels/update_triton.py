"""The kernel beside `ppo_gradient_torch`: forward, losses and backward of a minibatch in one launch.

Half of the programs have the actor, half the critic; each takes blocks of rows in turn. Here are layers of at most 64
units, in update_wide_triton.py wider ones. A program keeps its sums in registers and stores them once, so nothing
depends on who is first. Row sums and products with few columns go through tensor cores too: the features with a column
of ones behind them, and what the heads pass back beside what is only summed. Weights are split and laid into shared memory
before the loop over blocks.

In bf16 a block has 64 rows, so that products are made by `wgmma`. That takes a descriptor for each of its instructions, and
in the other precisions these, held over the loop, would spill: blocks of 32 rows, products by `mma.sync`.
"""

import triton
import triton.language as tl

from gpusim.kernels.launch import launch
from gpusim.kernels.loss_triton import by_hidden2, features_and_one, first_weights, head, packed, rows, store_sums
from gpusim.kernels.mlp_triton import activate, last_layer, second_bias, second_weights, slope
from gpusim.kernels.product_triton import multiply, prepared, transposed
from gpusim.kernels.tune import sizes
from gpusim.kernels.update_wide_triton import wide_network


def ppo_gradient_triton(
    flat, shape, data, order, start, size, loss, workspace, moments=None, normalizer=None, precision="tf32x3"
) -> None:
    """As `gpusim.kernels.update.ppo_gradient_torch`, on a CUDA device (or under Triton's interpreter)."""
    block = sizes(f"ppo_gradient, {precision if workspace.scratch is None else 'wide'}", flat.device)
    launch(
        ppo_gradient_kernel,
        (len(workspace.partials), 2),
        flat,
        tuple(data),
        order,
        start,
        size,
        data.obs.shape[2],
        moments if loss.normalize_advantage else None,
        normalizer,
        loss.clip,
        loss.value_coef,
        loss.entropy_coef,
        workspace.partials,
        workspace.scratch,
        INPUTS=shape.inputs,
        HIDDEN1=shape.hidden1,
        HIDDEN2=shape.hidden2,
        OUTPUTS=shape.outputs,
        CRITIC=shape.critic,
        PARAMETERS=shape.size,
        RELU=shape.activation == "relu",
        GAUSSIAN=shape.gaussian,
        CLIP_VALUE=loss.clip_value,
        PRECISION=precision,
        **block,
    )


@triton.jit
def _narrow_network(
    ACTOR: tl.constexpr, flat, data, order, start, size, envs, moments, normalizer, clip, value_coef, entropy_coef,
    partials, OFFSET: tl.constexpr, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr,
    OUTPUTS: tl.constexpr, EXTRAS: tl.constexpr, PARAMETERS: tl.constexpr, RELU: tl.constexpr, GAUSSIAN: tl.constexpr,
    CLIP_VALUE: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    P1: tl.constexpr = triton.next_power_of_2(HIDDEN1)
    P2: tl.constexpr = triton.next_power_of_2(HIDDEN2)
    PX: tl.constexpr = max(16, triton.next_power_of_2(INPUTS + 1))
    PY: tl.constexpr = max(16, triton.next_power_of_2(OUTPUTS + EXTRAS))
    by_w1 = tl.zeros((PX, P1), tl.float32)
    by_w2 = tl.zeros((P2, P1), tl.float32)
    by_b2 = tl.zeros((PX, P2), tl.float32)
    by_w3 = tl.zeros((PY, P2), tl.float32)
    AT_ONCE: tl.constexpr = PRECISION == "tf32x3"  # where there are no registers left for sums of rows
    sums = tl.zeros((1 if AT_ONCE else BLOCK, PY), tl.float32)
    unit, column = tl.arange(0, P1), tl.arange(0, P2)
    feature = tl.arange(0, PX)
    for block in tl.range(tl.program_id(0), tl.cdiv(size, BLOCK), tl.num_programs(0), num_stages=1):
        at, inside = rows(order, start, size, block, BLOCK)
        nothing = 16 * (tl.load(order + start + block * BLOCK) >> 31)  # 0, but unknown: so it is not hoisted
        later = column + nothing
        x = features_and_one(data[0], at, envs, normalizer, feature + nothing, INPUTS)
        xs = prepared(x, PRECISION)
        w1 = prepared(first_weights(flat + OFFSET, feature, unit, INPUTS, HIDDEN1), PRECISION)
        h1 = activate(multiply(xs, w1, PRECISION), RELU, PRECISION)
        h1s = prepared(h1, PRECISION)
        w2 = prepared(
            second_weights(flat + OFFSET, unit[None, :], column[:, None], INPUTS, HIDDEN1, HIDDEN2), PRECISION
        )
        bias = second_bias(flat + OFFSET, later, INPUTS, HIDDEN1, HIDDEN2)
        h2 = multiply(h1s, transposed(w2), PRECISION)
        h2 = activate(h2 + bias[None, :], RELU, PRECISION)
        outputs = last_layer(h2, flat + OFFSET, later, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS)
        lanes = head(
            ACTOR, outputs, flat, data, at, envs, moments, inside, 1.0 / size, clip, value_coef, entropy_coef,
            OUTPUTS, GAUSSIAN, CLIP_VALUE,
        )  # fmt: skip
        tile = packed(lanes, PY)
        sums += tl.sum(tile, 0, keep_dims=True) if AT_ONCE else tile
        by_w3 += multiply(transposed(prepared(tile, PRECISION)), prepared(h2, PRECISION), PRECISION)
        d2 = prepared(by_hidden2(lanes, h2, flat + OFFSET, later, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, RELU), PRECISION)
        d1 = multiply(d2, w2, PRECISION)
        d1 *= slope(h1, RELU)
        by_w1 += multiply(transposed(xs), prepared(d1, PRECISION), PRECISION)
        by_b2 += multiply(transposed(xs), d2, PRECISION)
        by_w2 += multiply(transposed(d2), h1s, PRECISION)
    by_b2 = tl.sum(tl.where(tl.arange(0, PX)[:, None] == INPUTS, by_b2, 0.0), 0)
    nothing = 16 * (tl.load(order + start, volatile=True) >> 31)
    column = tl.arange(0, P2) + nothing
    out = partials + tl.program_id(0).to(tl.int64) * (PARAMETERS + 8) + OFFSET
    # Stored as one long row: numbers of rows and columns as in the loop would be held over it for this, and spill.
    first = tl.arange(0, PX * P1) + nothing
    _store_first(out, tl.reshape(by_w1, (PX * P1,)), first // P1, first % P1, INPUTS, HIDDEN1)
    out += HIDDEN1 * (INPUTS + 1)
    entry = tl.arange(0, P2 * P1) + nothing
    inside = (entry % P1 < HIDDEN1) & (entry // P1 < HIDDEN2)
    tl.store(out + entry // P1 * HIDDEN1 + entry % P1, tl.reshape(by_w2, (P2 * P1,)), mask=inside)
    out += HIDDEN2 * HIDDEN1
    tl.store(out + column, by_b2, mask=column < HIDDEN2)
    out += HIDDEN2
    last = tl.arange(0, PY * P2) + nothing
    _store_last(out, tl.reshape(by_w3, (PY * P2,)), last // P2, last % P2, HIDDEN2, OUTPUTS)
    store_sums(
        ACTOR, partials + tl.program_id(0).to(tl.int64) * (PARAMETERS + 8), out + OUTPUTS * HIDDEN2, tl.sum(sums, 0),
        tl.arange(0, PY) + nothing, value_coef, entropy_coef, PARAMETERS, OUTPUTS, EXTRAS,
    )  # fmt: skip


@triton.jit
def _store_first(out, by_w1, feature, unit, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr):
    at = tl.where(feature < INPUTS, unit * INPUTS + feature, HIDDEN1 * INPUTS + unit)
    tl.store(out + at, by_w1, mask=(unit < HIDDEN1) & (feature <= INPUTS))


@triton.jit
def _store_last(out, by_w3, output, column, HIDDEN2: tl.constexpr, OUTPUTS: tl.constexpr):
    tl.store(out + output * HIDDEN2 + column, by_w3, mask=(column < HIDDEN2) & (output < OUTPUTS))


@triton.jit(do_not_specialize=["start", "size"], do_not_specialize_on_alignment=["moments"])
def ppo_gradient_kernel(
    flat, data, order, start, size, envs, moments, normalizer, clip, value_coef, entropy_coef, partials, scratch,
    INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr, OUTPUTS: tl.constexpr, CRITIC: tl.constexpr,
    PARAMETERS: tl.constexpr, RELU: tl.constexpr, GAUSSIAN: tl.constexpr, CLIP_VALUE: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (g, 0) has the actor, (g, 1) the critic, of blocks g, g + G, ...; both fill row g of `partials`."""
    ACTOR: tl.constexpr = OUTPUTS if GAUSSIAN else 0
    if tl.program_id(1) == 0:
        _one_network(
            True, flat, data, order, start, size, envs, moments, normalizer, clip, value_coef, entropy_coef, partials,
            scratch, ACTOR, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, ACTOR + 4, PARAMETERS, RELU, GAUSSIAN, CLIP_VALUE,
            PRECISION, BLOCK,
        )  # fmt: skip
    else:
        _one_network(
            False, flat, data, order, start, size, envs, moments, normalizer, clip, value_coef, entropy_coef, partials,
            scratch, CRITIC, INPUTS, HIDDEN1, HIDDEN2, 1, 1, PARAMETERS, RELU, GAUSSIAN, CLIP_VALUE, PRECISION, BLOCK,
        )  # fmt: skip


@triton.jit
def _one_network(
    ACTOR: tl.constexpr, flat, data, order, start, size, envs, moments, normalizer, clip, value_coef, entropy_coef,
    partials, scratch, OFFSET: tl.constexpr, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr,
    OUTPUTS: tl.constexpr, EXTRAS: tl.constexpr, PARAMETERS: tl.constexpr, RELU: tl.constexpr, GAUSSIAN: tl.constexpr,
    CLIP_VALUE: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    if scratch is None:
        _narrow_network(
            ACTOR, flat, data, order, start, size, envs, moments, normalizer, clip, value_coef, entropy_coef, partials,
            OFFSET, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, EXTRAS, PARAMETERS, RELU, GAUSSIAN, CLIP_VALUE, PRECISION, BLOCK,
        )  # fmt: skip
    else:
        wide_network(
            ACTOR, flat, data, order, start, size, envs, moments, normalizer, clip, value_coef, entropy_coef, partials,
            scratch, OFFSET, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, EXTRAS, PARAMETERS, RELU, GAUSSIAN, CLIP_VALUE,
            PRECISION, BLOCK,
        )  # fmt: skip
