"""The step of many environments as a pure function, run eagerly or compiled.

It stands on two operations, a raw step that never resets and a masked reset; the time limit, the three auto-reset
modes and the episode statistics are those of `gpusim.book`.
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

from gpusim.book import Book, Rules, Step, Tally, account, chooser, count
from gpusim.env import Env
from gpusim.kernels.lang import (
    STREAM_ACTION,
    STREAM_INIT,
    STREAM_PARAMS,
    STREAM_STEP,
    Lane,
    Rng,
    is_lane,
    uniform,
    words,
)
from gpusim.kernels.lower import by_function
from gpusim.tree import changed, each_field


class Carry(NamedTuple):
    """All that is remembered between two steps."""

    state: Any  # the environment's State, every field a lane
    params: Any  # its Params, every field a number or a lane
    book: Book
    episode: Lane  # [N] resets before this one since seeding, int64
    seed: Lane  # int64 scalar, or [N]


class Fresh(NamedTuple):
    """What an episode begins with, for every environment."""

    state: Any  # the environment's State
    params: Any  # its Params


class Mode(NamedTuple):
    """The choices that shape the step; one compiled function for each."""

    rules: Rules
    random_params: tuple[tuple[str, float, float], ...]  # (field, low, high) drawn at every reset
    draws: bool  # whether the environment's step uses its generator at all
    per_env: tuple[str, ...]  # the fields of Params that are lanes: each environment has its own value


def fresh(env: Env, mode: Mode, params: Any, seed: Lane, index: Lane, episode: Lane) -> Fresh:
    """The state and parameters that begin episode number `episode` of the environments `index`."""
    rng = Rng(seed, index, episode, 0, STREAM_PARAMS)
    if mode.random_params:
        drawn = {name: uniform(rng, i, low, high) for i, (name, low, high) in enumerate(mode.random_params)}
        params = params._replace(**drawn)
    return Fresh(env.init(Rng(seed, index, episode, 0, STREAM_INIT), env.with_tables(params)), params)


@by_function
def draws(step: Callable) -> bool:
    """Whether a `step` function makes any use of its third argument, the generator."""
    code = getattr(getattr(step, "unshaped", step), "__code__", None)  # a shaped step passes it on, used or not
    if code is None or code.co_argcount < 3:
        return True
    name = code.co_varnames[2]
    used = (i.argval for i in dis.get_instructions(code))  # some instructions load two names at once
    return name in code.co_cellvars or any(name == x or (isinstance(x, tuple) and name in x) for x in used)


def advance(env: Env, mode: Mode, c: Carry, action: Any, index: Lane) -> tuple[Carry, Step]:
    """One step of all environments with everything but the beginnings that may be due."""
    rng = Rng(c.seed, index, c.episode, c.book.elapsed, STREAM_STEP) if mode.draws else None
    state, reward, terminated = env.step(c.state, action, rng, env.with_tables(c.params))
    reward, terminated = reward + 0.0, terminated | False  # copies: a step may return fields of its state
    if isinstance(reward, np.ndarray):  # NumPy makes float64 of an int beside a float
        state, reward = _as(c.state, state), reward.astype(np.float32, copy=False)
    book, out = account(mode.rules, c.book, reward, terminated)
    if mode.rules.autoreset is AutoresetMode.DISABLED:
        state = each_field(chooser(~out.valid, shared=True), c.state, state)
    return changed(c, state=state, book=book), out


def _as(like: Any, state: Any) -> Any:
    """The arrays of `state` with the dtypes of `like`."""
    return type(like)(*(new.astype(old.dtype, copy=False) for old, new in zip(like, state, strict=True)))


def begin_where(mask: Lane, c: Carry, new: Fresh) -> Carry:
    """The masked environments begin the episode `new`, which is given for all of them; the book is left to the caller."""
    choose = chooser(mask, shared=True)
    params = c.params if new.params is c.params else each_field(choose, new.params, c.params)
    return changed(c, state=each_field(choose, new.state, c.state), params=params)


def action_lanes(actions: Tensor) -> Any:
    """Actions `[N]` or `[N, d]` as `Env.step` takes them: a lane, or a tuple of lanes for a `Box` of more than one entry."""
    if actions.ndim == 1:
        return actions
    return actions.squeeze(1) if actions.shape[1] == 1 else actions.unbind(1)


def observation(env: Env, state: Any, params: Any) -> Lane:
    """`[N, *obs]`; a vector is stored lane after lane, so it is its transpose that is contiguous."""
    shape = env.observation_space.shape
    if len(shape) > 1:
        return _picture(env, state, params, shape)
    entries = env.observe(state, env.with_tables(params))
    stacked = torch.stack(entries) if isinstance(entries[0], Tensor) else np.array(entries, np.float32)
    return stacked.swapaxes(0, -1)


def _picture(env: Env, state: Any, params: Any, shape: tuple[int, ...]) -> Lane:
    """An image is computed cell by cell: environments are rows `[N, 1]`, the cells `[1, cells]` lie beside them."""
    state, params = (type(x)(*(f[:, None] if is_lane(f) else f for f in x)) for x in (state, params))
    params = env.with_tables(params)
    cells, name = math.prod(shape), np.dtype(env.observation_space.dtype).name
    if isinstance(state[0], Tensor):
        cell = torch.arange(cells, dtype=torch.int32, device=state[0].device)
        seen = env.observe(state, cell[None], params).to(getattr(torch, name))
    else:
        seen = env.observe(state, np.arange(cells, dtype=np.int32)[None], params).astype(name)
    return seen.reshape(-1, *shape)


def transition(
    env: Env,
    mode: Mode,
    c: Carry,
    action: Any,
    index: Lane,
    beginning: Fresh,
    observe: bool = True,
    tally: Tally | None = None,
) -> tuple[Carry, Step, Tally | None]:
    """One step and the resets due; `Carry.episode` is left to the caller.

    Args:
        beginning: `fresh(...)` of every environment's next episode.
        observe: whether observations are wanted.
        tally: what to count ended episodes in.
    """
    after, out = advance(env, mode, c, action, index)
    tally = tally and count(tally, out)
    same = mode.rules.autoreset is AutoresetMode.SAME_STEP
    final_obs = observation(env, after.state, after.params) if observe else None
    if mode.rules.autoreset is AutoresetMode.DISABLED:
        return after, changed(out, obs=final_obs), tally
    new = begin_where(out.reset, after, beginning)
    obs = observation(env, new.state, new.params) if observe else None
    return new, changed(out, obs=obs, final_obs=final_obs if same else None), tally


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
        numbers = [((word * int(space.n)) >> 32).to(torch.int32) for word in words(rng, 0)]
    else:
        numbers = [(word >> 8).to(torch.float32) * 2.0**-24 for word in words(rng, 0)]
    return torch.stack(numbers, dim=1).flatten(0, 1)
