"""The rollout kernel: K steps of a block of environments with the policy inside, nothing leaves the registers but results.

Its twin is `gpusim.rollout.rollout` with an `MlpPolicy`, run step by step.
"""

# mypy: disable-error-code="assignment"

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpusim.kernels.episode_triton import Episodes, LoweredEnv, advance, none_prefetched, observed, restart, unpacked
from gpusim.kernels.launch import launch, programs
from gpusim.kernels.mlp_triton import forward_in_pieces, normalized
from gpusim.kernels.policy import MlpPolicy
from gpusim.kernels.sampling_triton import draw_categorical, draw_gaussian
from gpusim.kernels.simulate_triton import load_episodes, store_episodes, store_outcome
from gpusim.kernels.tune import Sizes, sizes


class Collected(NamedTuple):
    """Every transition of a rollout, `[T, N]` float32 unless said otherwise."""

    obs: Any  # [T, D, N] what was acted on
    sample: Any  # [T, N] int32, or [T, d, N] float32, as drawn from the policy
    log_prob: Any  # of the sample
    value: Any  # of obs
    next_value: Any  # of the true next observation; 0 where the step terminated
    reward: Any
    terminated: Any  # bool
    truncated: Any  # bool
    episode_return: Any  # so far, final where the episode ended
    episode_length: Any
    next_obs: Any = None  # for `store_outcome`, which knows these too
    reset: Any = None
    valid: Any = None


def collected(steps: int, num_envs: int, policy: MlpPolicy) -> Collected:
    """Room for `steps` steps."""
    shape = policy.shape

    def room(*middle: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty((steps, *middle, num_envs), dtype=dtype, device=policy.flat.device)

    sample = room(shape.outputs) if shape.gaussian else room(dtype=torch.int32)
    return Collected(
        obs=room(shape.inputs), sample=sample, log_prob=room(), value=room(), next_value=room(), reward=room(),
        terminated=room(dtype=torch.bool), truncated=room(dtype=torch.bool), episode_return=room(), episode_length=room(),
    )  # fmt: skip


def rollout(
    env: LoweredEnv, e: Episodes, seed: Tensor, clock: Tensor, policy: MlpPolicy, out: Collected, after: Episodes,
    first: int = 0,
) -> None:  # fmt: skip
    """As many steps as `out` has room for, in one launch.

    Args:
        e: where the environments stand, tensors `[N]`.
        seed: int64 scalar on the device.
        clock: int64 scalar on the device, steps since seeding; the caller counts it up.
        out: to be filled.
        after: to be filled with where the environments stand then; may be `e` itself.
        first: the number of the first environment, from which on they draw.
    """
    steps, n = out.reward.shape
    block = sizes("rollout", seed.device)
    launch(
        rollout_kernel, (programs(n, block["BLOCK"]),), e, after, seed, first, clock, n, steps, policy.flat,
        (policy.mean, policy.scale), (policy.centre, policy.half), out,
        fp_fusion=False, ENV=env, PRECISION=policy.precision, **_constants(policy, block),
    )  # fmt: skip


def _constants(policy: MlpPolicy, block: Sizes) -> dict[str, Any]:
    """Of the kernel's two layers at most so many units at once."""
    s = policy.shape
    return {
        "ACTOR": s.actor, "CRITIC": s.critic, "INPUTS": s.inputs, "HIDDEN1": s.hidden1, "HIDDEN2": s.hidden2,
        "OUTPUTS": s.outputs, "RELU": s.activation == "relu", "GAUSSIAN": s.gaussian,
        **block,
        "C1": min(block["C1"], triton.next_power_of_2(s.hidden1)), "C2": min(block["C2"], triton.next_power_of_2(s.hidden2)),
    }  # fmt: skip


@triton.jit(do_not_specialize=["first"])
def rollout_kernel(
    before, after, seed, first, clock, n, steps, weights, scaling, stretch, out,
    ENV: tl.constexpr, PRECISION: tl.constexpr, ACTOR: tl.constexpr, CRITIC: tl.constexpr,
    INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr, OUTPUTS: tl.constexpr, RELU: tl.constexpr,
    GAUSSIAN: tl.constexpr, BLOCK: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, index = at < n, at + first  # by which an environment draws
    key, start = tl.load(seed), tl.load(clock)
    e = load_episodes(before, at, inside, ENV)
    prefetched = none_prefetched(e)
    continues = inside
    t = 0
    while t <= steps:  # no `for`, over whose turns Triton 3.6 would carry the state in three layouts
        obs = observed(e, ENV)
        x = features(obs, scaling)
        value = forward_in_pieces(x, weights + CRITIC, C1, C2, INPUTS, HIDDEN1, HIDDEN2, 1, RELU, PRECISION)[0]
        place = tl.cast(t, tl.int64) * n + at
        if t > 0:
            tl.store(out.next_value + place - n, value, mask=continues)
        if t < steps:
            outputs = forward_in_pieces(x, weights + ACTOR, C1, C2, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, RELU, PRECISION)
            if GAUSSIAN:
                sample, log_prob = draw_gaussian(outputs, weights, key, index, start + t)
                action = unpacked(stretched(sample, stretch), ENV)
                store_columns(out.sample, sample, t, at, n, inside)
            else:
                action, log_prob = draw_categorical(outputs, key, index, start + t)
                tl.store(out.sample + place, action, mask=inside)
            store_columns(out.obs, obs, t, at, n, inside)
            tl.store(out.log_prob + place, log_prob, mask=inside)
            tl.store(out.value + place, value, mask=inside)
            e, outcome = advance(e, action, key, index, ENV)
            store_outcome(out, outcome, t, at, n, inside)
            continues = inside & ~outcome.reset
            last_value = tl.zeros_like(value)
            # A truncated step bootstraps from its final observation, which the next row does not hold.
            cut = outcome.truncated & ~outcome.terminated & inside
            if tl.max(cut.to(tl.int32), 0) > 0:
                x = features(observed(e, ENV), scaling)
                last_value = forward_in_pieces(
                    x, weights + CRITIC, C1, C2, INPUTS, HIDDEN1, HIDDEN2, 1, RELU, PRECISION
                )[0]
            tl.store(out.next_value + place, tl.where(cut, last_value, 0.0), mask=inside & outcome.reset)
            e, prefetched = restart(e, outcome, prefetched, key, index, inside, ENV)
        t += 1
    store_episodes(after, e, at, inside)


@triton.jit
def features(obs, scaling):
    if scaling[0] is None:
        return obs
    else:
        return normalized(obs, scaling[0], scaling[1])


@triton.jit
def stretched(sample, stretch):
    """The environment's action, a tuple of lanes."""
    lanes = ()
    for k in tl.static_range(len(sample)):
        within = tl.minimum(tl.maximum(sample[k], -1.0), 1.0)
        lanes = lanes + (tl.load(stretch[0] + k) + tl.load(stretch[1] + k) * within,)
    return lanes


@triton.jit
def store_columns(out, lanes, t, at, n, inside):
    """At `[t]` of `[T, columns, N]`."""
    for k in tl.static_range(len(lanes)):
        tl.store(out + (tl.cast(t, tl.int64) * len(lanes) + k) * n + at, lanes[k], mask=inside)
