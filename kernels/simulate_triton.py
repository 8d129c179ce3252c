"""The fused environment kernel: K steps of a block of environments in registers, one load before and one store after.

One template for every environment; its twin is `gpusim.engine`, run step by step.
"""

# mypy: disable-error-code="assignment"

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpusim.kernels.episode_triton import (
    SAME_STEP,
    Episodes,
    LoweredEnv,
    advance,
    load,
    load_lanes,
    next_word,
    none_prefetched,
    random_action,
    restart,
    store,
    store_observation,
    unpacked,
    word_block,
)
from gpusim.kernels.launch import launch, programs
from gpusim.kernels.tune import of_state


class Outputs(NamedTuple):
    """Buffers for what came of every step, `[T, N]` unless said otherwise; where there is None, nothing is stored."""

    obs: Any = None  # [T, D, N], or [T, N, cells] of an image
    action: Any = None  # [T, N] int32, or [T, d, N] float32
    reward: Any = None
    terminated: Any = None
    truncated: Any = None
    next_obs: Any = None  # as obs: the true successor, before any reset
    reset: Any = None
    valid: Any = None
    episode_return: Any = None
    episode_length: Any = None  # float32 or int32
    ended: Any = ()  # any number of them, each filled alike: whether an episode ended, terminated or truncated


class Tally(NamedTuple):
    """Episodes that ended, for each environment, `[N]` float32."""

    episodes: Any
    return_sum: Any
    length_sum: Any


def simulate(
    env: LoweredEnv, e: Episodes, seed: Tensor, clock: int, steps: int, actions: Any, out: Outputs, last_obs: Any,
    tally: Tally | None, counted: Tally | None = None, first: int = 0,
) -> Episodes:  # fmt: skip
    """`steps` steps of every environment.

    Args:
        e: where they stand, tensors `[N]`; left as it is.
        seed: int64 scalar on the device.
        clock: steps since seeding, the counter of random actions.
        actions: `[T, N]` int32 or int64, `[T, d, N]` float32, or None for random ones.
        out: tensors to be filled.
        last_obs: `[D, N]` or `[N, cells]` to be filled with what to act on next, or None.
        tally: to be filled with the episodes that end, or None.
        counted: those before, to which they are added; None: there were none.
        first: the number of the first environment, from which on they draw.

    Returns:
        Where the environments stand now, in new tensors.
    """
    kept = e._replace(tables=())
    after = Episodes(*(tuple(map(torch.empty_like, x)) if isinstance(x, tuple) else torch.empty_like(x) for x in kept))
    n = e.elapsed.shape[0]
    block = of_state(env.widths, seed.device)
    grid = (programs(n, block["BLOCK"]),)
    launch(
        simulate_kernel, grid, e, after, seed, first, clock, n, steps, actions, out, last_obs, tally, counted,
        fp_fusion=False, ENV=env, **block,
    )  # fmt: skip
    return after


@triton.jit(do_not_specialize=["clock", "first"])
def simulate_kernel(
    before, after, seed, first, clock, n, steps, actions, out, last_obs, tally, counted,
    ENV: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, index = at < n, at + first  # by which an environment draws
    key = tl.load(seed)
    e = load_episodes(before, at, inside, ENV)
    prefetched = none_prefetched(e)
    number = tl.cast(clock, tl.int64)
    if actions is None:
        entries: tl.constexpr = 1 if ENV.actions > 0 else len(ENV.low)
        words = word_block(number * entries, key, index, ENV)
        for _ in range((number * entries) % 4):
            _, words = next_word(words, 1, key, index, ENV)
    else:
        words = ()
    zero = tl.zeros((BLOCK,), tl.float32)
    episodes, returns, lengths = zero, zero, zero
    for t in range(steps):
        if out.obs is not None:
            store_observation(out.obs, t, e, at, n, inside, ENV, CHUNK)
        if actions is None:
            action, words = random_action(words, number + t, key, index, ENV)
        else:
            action = load_action(actions, t, at, n, inside, ENV)
        if out.action is not None:
            store_action(out.action, action, t, at, n, inside, ENV)
        e, outcome = advance(e, unpacked(action, ENV), key, index, ENV)
        over = (outcome.terminated | outcome.truncated) & outcome.valid
        for k in tl.static_range(len(out.ended)):
            tl.store(out.ended[k] + tl.cast(t, tl.int64) * n + at, over, mask=inside)
        if tally is not None:
            episodes += over.to(tl.float32)
            returns += tl.where(over, outcome.episode_return, 0.0)
            lengths += tl.where(over, outcome.episode_length, 0.0)
        if ENV.autoreset == SAME_STEP:
            if out.next_obs is not None:
                store_observation(out.next_obs, t, e, at, n, inside, ENV, CHUNK)
            store_outcome(out, outcome, t, at, n, inside)
            e, prefetched = restart(e, outcome, prefetched, key, index, inside, ENV)
        else:
            e, prefetched = restart(e, outcome, prefetched, key, index, inside, ENV)
            if out.next_obs is not None:
                store_observation(out.next_obs, t, e, at, n, inside, ENV, CHUNK)
            store_outcome(out, outcome, t, at, n, inside)
    store_episodes(after, e, at, inside)
    if last_obs is not None:
        store_observation(last_obs, 0, e, at, n, inside, ENV, CHUNK)
    if tally is not None:
        total = (episodes, returns, lengths)
        if counted is not None:
            earlier = load_lanes(counted, at, inside)
            total = (earlier[0] + episodes, earlier[1] + returns, earlier[2] + lengths)
        store(tally, total, at, inside)


@triton.jit
def load_episodes(pointers, at, inside, ENV: tl.constexpr):
    flags = ()
    if ENV.autoreset != SAME_STEP:
        terminated, truncated = load_lanes(pointers.flags, at, inside)
        flags = (terminated != 0, truncated != 0)
    return Episodes(
        load(pointers.state, at, inside, ENV),
        load_lanes(pointers.per_env, at, inside),
        tl.load(pointers.elapsed + at, mask=inside, other=0),
        tl.load(pointers.episode_return + at, mask=inside, other=0),
        tl.load(pointers.episode + at, mask=inside, other=0),
        flags,
        pointers.tables,
    )


@triton.jit
def store_episodes(pointers, e, at, inside):
    store(pointers.state, e.state, at, inside)
    store(pointers.per_env, e.per_env, at, inside)
    tl.store(pointers.elapsed + at, e.elapsed, mask=inside)
    tl.store(pointers.episode_return + at, e.episode_return, mask=inside)
    tl.store(pointers.episode + at, e.episode, mask=inside)
    store(pointers.flags, e.flags, at, inside)


@triton.jit
def load_action(actions, t, at, n, inside, ENV: tl.constexpr):
    if ENV.actions > 0:
        return tl.load(actions + tl.cast(t, tl.int64) * n + at, mask=inside, other=0)
    else:
        lanes = ()
        for j in tl.static_range(len(ENV.low)):
            place = (tl.cast(t, tl.int64) * len(ENV.low) + j) * n + at
            lanes = lanes + (tl.load(actions + place, mask=inside, other=0),)
        return lanes


@triton.jit
def store_action(out, action, t, at, n, inside, ENV: tl.constexpr):
    if ENV.actions > 0:
        tl.store(out + tl.cast(t, tl.int64) * n + at, action, mask=inside)
    else:
        for j in tl.static_range(len(ENV.low)):
            tl.store(out + (tl.cast(t, tl.int64) * len(ENV.low) + j) * n + at, action[j], mask=inside)


@triton.jit
def store_outcome(out, outcome, t, at, n, inside):
    place = tl.cast(t, tl.int64) * n + at
    if out.reward is not None:
        tl.store(out.reward + place, outcome.reward, mask=inside)
    if out.terminated is not None:
        tl.store(out.terminated + place, outcome.terminated, mask=inside)
    if out.truncated is not None:
        tl.store(out.truncated + place, outcome.truncated, mask=inside)
    if out.reset is not None:
        tl.store(out.reset + place, outcome.reset, mask=inside)
    if out.valid is not None:
        tl.store(out.valid + place, outcome.valid, mask=inside)
    if out.episode_return is not None:
        tl.store(out.episode_return + place, outcome.episode_return, mask=inside)
    if out.episode_length is not None:
        tl.store(out.episode_length + place, outcome.episode_length, mask=inside)
