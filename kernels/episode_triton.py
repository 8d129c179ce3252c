"""An episode inside a kernel: step, time limit, auto-reset and statistics of a block of environments, in registers.

The specification is `gpusim.engine` and `gpusim.book`, function by function. What differs is when beginnings are drawn: each
environment holds its next one ready, and a block draws anew only when one of its environments has used up its own and needs
another. A draw is a pure function of (seed, environment, episode), so drawing the others again changes nothing.
"""

import dataclasses
from typing import Any, NamedTuple

import triton
import triton.language as tl

from gpusim.kernels.lang import STREAM_ACTION, STREAM_INIT, STREAM_PARAMS, STREAM_STEP, Rng
from gpusim.kernels.lang_triton import uniform, words

ACTION, INIT, PARAMS, STEP = map(tl.constexpr, (STREAM_ACTION, STREAM_INIT, STREAM_PARAMS, STREAM_STEP))
SAME_STEP, NEXT_STEP, DISABLED = map(tl.constexpr, range(3))


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Game:
    """An environment and the choices that shape its step: a compile-time constant.

    No tuple, as Triton looks into those and stumbles over classes.
    """

    init: Any  # the lowered functions
    step: Any
    observe: Any
    state: Any  # the class of its State
    params: Any  # of its Params
    widths: tuple[int, ...]  # entities in each field of the state; 0: a lane
    numbers: tuple  # the parameters that are numbers, None where one is a lane
    slots: tuple[int, ...]  # the place of each parameter among those that are lanes, -1 for a number
    ranges: tuple[tuple[int, float, float], ...]  # (slot, low, high) of the parameters drawn at every reset
    limit: int  # time limit; 0: none
    autoreset: int
    cells: int  # of an image observation; 0: a vector
    actions: int  # how many a `Discrete` space has; 0: a `Box`
    low: tuple[float, ...]  # of a `Box`
    span: tuple[float, ...]  # high - low

    @property
    def cache_key(self) -> str:
        """By which a compiled kernel is found again: with the functions' sources and the order of the classes' fields."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        functions, classes = (f.cache_key for f in values[:3]), values[3:5]
        return "-".join(
            (*functions, *(f"{c.__module__}.{c.__qualname__}{c._fields}" for c in classes), str(values[5:]))
        )

    def __repr__(self) -> str:
        return f"Game({self.cache_key})"


class Episodes(NamedTuple):
    """As `gpusim.engine.Carry`: pointers to `[N]` where it is a kernel's argument, blocks in registers within."""

    state: Any  # of every field
    lanes: Any  # of every parameter that is one
    elapsed: Any  # float32
    episode_return: Any  # float32
    episode: Any  # int64
    flags: Any  # whether the last step terminated and truncated it, bools; empty in SAME_STEP, which does not look back


class Ahead(NamedTuple):
    """The beginnings held ready."""

    state: Any
    lanes: Any
    spent: Any  # whether it has been used


class Book(NamedTuple):
    """As `gpusim.book.Book`, `[BLOCK]`."""

    elapsed: Any  # float32
    episode_return: Any  # float32
    flags: Any  # as those of `Episodes`


class Taken(NamedTuple):
    """What a step gave, `[BLOCK]`; as `gpusim.book.Step`, without observations."""

    reward: Any
    terminated: Any
    truncated: Any
    reset: Any
    valid: Any
    episode_return: Any
    episode_length: Any


@triton.jit
def load(pointers, at, mask, GAME: tl.constexpr):
    fields = ()
    for k in tl.static_range(len(pointers)):
        if GAME.widths[k] == 0:
            fields = fields + (tl.load(pointers[k] + at, mask=mask, other=0),)
        else:
            place = at[:, None] * GAME.widths[k] + tl.arange(0, GAME.widths[k])[None, :]
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
def parameters(lanes, GAME: tl.constexpr):
    """The environment's Params: its numbers are compile-time constants, as exact as they are in Python."""
    fields = ()
    for k in tl.static_range(len(GAME.slots)):
        if GAME.slots[k] < 0:
            fields = fields + (GAME.numbers[k],)
        else:
            fields = fields + (lanes[GAME.slots[k]],)
    return GAME.params(*fields)


@triton.jit
def chosen(mask, new, old):
    fields = ()
    for k in tl.static_range(len(old)):
        if len(old[k].shape) == 1:
            fields = fields + (tl.where(mask, new[k], old[k]),)
        else:
            fields = fields + (tl.where(mask[:, None], new[k], old[k]),)
    return fields


@triton.jit
def typed(new, old):
    """`new` with the dtypes of `old`."""
    fields = ()
    for k in tl.static_range(len(old)):
        fields = fields + (tl.cast(new[k], old[k].dtype),)
    return fields


@triton.jit
def drawn(lanes, rng, GAME: tl.constexpr):
    """The parameters with those that have a range drawn from it."""
    for i in tl.static_range(len(GAME.ranges)):
        value = uniform(rng, i, GAME.ranges[i][1], GAME.ranges[i][2])
        fields = ()
        for k in tl.static_range(len(lanes)):
            if GAME.ranges[i][0] == k:
                fields = fields + (value,)
            else:
                fields = fields + (lanes[k],)
        lanes = fields
    return lanes


@triton.jit
def nothing_ahead(e):
    """Before the first draw: all is spent."""
    return Ahead(e.state, e.lanes, e.elapsed >= 0)


@triton.jit
def begin(e, seed, index, GAME: tl.constexpr):
    """The next beginning of every environment (`gpusim.engine.fresh`)."""
    lanes = drawn(e.lanes, Rng(seed, index, e.episode + 1, 0, PARAMS), GAME)
    state = GAME.init(Rng(seed, index, e.episode + 1, 0, INIT), parameters(lanes, GAME))
    return Ahead(typed(state, e.state), lanes, e.elapsed < 0)


@triton.jit
def advance(e, action, seed, index, GAME: tl.constexpr):
    """One step with everything but the reset that may be due (`gpusim.engine.advance`)."""
    rng = Rng(seed, index, e.episode, e.elapsed, STEP)
    state, reward, terminated = GAME.step(GAME.state(*e.state), action, rng, parameters(e.lanes, GAME))
    state = typed(state, e.state)
    reward, terminated = tl.cast(reward, tl.float32) + 0 * e.elapsed, terminated | (e.elapsed < 0)
    book, taken = account(Book(e.elapsed, e.episode_return, e.flags), reward, terminated, GAME.autoreset, GAME.limit)
    if GAME.autoreset == DISABLED:
        state = chosen(taken.valid, state, e.state)
    return Episodes(state, e.lanes, book.elapsed, book.episode_return, e.episode, book.flags), taken


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
        taken = Taken(reward, terminated, truncated, reset, elapsed > 0, total, elapsed)
        return Book(tl.where(reset, 0.0, elapsed), tl.where(reset, 0.0, total), book.flags), taken
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
        taken = Taken(tl.where(over, 0.0, reward), terminated, truncated, reset, valid, total, elapsed)
        return Book(elapsed, total, (terminated, truncated)), taken


@triton.jit
def restart(e, taken, ahead, seed, index, inside, GAME: tl.constexpr):
    """The resets that are due (`gpusim.engine.begin_where`), from the beginnings held ready."""
    if GAME.autoreset != DISABLED:
        due = taken.reset & inside
        if tl.max((due & ahead.spent).to(tl.int32), 0) > 0:
            ahead = begin(e, seed, index, GAME)
        lanes = e.lanes
        if len(GAME.ranges) > 0:
            lanes = chosen(due, ahead.lanes, lanes)
        episode = e.episode + due.to(tl.int64)
        e = Episodes(chosen(due, ahead.state, e.state), lanes, e.elapsed, e.episode_return, episode, e.flags)
        ahead = Ahead(ahead.state, ahead.lanes, ahead.spent | due)
    return e, ahead


@triton.jit
def observed(e, GAME: tl.constexpr):
    """The entries of a vector observation, a tuple of lanes."""
    return GAME.observe(GAME.state(*e.state), parameters(e.lanes, GAME))


@triton.jit
def rows(fields):
    out = ()
    for k in tl.static_range(len(fields)):
        out = out + (fields[k][:, None],)
    return out


@triton.jit
def store_observation(out, t, e, at, n, inside, GAME: tl.constexpr, CHUNK: tl.constexpr):
    """At `[t]` of a vector's `[T, D, N]` or an image's `[T, N, cells]`, which is drawn cell by cell."""
    if GAME.cells == 0:
        seen = observed(e, GAME)
        for k in tl.static_range(len(seen)):
            tl.store(out + (tl.cast(t, tl.int64) * len(seen) + k) * n + at, seen[k], mask=inside)
    else:
        state, params = GAME.state(*rows(e.state)), parameters(rows(e.lanes), GAME)
        row = (tl.cast(t, tl.int64) * n + at)[:, None] * GAME.cells
        for first in range(0, GAME.cells, CHUNK):  # a loop at run time: unrolled, it would fill the registers
            cell = first + tl.arange(0, CHUNK)[None, :]
            seen = GAME.observe(state, cell, params)
            if out.dtype.element_ty == tl.int1:
                seen = seen != 0
            tl.store(out + row + cell, seen, mask=inside[:, None] & (cell < GAME.cells))


@triton.jit
def word_block(number, seed, index, GAME: tl.constexpr):
    """The four words among which number `number` of an environment's stream of random actions is."""
    block = number // 4
    return words(Rng(seed, index, block & 0xFFFFFFFF, block >> 32, ACTION), 0)


@triton.jit
def next_word(four, number, seed, index, GAME: tl.constexpr):
    """Word `number`, and the four turned by one, so that it is always the first that is next."""
    if number % 4 == 0:
        four = word_block(number, seed, index, GAME)
    return four[0], (four[1], four[2], four[3], four[0])


@triton.jit
def random_action(four, clock, seed, index, GAME: tl.constexpr):
    """`gpusim.engine.random_actions`: the action of step number `clock`, and the words to go on with."""
    if GAME.actions > 0:
        word, four = next_word(four, clock, seed, index, GAME)
        return ((word.to(tl.uint64) * GAME.actions) >> 32).to(tl.int32), four
    else:
        lanes = ()
        for j in tl.static_range(len(GAME.low)):
            word, four = next_word(four, clock * len(GAME.low) + j, seed, index, GAME)
            share = (word >> 8).to(tl.float32) * (2.0**-24)
            lanes = lanes + (GAME.low[j] + GAME.span[j] * share,)
        return lanes, four


@triton.jit
def bare(action, GAME: tl.constexpr):
    """What `Env.step` takes: a lane, or a tuple of lanes for a `Box` of more than one entry."""
    if GAME.actions > 0:
        return action
    elif len(GAME.low) == 1:
        return action[0]
    else:
        return action
