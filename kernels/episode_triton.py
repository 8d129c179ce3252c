"""An episode inside a kernel: step, time limit, auto-reset and statistics of a block of environments, in registers.

The specification is `gpusim.engine` and `gpusim.book`, function by function. What differs is when beginnings are drawn: each
environment has its next one prefetched, and a block draws anew only when one of its environments has used its own and
needs another. A draw is a pure function of (seed, environment, episode), so drawing the others again changes nothing.
"""

# mypy: disable-error-code="assignment"

import dataclasses
from typing import Any, NamedTuple

import triton
import triton.language as tl

from gpusim.kernels.lang import STREAM_ACTION, STREAM_INIT, STREAM_PARAMS, STREAM_STEP, Rng
from gpusim.kernels.lang_triton import Table, uniform, words

ACTION, INIT, PARAMS, STEP = map(tl.constexpr, (STREAM_ACTION, STREAM_INIT, STREAM_PARAMS, STREAM_STEP))
SAME_STEP, NEXT_STEP, DISABLED = map(tl.constexpr, range(3))


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class LoweredEnv:
    """An environment's lowered functions, the layout of its state, and its time limit and spaces: a compile-time constant.

    No tuple, as Triton looks into those and stumbles over classes.
    """

    init: Any  # the lowered functions
    step: Any
    observe: Any
    state: Any  # the class of its State
    params: Any  # of its Params
    widths: tuple[int, ...]  # entities in each field of the state; 0: a lane
    numbers: tuple  # of each parameter its number; None: it differs among environments
    slots: tuple[int, ...]  # of each parameter its place in `Episodes.per_env`; -1: it is a number
    ranges: tuple[tuple[int, float, float], ...]  # (slot, low, high) of the parameters that every reset draws anew
    limit: int  # time limit; 0: none
    autoreset: int
    cells: int  # of an image observation; 0: a vector
    actions: int  # how many a `Discrete` space has; 0: a `Box`
    low: tuple[float, ...]  # of a `Box`
    span: tuple[float, ...]  # high - low
    columns: tuple[int, ...] = ()  # of each table

    @property
    def cache_key(self) -> str:
        """By which a compiled kernel is found again: with the functions' sources and the order of the classes' fields."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        functions, classes = (f.cache_key for f in values[:3]), values[3:5]
        return "-".join(
            (*functions, *(f"{c.__module__}.{c.__qualname__}{c._fields}" for c in classes), str(values[5:]))
        )

    def __repr__(self) -> str:
        return f"LoweredEnv({self.cache_key})"


class Episodes(NamedTuple):
    """As `gpusim.engine.Carry`: pointers to `[N]` where it is a kernel's argument, blocks in registers within."""

    state: Any  # of every field
    per_env: Any  # of every parameter that differs among environments
    elapsed: Any  # float32
    episode_return: Any  # float32
    episode: Any  # int64
    flags: Any  # whether the last step terminated and truncated it, bools; empty in SAME_STEP, which does not look back
    tables: Any = ()  # of each its pointer and how many rows it has, everywhere


class Prefetched(NamedTuple):
    """The next beginning of each environment, drawn before it is needed."""

    state: Any
    per_env: Any
    used: Any  # whether an episode has begun with it


class Book(NamedTuple):
    """As `gpusim.book.Book`, `[BLOCK]`."""

    elapsed: Any  # float32
    episode_return: Any  # float32
    flags: Any  # as those of `Episodes`


class Outcome(NamedTuple):
    """What came of a step, `[BLOCK]`; as `gpusim.book.Step`, without observations."""

    reward: Any
    terminated: Any
    truncated: Any
    reset: Any
    valid: Any
    episode_return: Any
    episode_length: Any


@triton.jit
def load(pointers, at, mask, ENV: tl.constexpr):
    fields = ()
    for k in tl.static_range(len(pointers)):
        if ENV.widths[k] == 0:
            fields = fields + (tl.load(pointers[k] + at, mask=mask, other=0),)
        else:
            place = at[:, None] * ENV.widths[k] + tl.arange(0, ENV.widths[k])[None, :]
            fields = fields + (tl.load(pointers[k] + place, mask=mask[:, None], other=0),)
    return fields


@triton.jit
def load_lanes(pointers, at, mask):
    fields = ()
    for k in tl.static_range(len(pointers)):
        fields = fields + (tl.load(pointers[k] + at, mask=mask, other=0),)
    return fields


@triton.jit
def store(pointers, values, at, mask):
    for k in tl.static_range(len(pointers)):
        if len(values[k].shape) == 1:
            tl.store(pointers[k] + at, values[k], mask=mask)
        else:
            place = at[:, None] * values[k].shape[1] + tl.arange(0, values[k].shape[1])[None, :]
            tl.store(pointers[k] + place, values[k], mask=mask[:, None])


@triton.jit
def parameters(per_env, tables, ENV: tl.constexpr):
    """The environment's Params: its numbers are compile-time constants, as exact as they are in Python. Tables follow."""
    fields = ()
    for k in tl.static_range(len(ENV.slots)):
        if ENV.slots[k] < 0:
            fields = fields + (ENV.numbers[k],)
        else:
            fields = fields + (per_env[ENV.slots[k]],)
    for k in tl.static_range(len(ENV.columns)):
        fields = fields + (Table(tables[k][0], tables[k][1], ENV.columns[k]),)
    return ENV.params(*fields)


@triton.jit
def where_each(mask, new, old):
    fields = ()
    for k in tl.static_range(len(old)):
        if len(old[k].shape) == 1:
            fields = fields + (tl.where(mask, new[k], old[k]),)
        else:
            fields = fields + (tl.where(mask[:, None], new[k], old[k]),)
    return fields


@triton.jit
def cast_like(new, old):
    """`new` with the dtypes of `old`."""
    fields = ()
    for k in tl.static_range(len(old)):
        fields = fields + (tl.cast(new[k], old[k].dtype),)
    return fields


@triton.jit
def redrawn(per_env, rng, ENV: tl.constexpr):
    """The parameters, of which those that have a range are drawn from it."""
    for i in tl.static_range(len(ENV.ranges)):
        value = uniform(rng, i, ENV.ranges[i][1], ENV.ranges[i][2])
        fields = ()
        for k in tl.static_range(len(per_env)):
            if ENV.ranges[i][0] == k:
                fields = fields + (value,)
            else:
                fields = fields + (per_env[k],)
        per_env = fields
    return per_env


@triton.jit
def none_prefetched(e):
    """Before the first draw: as if all had been used."""
    return Prefetched(e.state, e.per_env, e.elapsed >= 0)


@triton.jit
def begin(e, seed, index, ENV: tl.constexpr):
    """The next beginning of every environment (`gpusim.engine.fresh`)."""
    per_env = redrawn(e.per_env, Rng(seed, index, e.episode + 1, 0, PARAMS), ENV)
    state = ENV.init(Rng(seed, index, e.episode + 1, 0, INIT), parameters(per_env, e.tables, ENV))
    return Prefetched(cast_like(state, e.state), per_env, e.elapsed < 0)


@triton.jit
def advance(e, action, seed, index, ENV: tl.constexpr):
    """One step with everything but the reset that may be due (`gpusim.engine.advance`)."""
    rng = Rng(seed, index, e.episode, e.elapsed, STEP)
    state, reward, terminated = ENV.step(ENV.state(*e.state), action, rng, parameters(e.per_env, e.tables, ENV))
    state = cast_like(state, e.state)
    reward, terminated = tl.cast(reward, tl.float32) + 0 * e.elapsed, terminated | (e.elapsed < 0)
    book, outcome = account(Book(e.elapsed, e.episode_return, e.flags), reward, terminated, ENV.autoreset, ENV.limit)
    if ENV.autoreset == DISABLED:
        state = where_each(outcome.valid, state, e.state)
    return Episodes(state, e.per_env, book.elapsed, book.episode_return, e.episode, book.flags, e.tables), outcome


@triton.jit
def account(book, reward, terminated, AUTORESET: tl.constexpr, LIMIT: tl.constexpr):
    """What becomes of one raw step (`gpusim.book.account`); a `LIMIT` of 0 is none."""
    elapsed, total = book.elapsed + 1.0, book.episode_return + reward
    nothing = book.elapsed < 0
    truncated = nothing
    if LIMIT > 0:
        truncated = elapsed >= LIMIT
    if AUTORESET == SAME_STEP:
        reset = terminated | truncated
        outcome = Outcome(reward, terminated, truncated, reset, elapsed > 0, total, elapsed)
        return Book(tl.where(reset, 0.0, elapsed), tl.where(reset, 0.0, total), book.flags), outcome
    else:
        over = book.flags[0] | book.flags[1]
        valid = ~over  # otherwise the episode was over already: the row resets, or it idles
        if AUTORESET == NEXT_STEP:
            terminated, truncated, reset = terminated & valid, truncated & valid, over
            elapsed, total = tl.where(over, 0.0, elapsed), tl.where(over, 0.0, total)
        else:
            elapsed, total = tl.where(over, book.elapsed, elapsed), tl.where(over, book.episode_return, total)
            terminated = tl.where(over, book.flags[0], terminated)
            truncated = tl.where(over, book.flags[1], truncated)
            reset = nothing
        outcome = Outcome(tl.where(over, 0.0, reward), terminated, truncated, reset, valid, total, elapsed)
        return Book(elapsed, total, (terminated, truncated)), outcome


@triton.jit
def restart(e, outcome, prefetched, seed, index, inside, ENV: tl.constexpr):
    """The resets that are due (`gpusim.engine.begin_where`); all beginnings are drawn anew if one of them was used."""
    if ENV.autoreset != DISABLED:
        due = outcome.reset & inside
        if tl.max((due & prefetched.used).to(tl.int32), 0) > 0:
            prefetched = begin(e, seed, index, ENV)
        per_env = e.per_env
        if len(ENV.ranges) > 0:
            per_env = where_each(due, prefetched.per_env, per_env)
        episode = e.episode + due.to(tl.int64)
        e = Episodes(
            where_each(due, prefetched.state, e.state), per_env, e.elapsed, e.episode_return, episode, e.flags, e.tables
        )
        prefetched = Prefetched(prefetched.state, prefetched.per_env, prefetched.used | due)
    return e, prefetched


@triton.jit
def observed(e, ENV: tl.constexpr):
    """The entries of a vector observation, a tuple of lanes."""
    return ENV.observe(ENV.state(*e.state), parameters(e.per_env, e.tables, ENV))


@triton.jit
def as_columns(fields):
    out = ()
    for k in tl.static_range(len(fields)):
        out = out + (fields[k][:, None],)
    return out


@triton.jit
def store_observation(out, t, e, at, n, inside, ENV: tl.constexpr, CHUNK: tl.constexpr):
    """At `[t]` of a vector's `[T, D, N]` or an image's `[T, N, cells]`, which is drawn cell by cell."""
    if ENV.cells == 0:
        seen = observed(e, ENV)
        for k in tl.static_range(len(seen)):
            tl.store(out + (tl.cast(t, tl.int64) * len(seen) + k) * n + at, seen[k], mask=inside)
    else:
        state, params = ENV.state(*as_columns(e.state)), parameters(as_columns(e.per_env), e.tables, ENV)
        row = (tl.cast(t, tl.int64) * n + at)[:, None] * ENV.cells
        for first in range(0, ENV.cells, CHUNK):  # a loop at run time: unrolled, it would fill the registers
            cell = first + tl.arange(0, CHUNK)[None, :]
            seen = ENV.observe(state, cell, params)
            if out.dtype.element_ty == tl.int1:
                seen = seen != 0
            tl.store(out + row + cell, seen, mask=inside[:, None] & (cell < ENV.cells))


@triton.jit
def word_block(number, seed, index, ENV: tl.constexpr):
    """The block of four random words with word `number` of an environment's stream of random actions."""
    counter = number // 4
    return words(Rng(seed, index, counter & 0xFFFFFFFF, counter >> 32, ACTION), 0)


@triton.jit
def next_word(block, number, seed, index, ENV: tl.constexpr):
    """Random word `number`, and its block of four turned by one, so that the next word is always the first."""
    if number % 4 == 0:
        block = word_block(number, seed, index, ENV)
    return block[0], (block[1], block[2], block[3], block[0])


@triton.jit
def random_action(block, clock, seed, index, ENV: tl.constexpr):
    """`gpusim.engine.random_actions`: the action of step number `clock`, and the block that holds the next words."""
    if ENV.actions > 0:
        word, block = next_word(block, clock, seed, index, ENV)
        return ((word.to(tl.uint64) * ENV.actions) >> 32).to(tl.int32), block
    else:
        lanes = ()
        for j in tl.static_range(len(ENV.low)):
            word, block = next_word(block, clock * len(ENV.low) + j, seed, index, ENV)
            share = (word >> 8).to(tl.float32) * (2.0**-24)
            lanes = lanes + (ENV.low[j] + ENV.span[j] * share,)
        return lanes, block


@triton.jit
def unpacked(action, ENV: tl.constexpr):
    """What `Env.step` takes: a lane, or a tuple of lanes for a `Box` of more than one entry."""
    if ENV.actions > 0:
        return action
    elif len(ENV.low) == 1:
        return action[0]
    else:
        return action
