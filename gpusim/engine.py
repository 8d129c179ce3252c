"""The step of many environments as a pure function, run eagerly or compiled.

It stands on two operations, a raw step that never resets and a masked reset; the time limit, the three auto-reset
modes and the episode statistics live here, once, above that seam.
"""

import dis
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim.env import Env
from gpusim.kernels.lang import (
    STREAM_ACTION,
    STREAM_INIT,
    STREAM_PARAMS,
    STREAM_STEP,
    Drawn,
    Lane,
    Rng,
    false_like,
    in_columns,
    is_lane,
    uniform,
    where,
    words,
)
from gpusim.kernels.lower import by_function
from gpusim.tree import changed, each_field


class Carry(NamedTuple):
    """All that is remembered between two steps, `[N]` unless said otherwise."""

    state: Any  # the environment's State, every field a lane
    params: Any  # its Params, every field a number or a lane
    elapsed: Lane  # steps since the reset, float32
    episode_return: Lane  # sum of rewards since the reset, float32
    terminated: Lane  # whether the last step ended the episode, bool
    truncated: Lane  # whether it reached the time limit, bool
    episode: Lane  # resets before this one since seeding, int64
    seed: Lane  # int64 scalar


class Step(NamedTuple):
    """What one step returns; flags are bools."""

    obs: Any  # [N, *obs] what to act on next; in SAME_STEP the new episode's first
    final_obs: Any  # [N, *obs] the true successor, before any reset; None: it is `obs`
    reward: Lane  # [N] float32
    terminated: Lane  # [N]
    truncated: Lane  # [N]
    reset: Lane  # [N] whether `obs` is the first of a new episode
    valid: Lane  # [N] whether this row is a transition (not a reset or an idle row); None: all are
    episode_return: Lane  # [N] of the episode so far, this step included, float32
    episode_length: Lane  # [N] likewise, float32; a kernel's int32
    ended: Any = None  # a pair of [N], each where an episode ended; None: it is still to be worked out


def ended(out: Step) -> tuple[Lane, Lane]:
    """Where an episode ended with this step, twice, each in memory of its own."""
    if out.ended is not None:
        return out.ended
    over = out.terminated | out.truncated
    over = over if out.valid is None else over & out.valid
    return over, over.clone()


class Tally(NamedTuple):
    """Episodes that ended since counting began, for each environment, `[N]` float32."""

    episodes: Lane
    return_sum: Lane
    length_sum: Lane


class Mode(NamedTuple):
    """The choices that shape the step; one compiled function for each."""

    autoreset: AutoresetMode
    max_episode_steps: int | None
    random_params: tuple[tuple[str, float, float], ...]  # (field, low, high) drawn at every reset
    draws: bool  # whether the environment's step uses its generator at all
    lanes: tuple[str, ...]  # the fields of Params that are lanes


def fresh(
    env: Env, mode: Mode, params: Any, seed: Lane, index: Lane, episode: Lane, drawn: Any = None
) -> tuple[Any, Any]:
    """The state and parameters that begin episode number `episode` of the environments `index`; `drawn` as in
    `transition`."""
    rng = rng_at((seed, index, episode, 0, STREAM_PARAMS), drawn)
    if mode.random_params:
        chosen = {name: uniform(rng, i, low, high) for i, (name, low, high) in enumerate(mode.random_params)}
        params = params._replace(**chosen)
    return env.init(rng_at((seed, index, episode, 0, STREAM_INIT), drawn), params), params


def rng_at(place: tuple[Any, Any, Any, Any, Any], drawn: Any) -> Any:
    """The generator at (seed, environment, episode, step, stream)."""
    return Rng(*place) if drawn is None else Drawn(*place, words=drawn.get(place[-1]))


@by_function
def draws(step: Callable) -> bool:
    """Whether a `step` function makes any use of its third argument, the generator."""
    code = getattr(getattr(step, "unshaped", step), "__code__", None)  # a shaped step passes it on, used or not
    if code is None or code.co_argcount < 3:
        return True
    name = code.co_varnames[2]
    used = (i.argval for i in dis.get_instructions(code))  # some instructions load two names at once
    return name in code.co_cellvars or any(name == x or (isinstance(x, tuple) and name in x) for x in used)


def advance(env: Env, mode: Mode, c: Carry, action: Any, index: Lane, drawn: Any = None) -> tuple[Carry, Step]:
    """One step of all environments with everything but the reset that may be due."""
    rng = rng_at((c.seed, index, c.episode, c.elapsed, STREAM_STEP), drawn) if mode.draws else None
    before = c
    state, reward, terminated = env.step(c.state, action, rng, c.params)
    reward, terminated = reward + 0.0, terminated | False  # the caller's own, though they may be fields of the state
    if not isinstance(reward, Tensor):  # NumPy makes float64 of an int beside a float
        state, reward = _as(c.state, state), reward.astype(np.float32, copy=False)
    elapsed = c.elapsed + 1.0
    truncated = elapsed >= mode.max_episode_steps if mode.max_episode_steps else false_like(terminated)
    episode_return = c.episode_return + reward
    c = changed(c, state=state, elapsed=elapsed, episode_return=episode_return)
    out = Step(None, None, reward, terminated, truncated, terminated | truncated, None, episode_return, elapsed)
    return (c, out) if mode.autoreset is AutoresetMode.SAME_STEP else _hold(mode, before, c, out)


def _as(like: Any, state: Any) -> Any:
    """The arrays of `state` with the dtypes of `like`."""
    return type(like)(*(new.astype(old.dtype, copy=False) for old, new in zip(like, state, strict=True)))


def _hold(mode: Mode, before: Carry, c: Carry, out: Step) -> tuple[Carry, Step]:
    """Outside SAME_STEP the row of an episode that was over already is no transition: it resets, or it idles."""
    over = before.terminated | before.truncated
    out = changed(out, reward=where(over, 0.0, out.reward), valid=~over)
    if mode.autoreset is AutoresetMode.NEXT_STEP:
        out = changed(out, terminated=out.terminated & ~over, truncated=out.truncated & ~over, reset=over)
    else:
        choose = _chooser(over)
        c = each_field(choose, before, changed(c, state=each_field(choose, before.state, c.state)))
        out = changed(
            out,
            terminated=where(over, before.terminated, out.terminated),
            truncated=where(over, before.truncated, out.truncated),
            reset=false_like(over),
            episode_return=c.episode_return + 0.0,
            episode_length=c.elapsed,
        )
    return changed(c, terminated=out.terminated | False, truncated=out.truncated | False), out


def reset_where(mask: Lane, c: Carry, begun: tuple[Any, Any]) -> Carry:
    """The masked environments begin the episode whose state and parameters are `begun`, given for all of them."""
    choose = _chooser(mask)
    return changed(
        c,
        state=each_field(choose, begun[0], c.state),
        params=c.params if begun[1] is c.params else each_field(choose, begun[1], c.params),
        elapsed=choose(0.0, c.elapsed),
        episode_return=choose(0.0, c.episode_return),
    )


def _chooser(mask: Any) -> Callable[[Any, Any], Any]:
    """`choose(new, old)`: a lane that is `new` where the mask holds; what is a number, or one and the same, stays."""

    def by_mask(new, old):
        if new is old or not is_lane(old):
            return old
        return where(mask if old.ndim == 1 else mask.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    if isinstance(mask, Tensor):
        return by_mask
    rows = mask.nonzero()[0]  # for a few of many this is three times as fast

    def by_rows(new, old):
        if new is old or not is_lane(old):
            return old
        changed = old.copy()
        changed[rows] = new[rows] if is_lane(new) else new
        return changed

    return by_rows


def observe(env: Env, c: Carry) -> Lane:
    """`[N, *obs]`; a vector is stored lane after lane, so it is its transpose that is contiguous."""
    shape = env.observation_space.shape
    if len(shape) > 1:
        return _picture(env, c, shape)
    lanes = env.observe(c.state, c.params)
    stacked = torch.stack(lanes) if isinstance(lanes[0], Tensor) else np.array(lanes, np.float32)
    return stacked.swapaxes(0, -1)


def _picture(env: Env, c: Carry, shape: tuple[int, ...]) -> Lane:
    """An image is computed cell by cell: environments are rows `[N, 1]`, the cells `[1, cells]` lie beside them.

    Compiled for the CPU it is the other way round, so that the inner loop does not divide the number of its cell.
    """
    columns = in_columns(c.state[0])
    beside = (lambda f: f[None]) if columns else (lambda f: f[:, None])
    state, params = (type(x)(*(beside(f) if is_lane(f) else f for f in x)) for x in (c.state, c.params))
    cells, name = math.prod(shape), np.dtype(env.observation_space.dtype).name
    if isinstance(state[0], Tensor):
        cell = torch.arange(cells, dtype=torch.int32, device=state[0].device)
        seen = env.observe(state, cell[:, None] if columns else cell[None], params)
        if columns:  # bools are written as bytes, by vectors
            seen = seen.to(torch.int32).to(torch.uint8).T if name == "bool" else seen.to(getattr(torch, name)).T
        else:
            seen = seen.to(getattr(torch, name))
    else:
        seen = env.observe(state, np.arange(cells, dtype=np.int32)[None], params).astype(name)
    return seen.reshape(-1, *shape)


def transition(
    env: Env,
    mode: Mode,
    c: Carry,
    action: Any,
    index: Lane,
    begun: Any,
    look: bool = True,
    tally: Tally | None = None,
    drawn: Any = None,
) -> tuple[Carry, Step, Tally | None]:
    """One step and the resets due; `Carry.episode` is left to the caller.

    Args:
        begun: `fresh(...)` of every environment's next episode.
        look: whether observations are wanted.
        tally: what to count ended episodes in.
        drawn: the words that the step needs, see `gpusim.kernels.lang.Drawn`; None: it draws them.
    """
    after, out = advance(env, mode, c, action, index, drawn)
    tally = tally and count(tally, out)
    final_obs = observe(env, after) if look else None
    if mode.autoreset is AutoresetMode.DISABLED:
        return after, changed(out, obs=final_obs), tally
    new = reset_where(out.reset, after, begun)
    obs = observe(env, new) if look else None
    if mode.autoreset is AutoresetMode.SAME_STEP:
        return new, changed(out, obs=obs, final_obs=final_obs), tally
    return new, changed(out, obs=obs, episode_return=new.episode_return + 0.0, episode_length=new.elapsed), tally


def count(t: Tally, out: Step) -> Tally:
    over = out.terminated | out.truncated
    over = over if out.valid is None else over & out.valid
    return Tally(
        t.episodes + over,
        t.return_sum + where(over, out.episode_return, 0.0),
        t.length_sum + where(over, out.episode_length, 0.0),
    )


def random_actions(space, seed: Tensor, index: Tensor, block: Tensor) -> Tensor:
    """Uniform actions, for one word of a block after the other.

    Args:
        space: `Discrete` or `Box` of d entries.
        block: int64 `[B]`; block number b holds words 4b to 4b + 3 of every environment's stream.

    Returns:
        `[4 * B, N]` int32 for `Discrete`; float32 in [0, 1) for `Box`, still to be gathered d by d and scaled.
    """
    rng = Rng(seed, index, (block & 0xFFFFFFFF)[:, None], (block >> 32)[:, None], STREAM_ACTION)
    if isinstance(space, Discrete):
        drawn = [((word * int(space.n)) >> 32).to(torch.int32) for word in words(rng, 0)]
    else:
        drawn = [(word >> 8).to(torch.float32) * 2.0**-24 for word in words(rng, 0)]
    return torch.stack(drawn, dim=1).flatten(0, 1)
