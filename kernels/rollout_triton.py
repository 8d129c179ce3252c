"""The rollout kernel: K steps of a block of environments with the policy inside, nothing leaves the registers but results.

Its twin is `gpusim.rollout.rollout` with an `MlpPolicy`, run step by step.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpusim.kernels.episode_triton import Episodes, Game, advance, bare, nothing_ahead, observed, restart
from gpusim.kernels.launch import launch, programs
from gpusim.kernels.mlp_triton import forward_in_pieces, normalized
from gpusim.kernels.policy import MlpPolicy
from gpusim.kernels.sampling_triton import draw_categorical, draw_gaussian
from gpusim.kernels.simulate_triton import load_episodes, store_episodes, store_taken
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
    next_obs: Any = None  # simulate_triton.Transitions has these too
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
    game: Game, e: Episodes, seed: Tensor, clock: Tensor, policy: MlpPolicy, kept: Collected, after: Episodes,
    first: int = 0,
) -> None:  # fmt: skip
    """As many steps as `kept` has room for, in one launch.

    Args:
        e: where the environments stand, tensors `[N]`.
        seed: int64 scalar on the device.
        clock: int64 scalar on the device, steps since seeding; the caller counts it up.
        kept: to be filled.
        after: to be filled with where the environments stand then; may be `e` itself.
        first: the number of the first environment, from which on they draw.
    """
    steps, n = kept.reward.shape
    block = sizes("rollout", seed.device)
    launch(
        rollout_kernel, (programs(n, block["BLOCK"]),), e, after, seed, first, clock, n, steps, policy.flat,
        (policy.mean, policy.scale), (policy.centre, policy.half), kept,
        fp_fusion=False, GAME=game, PRECISION=policy.precision, **_constants(policy, block),
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
    before, after, seed, first, clock, n, steps, weights, scaling, stretch, kept,
    GAME: tl.constexpr, PRECISION: tl.constexpr, ACTOR: tl.constexpr, CRITIC: tl.constexpr,
    INPUTS: tl.constexpr, HIDDEN1: tl.constexpr, HIDDEN2: tl.constexpr, OUTPUTS: tl.constexpr, RELU: tl.constexpr,
    GAUSSIAN: tl.constexpr, BLOCK: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, index = at < n, at + first  # by which an environment draws
    key, now = tl.load(seed), tl.load(clock)
    e = load_episodes(before, at, inside, GAME)
    ahead = nothing_ahead(e)
    goes_on = inside
    t = 0
    while t <= steps:  # no `for`, over whose turns Triton 3.6 would carry the state in three layouts
        obs = observed(e, GAME)
        x = features(obs, scaling)
        value = forward_in_pieces(x, weights + CRITIC, C1, C2, INPUTS, HIDDEN1, HIDDEN2, 1, RELU, PRECISION)[0]
        place = tl.cast(t, tl.int64) * n + at
        if t > 0:
            tl.store(kept.next_value + place - n, value, mask=goes_on)
        if t < steps:
            out = forward_in_pieces(x, weights + ACTOR, C1, C2, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, RELU, PRECISION)
            if GAUSSIAN:
                sample, log_prob = draw_gaussian(out, weights, key, index, now + t)
                action = bare(stretched(sample, stretch), GAME)
                store_columns(kept.sample, sample, t, at, n, inside)
            else:
                action, log_prob = draw_categorical(out, key, index, now + t)
                tl.store(kept.sample + place, action, mask=inside)
            store_columns(kept.obs, obs, t, at, n, inside)
            tl.store(kept.log_prob + place, log_prob, mask=inside)
            tl.store(kept.value + place, value, mask=inside)
            e, taken = advance(e, action, key, index, GAME)
            store_taken(kept, taken, t, at, n, inside)
            goes_on = inside & ~taken.reset
            last_value = tl.zeros_like(value)
            cut = taken.truncated & ~taken.terminated & inside  # followed by an observation that nobody acts on
            if tl.max(cut.to(tl.int32), 0) > 0:
                x = features(observed(e, GAME), scaling)
                last_value = forward_in_pieces(
                    x, weights + CRITIC, C1, C2, INPUTS, HIDDEN1, HIDDEN2, 1, RELU, PRECISION
                )[0]
            tl.store(kept.next_value + place, tl.where(cut, last_value, 0.0), mask=inside & taken.reset)
            e, ahead = restart(e, taken, ahead, key, index, inside, GAME)
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
