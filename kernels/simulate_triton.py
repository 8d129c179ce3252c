"""The fused environment kernel: K steps of a block of environments in registers, one load before and one store after.

One template for every environment; its twin is `gpusim.engine`, run step by step.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpusim.kernels.episode_triton import (
    SAME_STEP,
    Episodes,
    Game,
    advance,
    bare,
    load,
    load_lanes,
    next_word,
    nothing_ahead,
    random_action,
    restart,
    store,
    store_observation,
    word_block,
)
from gpusim.kernels.launch import launch, programs
from gpusim.kernels.tune import of_state


class Transitions(NamedTuple):
    """What is kept of every step, `[T, N]` unless said otherwise; None is not kept."""

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
    ended: Any = ()  # a tuple, each to be told where an episode ended: terminated or truncated, and valid


class Tally(NamedTuple):
    """Episodes that ended, for each environment, `[N]` float32."""

    episodes: Any
    return_sum: Any
    length_sum: Any


def simulate(
    game: Game, e: Episodes, seed: Tensor, clock: int, steps: int, actions: Any, kept: Transitions, last_obs: Any,
    tally: Tally | None, counted: Tally | None = None, first: int = 0,
) -> Episodes:  # fmt: skip
    """`steps` steps of every environment.

    Args:
        e: where they stand, tensors `[N]`; left as it is.
        seed: int64 scalar on the device.
        clock: steps since seeding, the counter of random actions.
        actions: `[T, N]` int32 or int64, `[T, d, N]` float32, or None for random ones.
        kept: tensors to be filled.
        last_obs: `[D, N]` or `[N, cells]` to be filled with what to act on next, or None.
        tally: to be filled with the episodes that end, or None.
        counted: those before, to which they are added; None: there were none.
        first: the number of the first environment, from which on they draw.

    Returns:
        Where the environments stand now, in new tensors.
    """
    after = Episodes(*(tuple(map(torch.empty_like, x)) if isinstance(x, tuple) else torch.empty_like(x) for x in e))
    n = e.elapsed.shape[0]
    block = of_state(game.widths, seed.device)
    grid = (programs(n, block["BLOCK"]),)
    launch(
        simulate_kernel, grid, e, after, seed, first, clock, n, steps, actions, kept, last_obs, tally, counted,
        fp_fusion=False, GAME=game, **block,
    )  # fmt: skip
    return after


@triton.jit(do_not_specialize=["clock", "first"])
def simulate_kernel(
    before, after, seed, first, clock, n, steps, actions, kept, last_obs, tally, counted,
    GAME: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, index = at < n, at + first  # by which an environment draws
    key = tl.load(seed)
    e = load_episodes(before, at, inside, GAME)
    ahead = nothing_ahead(e)
    number = tl.cast(clock, tl.int64)
    if actions is None:
        entries: tl.constexpr = 1 if GAME.actions > 0 else len(GAME.low)
        four = word_block(number * entries, key, index, GAME)
        for _ in range((number * entries) % 4):
            _, four = next_word(four, 1, key, index, GAME)
    else:
        four = ()
    zero = tl.zeros((BLOCK,), tl.float32)
    episodes, returns, lengths = zero, zero, zero
    for t in range(steps):
        if kept.obs is not None:
            store_observation(kept.obs, t, e, at, n, inside, GAME, CHUNK)
        if actions is None:
            action, four = random_action(four, number + t, key, index, GAME)
        else:
            action = load_action(actions, t, at, n, inside, GAME)
        if kept.action is not None:
            store_action(kept.action, action, t, at, n, inside, GAME)
        e, taken = advance(e, bare(action, GAME), key, index, GAME)
        over = (taken.terminated | taken.truncated) & taken.valid
        for k in tl.static_range(len(kept.ended)):
            tl.store(kept.ended[k] + tl.cast(t, tl.int64) * n + at, over, mask=inside)
        if tally is not None:
            episodes += over.to(tl.float32)
            returns += tl.where(over, taken.episode_return, 0.0)
            lengths += tl.where(over, taken.episode_length, 0.0)
        if GAME.autoreset == SAME_STEP:
            if kept.next_obs is not None:
                store_observation(kept.next_obs, t, e, at, n, inside, GAME, CHUNK)
            store_taken(kept, taken, t, at, n, inside)
            e, ahead = restart(e, taken, ahead, key, index, inside, GAME)
        else:
            e, ahead = restart(e, taken, ahead, key, index, inside, GAME)
            if kept.next_obs is not None:
                store_observation(kept.next_obs, t, e, at, n, inside, GAME, CHUNK)
            store_taken(kept, taken, t, at, n, inside)
    store_episodes(after, e, at, inside)
    if last_obs is not None:
        store_observation(last_obs, 0, e, at, n, inside, GAME, CHUNK)
    if tally is not None:
        total = (episodes, returns, lengths)
        if counted is not None:
            earlier = load_lanes(counted, at, inside)
            total = (earlier[0] + episodes, earlier[1] + returns, earlier[2] + lengths)
        store(tally, total, at, inside)


@triton.jit
def load_episodes(pointers, at, inside, GAME: tl.constexpr):
    flags = ()
    if GAME.autoreset != SAME_STEP:
        terminated, truncated = load_lanes(pointers.flags, at, inside)
        flags = (terminated != 0, truncated != 0)
    return Episodes(
        load(pointers.state, at, inside, GAME),
        load_lanes(pointers.lanes, at, inside),
        tl.load(pointers.elapsed + at, mask=inside, other=0),
        tl.load(pointers.episode_return + at, mask=inside, other=0),
        tl.load(pointers.episode + at, mask=inside, other=0),
        flags,
    )


@triton.jit
def store_episodes(pointers, e, at, inside):
    store(pointers.state, e.state, at, inside)
    store(pointers.lanes, e.lanes, at, inside)
    tl.store(pointers.elapsed + at, e.elapsed, mask=inside)
    tl.store(pointers.episode_return + at, e.episode_return, mask=inside)
    tl.store(pointers.episode + at, e.episode, mask=inside)
    store(pointers.flags, e.flags, at, inside)


@triton.jit
def load_action(actions, t, at, n, inside, GAME: tl.constexpr):
    if GAME.actions > 0:
        return tl.load(actions + tl.cast(t, tl.int64) * n + at, mask=inside, other=0)
    else:
        lanes = ()
        for j in tl.static_range(len(GAME.low)):
            place = (tl.cast(t, tl.int64) * len(GAME.low) + j) * n + at
            lanes = lanes + (tl.load(actions + place, mask=inside, other=0),)
        return lanes


@triton.jit
def store_action(out, action, t, at, n, inside, GAME: tl.constexpr):
    if GAME.actions > 0:
        tl.store(out + tl.cast(t, tl.int64) * n + at, action, mask=inside)
    else:
        for j in tl.static_range(len(GAME.low)):
            tl.store(out + (tl.cast(t, tl.int64) * len(GAME.low) + j) * n + at, action[j], mask=inside)


@triton.jit
def store_taken(kept, taken, t, at, n, inside):
    place = tl.cast(t, tl.int64) * n + at
    if kept.reward is not None:
        tl.store(kept.reward + place, taken.reward, mask=inside)
    if kept.terminated is not None:
        tl.store(kept.terminated + place, taken.terminated, mask=inside)
    if kept.truncated is not None:
        tl.store(kept.truncated + place, taken.truncated, mask=inside)
    if kept.reset is not None:
        tl.store(kept.reset + place, taken.reset, mask=inside)
    if kept.valid is not None:
        tl.store(kept.valid + place, taken.valid, mask=inside)
    if kept.episode_return is not None:
        tl.store(kept.episode_return + place, taken.episode_return, mask=inside)
    if kept.episode_length is not None:
        tl.store(kept.episode_length + place, taken.episode_length, mask=inside)
