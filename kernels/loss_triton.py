"""What both kernels of the update do with a row: where it lies, its features, the loss at the outputs, its derivatives."""

# mypy: disable-error-code="assignment"

import triton
import triton.language as tl

from gpusim.kernels.distributions import HALF_LOG_TAU as HOST_HALF_LOG_TAU
from gpusim.kernels.distributions import LOG_STD_RANGE
from gpusim.kernels.mlp_triton import last_weights, slope
from gpusim.kernels.moments import LIMIT as HOST_LIMIT

LOW_LOG_STD = tl.constexpr(LOG_STD_RANGE[0])
HIGH_LOG_STD = tl.constexpr(LOG_STD_RANGE[1])
HALF_LOG_TAU = tl.constexpr(HOST_HALF_LOG_TAU)  # ½ log 2π
LIMIT = tl.constexpr(HOST_LIMIT)


@triton.jit
def rows(order, start, size, block, BLOCK: tl.constexpr):
    """Flat indices of the block's rows, index 0 beyond the minibatch, and which are inside it."""
    row = block * BLOCK + tl.arange(0, BLOCK)
    inside = row < size
    return tl.load(order + start + row, mask=inside, other=0), inside


@triton.jit
def beginning(at, envs, COLUMNS: tl.constexpr):
    """Where row `at` of `[T, N]` begins in `[T, COLUMNS, N]`; envs is N."""
    step = at.to(tl.uint32) // tl.cast(envs, tl.uint32)
    return at + step.to(tl.int64) * (tl.cast(envs, tl.int64) * (COLUMNS - 1))


@triton.jit
def features_and_one(obs, at, envs, normalizer, column, INPUTS: tl.constexpr):
    """`[BLOCK, PX]`: the features, a column of ones, zeros."""
    inside = column < INPUTS
    first = beginning(at, envs, INPUTS)
    x = tl.load(obs + first[:, None] + (column * envs)[None, :], mask=inside[None, :], other=1.0)
    if normalizer is not None:
        mean = tl.load(normalizer[0] + column, mask=inside, other=0.0)
        scale = tl.load(normalizer[1] + column, mask=inside, other=1.0)
        x = (x - mean[None, :]) * scale[None, :]
        x = tl.minimum(
            tl.maximum(x, -LIMIT, propagate_nan=tl.PropagateNan.ALL), LIMIT, propagate_nan=tl.PropagateNan.ALL
        )
    return tl.where((column <= INPUTS)[None, :], x, 0.0)


@triton.jit
def first_weights(weights, feature, unit, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr):
    """The first weight and, below it, its bias, `[PX, units]`."""
    feature = feature[:, None]
    at = tl.where(feature < INPUTS, unit[None, :] * INPUTS + feature, HIDDEN1 * INPUTS + unit[None, :])
    return tl.load(weights + at, mask=(feature <= INPUTS) & (unit < HIDDEN1)[None, :], other=0.0)


@triton.jit
def head(
    ACTOR: tl.constexpr, outputs, flat, data, at, envs, moments, inside, share, clip, value_coef, entropy_coef,
    OUTPUTS: tl.constexpr, GAUSSIAN: tl.constexpr, CLIP_VALUE: tl.constexpr,
):  # fmt: skip
    """The loss's derivatives by the outputs, and whatever else is only summed over rows, as lanes."""
    if ACTOR:
        old, advantage = tl.load(data[2] + at), _advantage(data, at, moments)
        if GAUSSIAN:
            sample = data[1] + beginning(at, envs, OUTPUTS)
            lanes = _gaussian(outputs, flat, sample, envs, old, advantage, clip, entropy_coef)
        else:
            lanes = _categorical(outputs, tl.load(data[1] + at), old, advantage, clip, entropy_coef)
    else:
        old, advantage = tl.load(data[3] + at), tl.load(data[4] + at)
        lanes = _squared_error(outputs[0], old, advantage, clip, value_coef, CLIP_VALUE)
    return _masked(lanes, inside, share)


@triton.jit
def _surrogate(log_prob, old, advantage, clip):
    """The policy loss of a row, its derivative by `log_prob`, the KL estimate, whether the ratio is clipped."""
    log_ratio = log_prob - old
    ratio = tl.exp(log_ratio)
    free = ratio * advantage
    bound = tl.minimum(tl.maximum(ratio, 1.0 - clip), 1.0 + clip) * advantage
    derivative = tl.where(free > bound, 0.0, -free)
    return tl.where(free > bound, -bound, -free), derivative, ratio - 1.0 - log_ratio, tl.abs(ratio - 1.0) > clip


@triton.jit
def _categorical(logits, sample, old, advantage, clip, entropy_coef):
    """Derivatives of a row's loss by the logits, then its policy loss, entropy, KL estimate and clipping."""
    top = logits[0]
    for k in tl.static_range(1, len(logits)):
        top = tl.maximum(top, logits[k], propagate_nan=tl.PropagateNan.ALL)
    total = tl.exp(logits[0] - top)
    for k in tl.static_range(1, len(logits)):
        total += tl.exp(logits[k] - top)
    top += tl.log(total)
    entropy = tl.zeros_like(top)
    log_prob = tl.zeros_like(top)
    for k in tl.static_range(len(logits)):
        log_p = logits[k] - top
        entropy -= tl.exp(log_p) * log_p
        log_prob = tl.where(sample == k, log_p, log_prob)
    policy, derivative, kl, clipped = _surrogate(log_prob, old, advantage, clip)
    out = ()
    for k in tl.static_range(len(logits)):
        log_p = logits[k] - top
        p = tl.exp(log_p)
        chosen = tl.where(sample == k, 1.0, 0.0)
        out = out + (derivative * (chosen - p) + entropy_coef * p * (log_p + entropy),)
    return out + (policy, entropy, kl, clipped.to(tl.float32))


@triton.jit
def _gaussian(means, log_stds, sample, stride, old, advantage, clip, entropy_coef):
    """Derivatives of a row's loss by the means and the log_stds, then as `_categorical`; `sample` at its first entry."""
    log_prob = tl.zeros_like(old)
    entropy = tl.zeros_like(old)
    for k in tl.static_range(len(means)):
        log_std = _clamped(tl.load(log_stds + k))
        z = (tl.load(sample + k * stride) - means[k]) * tl.exp(-log_std)
        log_prob += -0.5 * z * z - log_std - HALF_LOG_TAU
        entropy += log_std + 0.5 + HALF_LOG_TAU
    policy, derivative, kl, clipped = _surrogate(log_prob, old, advantage, clip)
    by_mean, by_log_std = (), ()
    for k in tl.static_range(len(means)):
        raw = tl.load(log_stds + k)
        z = (tl.load(sample + k * stride) - means[k]) * tl.exp(-_clamped(raw))
        by_mean = by_mean + (derivative * z * tl.exp(-_clamped(raw)),)
        free = (raw >= LOW_LOG_STD) & (raw <= HIGH_LOG_STD)
        by_log_std = by_log_std + (tl.where(free, derivative * (z * z - 1.0) - entropy_coef, 0.0),)
    return by_mean + by_log_std + (policy, entropy, kl, clipped.to(tl.float32))


@triton.jit
def _clamped(log_std):
    return tl.minimum(tl.maximum(log_std, LOW_LOG_STD), HIGH_LOG_STD)


@triton.jit
def _squared_error(value, old, advantage, clip, value_coef, CLIP_VALUE: tl.constexpr):
    """The derivative of a row's loss by the value, then its value loss."""
    target = advantage + old
    error = value - target
    derivative, square = error, error * error
    if CLIP_VALUE:
        moved = value - old
        near = old + tl.minimum(tl.maximum(moved, -clip), clip) - target
        farther = near * near > square
        free = (moved >= -clip) & (moved <= clip)
        derivative = tl.where(farther, tl.where(free, near, 0.0), error)
        square = tl.where(farther, near * near, square)
    return (value_coef * derivative, 0.5 * square)


@triton.jit
def _advantage(data, at, moments):
    advantage = tl.load(data[4] + at)
    if moments is not None:
        advantage = (advantage - tl.load(moments)) / (tl.load(moments + 1) + 1e-8)
    return advantage


@triton.jit
def _masked(lanes, inside, share):
    out = ()
    for k in tl.static_range(len(lanes)):
        out = out + (tl.where(inside, lanes[k] * share, 0.0),)
    return out


@triton.jit
def packed(lanes, W: tl.constexpr):
    """The lanes as the first columns of a tile `[BLOCK, W]`."""
    column = tl.arange(0, W)[None, :]
    tile = tl.where(column == 0, lanes[0][:, None], 0.0)
    for k in tl.static_range(1, len(lanes)):
        tile = tl.where(column == k, lanes[k][:, None], tile)
    return tile


@triton.jit
def by_hidden2(lanes, h2, weights, column, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr,
                OUTPUTS: tl.constexpr, RELU: tl.constexpr):  # fmt: skip
    """The loss's derivative by what enters the second hidden layer's activation."""
    d2 = lanes[0][:, None] * last_weights(weights, 0, column, INPUTS, HIDDEN1, HIDDEN2)[None, :]
    for k in tl.static_range(1, OUTPUTS):
        d2 += lanes[k][:, None] * last_weights(weights, k, column, INPUTS, HIDDEN1, HIDDEN2)[None, :]
    return d2 * slope(h2, RELU)


@triton.jit
def store_sums(
    ACTOR: tl.constexpr, row, bias, sums, column, value_coef, entropy_coef, PARAMETERS: tl.constexpr,
    OUTPUTS: tl.constexpr, EXTRAS: tl.constexpr,
):  # fmt: skip
    """The last bias, a Gaussian's log_std, and the metrics: see `ppo_gradient` for their order."""
    tl.store(bias + column, sums, mask=column < OUTPUTS)
    metrics = row + PARAMETERS
    if ACTOR:
        S: tl.constexpr = OUTPUTS + EXTRAS - 4
        tl.store(row + column - OUTPUTS, sums, mask=(column >= OUTPUTS) & (column < S))
        policy, entropy = _entry(sums, column, S), _entry(sums, column, S + 1)
        tl.store(metrics, policy - entropy_coef * entropy)
        tl.store(metrics + 1, policy)
        tl.store(metrics + 3, entropy)
        tl.store(metrics + 4, _entry(sums, column, S + 2))
        tl.store(metrics + 5, _entry(sums, column, S + 3))
        tl.store(metrics + 7, 0.0)
    else:
        tl.store(metrics + 2, _entry(sums, column, 1))
        tl.store(metrics + 6, value_coef * _entry(sums, column, 1))


@triton.jit
def _entry(sums, column, k: tl.constexpr):
    return tl.sum(tl.where(column == k, sums, 0.0), 0)
