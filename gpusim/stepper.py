"""How steps are run: never asking the device anything (a GPU) or looking ahead (the CPU), eagerly or compiled."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim import engine
from gpusim.book import Step, Tally
from gpusim.compiled import Compiled
from gpusim.engine import Carry, Mode
from gpusim.env import Env
from gpusim.errors import InputError
from gpusim.kernels.lang import STREAM_INIT, STREAM_PARAMS, STREAM_STEP, Lane, Rng, is_lane, words
from gpusim.kernels.lower import LoweringError, check
from gpusim.kernels.policy import MlpPolicy
from gpusim.remember import by_env
from gpusim.rollout import SEVERAL, Policy
from gpusim.tree import changed, each_field, tree_map

ONE_THREAD = {"cpp.min_chunk_size": 2**15}  # a loop of fewer cells is too short to wait for other threads
DEEP = ONE_THREAD | {
    "realize_opcount_threshold": 6
}  # long chains of ints compile sooner; several small steps would later


class StepByStep:
    """What steppers have in common that know no faster way to make many steps."""

    def rollout(self, c: Carry, clock: int, num_steps: int, policy: Policy | None, transitions: bool) -> None:
        return None

    def rollout_into(self, c: Carry, kept: Any, policy: MlpPolicy, clock: Tensor) -> None:
        raise InputError('only the backend "triton" makes a rollout in place.')


class SyncFree(StepByStep):
    """Every step draws every environment's next beginning, needed or not, so no value is ever looked at."""

    def __init__(self, env: Env, mode: Mode, index: Lane, compiled: bool):
        self.env, self.index, self.compiled = env, index, compiled
        self.function = _compiled_whole(env, mode) if compiled else functools.partial(whole, env, mode)

    def step(self, c: Carry, action: Any, look: bool, tally: Any) -> tuple[Carry, Step, Any]:
        return self.function(c, self.index, action, look, tally)

    def steps(self, c: Carry, actions: list, tally: Tally) -> tuple[Carry, Tally]:
        for action in actions:
            c, _, tally = self.step(c, action, False, tally)
        return c, tally

    def settle(self, c: Carry) -> Carry:
        return c

    def lanes(self, tree: Any) -> Any:
        """Tensors in the form that steps compute with, so that all else is computed alike."""
        return tree

    def observe(self, c: Carry) -> Tensor:
        return _observe(self.env, c, self.compiled)


class DrawsAhead(SyncFree):
    """The CPU's, compiled, for steps that draw: some steps' words and the next beginnings are drawn by a function of ints.

    The words of a step are a function of the episode and of the steps since it began. So for each step of a span they are
    drawn twice: should the episode last, and should the next have begun meanwhile. Where a second begins within a span,
    its steps are taken one by one.
    """

    def __init__(self, env: Env, mode: Mode, index: Lane):
        super().__init__(env, mode, index, True)
        self.mode = mode

    def step(self, c: Carry, action: Any, look: bool, tally: Any) -> tuple[Carry, Step, Any]:
        c, out, tally, _ = self._take(c, [action], look, tally)
        return c, out, tally

    def steps(self, c: Carry, actions: list, tally: Tally) -> tuple[Carry, Tally]:
        span = span_of(c.state)
        for first in range(0, len(actions), span):
            several = actions[first : first + span]
            taken = self._take(c, several, False, tally) if len(several) == span else None
            if taken is None or taken[3]:
                c, tally = super().steps(c, several, tally)
            else:
                c, _, tally, _ = taken
        return c, tally

    def _take(self, c: Carry, actions: list, look: bool, tally: Any) -> tuple[Carry, Step, Any, Any]:
        drawn = _compiled_draws(self.env, self.mode, len(actions))(c.seed, c.episode, c.book.elapsed, self.index)
        function = _compiled_span(self.env, self.mode, look, len(actions))
        new, out, tally, spent, clash = function(_lean(self.mode, c), self.index, drawn, actions, tally)
        new = _whole(new, c)._replace(episode=c.episode + (spent != 0))
        return new, _seen(self.env, _to_bool(out)), tally, clash


def span_of(state: Any) -> int:
    """Steps that one compiled function takes where steps draw: fewer than most episodes have, and fewer the longer that
    function is in compiling."""
    if len(state) >= 13:
        return 1
    return 4 if all(field.ndim == 1 for field in state) else 2


class LookAhead(StepByStep):
    """The CPU's: draws every environment's next beginning ahead of need, and anew only when one needs its second.

    A step is tried with the beginnings at hand; where it resets an environment whose beginning is spent already, it is
    run again, from the same carry, with new ones. So the generator, half the cost of a step, runs once in as many steps
    as the shortest episode lasts. The check looks at a value, which on the CPU costs nothing.

    Eagerly, an environment that keeps to the vocabulary runs on NumPy arrays, which share the tensors' memory: at a few
    thousand environments an operation is mostly overhead, and NumPy's is a third of torch's.
    """

    def __init__(self, env: Env, mode: Mode, index: Lane, compiled: bool):
        self.env, self.mode, self.compiled = env, mode, compiled
        self.arrays = not compiled and keeps_to_vocabulary(env)
        self.index: Lane = index.numpy() if self.arrays else index
        self.begun: Any = None  # state and parameters of episode `Carry.episode + 1`
        # [N] nonzero where it has been used, so that the true episode is one more
        self.spent: Lane = torch.zeros(0, device="cpu")
        self.unspent = False  # whether it is known that none has been

    def step(self, c: Carry, action: Any, look: bool, tally: Any) -> tuple[Carry, Step, Any]:
        new, out, tally = self._step(c, action, look, tally and self.lanes(tally))
        if self.arrays:
            out = Step(*(None if x is None else torch.from_numpy(x) for x in out))
            tally = tally and to_tensors(tally)
        return new, out, tally

    def _step(self, c: Carry, action: Any, look: bool, tally: Any) -> tuple[Carry, Step, Any]:
        function = (_compiled_step if self.compiled else _eager_step)(self.env, self.mode, look)
        if self.arrays:
            c = to_arrays(c) if isinstance(c.book.elapsed, Tensor) else c
            action = to_arrays(action)
        _, (new, out, tally) = self._attempt(function, c, action, tally)
        self.unspent = False
        return new, out, tally

    def steps(self, c: Carry, actions: list, tally: Tally) -> tuple[Carry, Tally]:
        """Several steps of which only the tally is wanted; `SEVERAL` of them are one compiled call."""
        if self.compiled and len(actions) == SEVERAL and not self.mode.draws:
            if not self.unspent:
                c = self._draw(c)
            c, result = self._attempt(_compiled_chunk(self.env, self.mode), c, actions, tally)
            self.unspent = result is not None and not result[2]
            if result is not None:
                return result[0], result[1]
        counted = self.lanes(tally)
        for action in actions:
            c, _, counted = self._step(c, action, False, counted)
        return c, to_tensors(counted)

    def settle(self, c: Carry) -> Carry:
        """`c` of tensors, with its true episode numbers; due before anything but a step touches it."""
        return to_tensors(self._count(c))

    def lanes(self, tree: Any) -> Any:
        """Tensors in the form that steps compute with, so that all else is computed alike."""
        return to_arrays(tree) if self.arrays else tree

    def observe(self, c: Carry) -> Tensor:
        return to_tensors(_observe(self.env, self.lanes(c), self.compiled))

    def _count(self, c: Carry) -> Carry:
        if self.begun is None:
            return c
        self.begun, self.unspent = None, False
        return c._replace(episode=c.episode + (self.spent != 0))

    def _attempt(self, function: Callable, c: Carry, *args: Any) -> tuple[Carry, Any]:
        """The carry from which `function` was run at last and what it gave; None where an environment was reset twice."""
        for _ in range(2):
            if self.begun is None:
                c = self._draw(c)
            *result, spent, clash = function(c, self.index, self.begun, self.spent, *args)
            if not clash:
                self.spent = spent
                return c, result
            c = self._draw(c)
        return c, None

    def _draw(self, c: Carry) -> Carry:
        """Sees to it that no beginning is spent; the carry with its true episode numbers."""
        before, spent = self.begun, self.spent
        if self.compiled:
            draw = _compiled_fresh(self.env, self.mode, before is not None)
            episode, self.begun = draw(c.params, c.seed, c.episode, spent, self.index)
            self.spent, self.unspent = torch.zeros_like(c.book.elapsed), True
            return c._replace(episode=episode)
        c = self._count(c)
        if before is None:
            self.begun = self._fresh(c, self.index)
        else:
            rows = spent.nonzero()[0] if self.arrays else spent.nonzero().squeeze(1)
            some = c._replace(
                params=each_field(lambda p: p[rows] if is_lane(p) else p, c.params), episode=c.episode[rows]
            )
            new = self._fresh(some, self.index[rows])
            put = functools.partial(_put, rows)
            params = each_field(put, before[1], new[1]) if self.mode.random_params else c.params
            self.begun = each_field(put, before[0], new[0]), params
        none = torch.zeros(len(self.index), dtype=torch.bool, device="cpu")
        self.spent = none.numpy() if self.arrays else none
        return c

    def _fresh(self, c: Carry, index: Lane) -> tuple[Any, Any]:
        with np.errstate(all="ignore"):
            return fresh(self.env, self.mode, c, index)


def _put(rows: Any, old: Any, new: Any) -> Any:
    """`old` with `new` in some rows; a number stays."""
    if not is_lane(old):
        return old
    changed = old.copy() if isinstance(old, np.ndarray) else old.clone()
    changed[rows] = new
    return changed


@by_env
def keeps_to_vocabulary(env: Env) -> bool:
    """Whether all of an environment's functions are made of nothing but the words of `gpusim.kernels.lang`."""
    try:
        for function in (env.init, env.step, env.observe):
            check(function)
    except LoweringError:
        return False
    try:
        _on_arrays(env)
    except Exception:  # something of a lane that only a tensor has, as in `x.is_cuda`
        return False
    return True


def _on_arrays(env: Env) -> None:
    """One step of one environment."""
    index, space = np.zeros(1, np.int64), env.action_space
    acts = (index,) if isinstance(space, Discrete) else (np.zeros(1, np.float32),) * math.prod(space.shape)
    with np.errstate(all="ignore"):
        state = env.init(Rng(0, index, index, 0, STREAM_INIT), env.params)
        env.step(state, acts if len(acts) > 1 else acts[0], Rng(0, index, index, index, STREAM_STEP), env.params)
        engine.observe(env, state, env.params)


def to_tensors(tree: Any) -> Any:
    return tree_map(torch.from_numpy, tree, kind=np.ndarray)


def to_arrays(tree: Any) -> Any:
    return tree_map(Tensor.numpy, tree)


def fresh(env: Env, mode: Mode, c: Carry, index: Lane) -> tuple[Any, Any]:
    return engine.fresh(env, mode, c.params, c.seed, index, c.episode + 1)


def whole(env: Env, mode: Mode, c: Carry, index: Lane, action: Any, look: bool, tally: Any):
    """The step of `SyncFree`: draw, step, reset, in one function that can be captured whole."""
    new, out, tally = engine.transition(env, mode, c, action, index, fresh(env, mode, c, index), look, tally)
    return changed(new, episode=c.episode + out.reset), out, tally


def _transition(env: Env, mode: Mode, c: Carry, index: Lane, begun: Any, spent: Lane, action, look, tally, drawn=None):
    """`engine.transition` of a carry whose episode number lags by `spent`."""
    now = changed(c, episode=c.episode + (spent != 0)) if mode.draws else c
    new, out, tally = engine.transition(env, mode, now, action, index, begun, look, tally, drawn)
    return changed(new, episode=c.episode), out, tally


@by_env
def _eager_step(env: Env, mode: Mode, look: bool) -> Callable:
    def step(c, index, begun, spent, action, tally):
        with np.errstate(all="ignore"):
            new, out, tally = _transition(env, mode, c, index, begun, spent, action, look, tally)
        return new, out, tally, spent | out.reset, bool((out.reset & spent).any())

    return step


# On the CPU the integers of the generator and the floats of the step are compiled as two functions, and flags cross the
# border of the second as floats: Inductor does not vectorize a loop of mixed types, and such a loop is five times slower.


@by_env
def _compiled_step(env: Env, mode: Mode, look: bool) -> Callable:
    def floats(c, index, begun, spent, action, tally):
        new, out, tally = _transition(env, mode, _to_bool(c), index, begun, spent, action, look, tally)
        clash = (spent * out.reset).amax()
        return _to_float(_bare(new)), _to_float(out), tally, torch.where(out.reset, 1.0, spent), clash

    floats = Compiled(floats)

    def step(c, index, begun, spent, action, tally):
        new, out, tally, spent, clash = floats(_lean(mode, c), index, begun, spent, action, tally)
        return _whole(new, c), _seen(env, _to_bool(out)), tally, spent, clash

    return step


@by_env
def _compiled_chunk(env: Env, mode: Mode) -> Callable:
    def floats(c, index, begun, spent, actions, tally):
        c, clash = _to_bool(c), torch.zeros_like(spent)
        for action in actions:
            new, out, tally = _transition(env, mode, c, index, begun, spent, action, False, tally)
            clash = clash + spent * out.reset
            c, spent = new, torch.where(out.reset, 1.0, spent)
        return _to_float(_bare(c)), tally, spent.amax(), spent, clash.amax()

    floats = Compiled(floats)

    def chunk(c, index, begun, spent, actions, tally):
        new, *rest = floats(_lean(mode, c), index, begun, spent, actions, tally)
        return _whole(new, c), *rest

    return chunk


@by_env
def blocks(env: Env) -> dict[int, tuple[int, ...]]:
    """The blocks of random words that beginnings and steps use, by stream."""

    class Asked(dict):
        def __missing__(self, block: int) -> tuple:
            self[block] = (one.int(),) * 4
            return self[block]

    one = torch.zeros(1, dtype=torch.float32, device="cpu")
    index, space = one.long(), env.action_space
    asked = {STREAM_INIT: Asked(), STREAM_STEP: Asked()}
    state = env.init(engine.rng_at((0, index, index, 0, STREAM_INIT), asked), env.params)
    action: Any = index if isinstance(space, Discrete) else (one,) * math.prod(space.shape)
    action = action[0] if isinstance(action, tuple) and len(action) == 1 else action
    env.step(state, action, engine.rng_at((0, index, index, one, STREAM_STEP), asked), env.params)
    return {stream: tuple(used) for stream, used in asked.items()}


@by_env
def _compiled_draws(env: Env, mode: Mode, span: int) -> Callable:
    used = blocks(env) | {STREAM_PARAMS: tuple(range(len(mode.random_params)))}

    def ints(seed, episode, elapsed, index):
        row = torch.arange(2 * span - 1, device=index.device)[
            :, None
        ]  # the steps of this episode, then those of the next
        number, step = episode + (row >= span), torch.where(row < span, elapsed.to(torch.int64) + row, row - span)
        drawn = {}
        for stream in used:
            when = (number, step) if stream == STREAM_STEP else (episode + 1, 0)
            rng = Rng(seed, index, when[0], when[1], stream)
            drawn[stream] = {block: tuple(word.to(torch.int32) for word in words(rng, block)) for block in used[stream]}
        return drawn

    return Compiled(ints, **ONE_THREAD)


@by_env
def _compiled_span(env: Env, mode: Mode, look: bool, span: int) -> Callable:
    def floats(c, index, drawn, actions, tally):
        c = _to_bool(c)
        begun = engine.fresh(env, mode, c.params, c.seed, index, c.episode + 1, drawn)
        spent = clash = torch.zeros_like(c.book.elapsed)
        for i, action in enumerate(actions):
            now = {
                block: tuple(_now(word, i, span, c.book.elapsed, spent) for word in some)
                for block, some in drawn[STREAM_STEP].items()
            }
            new, out, tally = _transition(env, mode, c, index, begun, spent, action, look, tally, {STREAM_STEP: now})
            clash = clash + spent * out.reset
            c, spent = new, torch.where(out.reset, 1.0, spent)
        return _to_float(_bare(c)), _to_float(out), tally, spent, clash.amax()

    return Compiled(floats, **(DEEP if span == 1 else ONE_THREAD))


def _columns(state: Any) -> Any:
    """Entities `[N, k]` slot after slot: their loops shall run along the environments, of which there are more."""
    if all(field.ndim == 1 for field in state):
        return state
    return each_field(lambda f: f if f.ndim == 1 else f.movedim(0, -1).contiguous().movedim(-1, 0), state)


def _now(word: Tensor, step: int, span: int, elapsed: Tensor, spent: Tensor) -> Tensor:
    """Of a word of all steps of a span, `[2 * span - 1, N]`, those that step number `step` takes."""
    chosen = word[step]
    for since in range(step):
        chosen = torch.where((spent != 0.0) & (elapsed == since), word[span + since], chosen)
    return chosen


@by_env
def _compiled_whole(env: Env, mode: Mode) -> Callable:
    def function(c, index, action, look, tally):
        return whole(env, mode, c, index, action, look, tally)

    return Compiled(function)


def _observe(env: Env, c: Carry, compiled: bool) -> Any:
    """What a step would observe, bit for bit: a compiled sine differs from another in its last bits."""
    if not compiled:
        with np.errstate(all="ignore"):
            return engine.observe(env, c.state, c.params)
    with torch.no_grad():
        return _pictures(env, _compiled_observe(env, c.book.elapsed.device.type)(_columns(c.state), c.params))


def _seen(env: Env, out: Step) -> Step:
    return changed(out, obs=_pictures(env, out.obs), final_obs=_pictures(env, out.final_obs))


def _pictures(env: Env, obs: Any) -> Any:
    """Images `[N, *obs]` that lie one after the other, though on a CPU they are computed cell after cell, bools as bytes."""
    if obs is None or obs.ndim < 3:
        return obs
    whole = obs.flatten(1).contiguous().reshape(obs.shape)
    return whole.view(torch.bool) if env.observation_space.dtype == np.bool_ else whole


@by_env
def _compiled_observe(env: Env, device: str) -> Callable:
    def function(state, params):
        return engine.observe(env, state, params)

    return Compiled(function, **ONE_THREAD)


@by_env
def _compiled_fresh(env: Env, mode: Mode, count: bool) -> Callable:
    def function(params, seed, episode, spent, index):
        episode = episode + (spent != 0.0) if count else episode + 0
        return episode, engine.fresh(env, mode, params, seed, index, episode + 1)

    return Compiled(function)


@by_env
def compiled_actions(env: Env, device: str) -> Callable:
    def function(seed, index, block):
        return engine.random_actions(env.action_space, seed, index, block)

    return Compiled(function, **ONE_THREAD)


def _lean(mode: Mode, c: Carry) -> Carry:
    """What the compiled step reads of a carry, without bools."""
    seed, episode = (c.seed, c.episode) if mode.draws else (None, None)
    same = mode.rules.autoreset is AutoresetMode.SAME_STEP
    book = c.book._replace(terminated=None, truncated=None) if same else _floats(c.book)
    return c._replace(state=_columns(c.state), book=book, seed=seed, episode=episode)


def _bare(c: Carry) -> Carry:
    return c._replace(seed=None, episode=None)


def _whole(new: Carry, old: Carry) -> Carry:
    """What the compiled step gave, with what it was not given."""
    book = new.book
    if book.terminated is None:
        book = book._replace(terminated=old.book.terminated, truncated=old.book.truncated)
    return new._replace(book=_bools(book), seed=old.seed, episode=old.episode)


FLAGS = ("terminated", "truncated", "reset", "valid")


def _to_float(record: Any) -> Any:
    """The flags of a `Carry` or `Step` as float32."""
    return record._replace(book=_floats(record.book)) if isinstance(record, Carry) else _floats(record)


def _to_bool(record: Any) -> Any:
    """The flags of a `Carry` or `Step` are bools again."""
    return record._replace(book=_bools(record.book)) if isinstance(record, Carry) else _bools(record)


def _floats(record: Any) -> Any:
    flags = {k: getattr(record, k) for k in FLAGS if k in record._fields}
    return record._replace(**{k: v.to(torch.float32) for k, v in flags.items() if v is not None})


def _bools(record: Any) -> Any:
    flags = {k: getattr(record, k) for k in FLAGS if k in record._fields}
    return record._replace(**{k: v != 0.0 for k, v in flags.items() if v is not None and v.dtype != torch.bool})
