"""The step of many environments as a pure function, run eagerly or compiled.

It stands on two operations, a raw step that never resets and a masked reset; the time limit, the three auto-reset
modes and the episode statistics live here, once, above that seam.
"""

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim.env import Env
from gpusim.kernels.lang import STREAM_ACTION, STREAM_INIT, STREAM_PARAMS, STREAM_STEP, Rng, uniform, words


class Carry(NamedTuple):
    """All that is remembered between two steps, `[N]` unless said otherwise."""

    state: Any  # the environment's State, every field a lane
    params: Any  # its Params, every field a number or a lane
    elapsed: Tensor  # steps since the reset, float32
    episode_return: Tensor  # sum of rewards since the reset, float32
    terminated: Tensor  # whether the last step ended the episode, bool
    truncated: Tensor  # whether it reached the time limit, bool
    episode: Tensor  # resets before this one since seeding, int64
    seed: Tensor  # int64 scalar


class Step(NamedTuple):
    """What one step returns; flags are bools."""

    obs: Any  # [N, *obs] what to act on next; in SAME_STEP the new episode's first
    final_obs: Any  # [N, *obs] the true successor, before any reset
    reward: Tensor  # [N] float32
    terminated: Tensor  # [N]
    truncated: Tensor  # [N]
    reset: Tensor  # [N] whether `obs` is the first of a new episode
    valid: Tensor | None  # [N] whether this row is a transition (not a reset or an idle row); None: all are
    episode_return: Tensor  # [N] of the episode so far, this step included, float32
    episode_length: Tensor  # [N] likewise, float32


class Tally(NamedTuple):
    """Episodes that ended since counting began, for each environment, `[N]` float32."""

    episodes: Tensor
    return_sum: Tensor
    length_sum: Tensor


class Mode(NamedTuple):
    """The choices that shape the step; one compiled function for each."""

    autoreset: AutoresetMode
    max_episode_steps: int | None
    random_params: tuple[tuple[str, float, float], ...]  # (field, low, high) drawn at every reset


def fresh(env: Env, mode: Mode, params: Any, seed, index: Tensor, episode: Tensor) -> tuple[Any, Any]:
    """The state and parameters that begin episode number `episode` of the environments `index`."""
    rng = Rng(seed, index, episode, 0, STREAM_PARAMS)
    drawn = {name: uniform(rng, i, low, high) for i, (name, low, high) in enumerate(mode.random_params)}
    params = params._replace(**drawn)
    return env.init(rng._replace(stream=STREAM_INIT), params), params


def advance(env: Env, mode: Mode, c: Carry, action, index: Tensor) -> tuple[Carry, Step]:
    """One step of all environments with everything but the reset that may be due."""
    rng = Rng(c.seed, index, c.episode, c.elapsed, STREAM_STEP)
    before = c
    state, reward, terminated = env.step(c.state, action, rng, c.params)
    elapsed = c.elapsed + 1.0
    truncated = elapsed >= mode.max_episode_steps if mode.max_episode_steps else torch.zeros_like(terminated)
    episode_return = c.episode_return + reward
    c = c._replace(state=state, elapsed=elapsed, episode_return=episode_return)
    out = Step(None, None, reward, terminated, truncated, terminated | truncated, None, episode_return, elapsed)
    return (c, out) if mode.autoreset is AutoresetMode.SAME_STEP else _hold(mode, before, c, out)


def _hold(mode: Mode, before: Carry, c: Carry, out: Step) -> tuple[Carry, Step]:
    """Outside SAME_STEP the row of an episode that was over already is no transition: it resets, or it idles."""
    over = before.terminated | before.truncated
    out = out._replace(reward=torch.where(over, 0.0, out.reward), valid=~over)
    if mode.autoreset is AutoresetMode.NEXT_STEP:
        out = out._replace(terminated=out.terminated & ~over, truncated=out.truncated & ~over, reset=over)
    else:
        c = pick(over, before, c._replace(state=pick(over, before.state, c.state)))
        out = out._replace(
            terminated=torch.where(over, before.terminated, out.terminated),
            truncated=torch.where(over, before.truncated, out.truncated),
            reset=torch.zeros_like(over),
            episode_return=c.episode_return,
            episode_length=c.elapsed,
        )
    return c._replace(terminated=out.terminated, truncated=out.truncated), out


def reset_where(mask: Tensor, c: Carry, begun: tuple[Any, Any]) -> Carry:
    """The masked environments begin the episode whose state and parameters are `begun`, given for all of them."""
    return c._replace(
        state=pick(mask, begun[0], c.state),
        params=pick(mask, begun[1], c.params),
        elapsed=torch.where(mask, 0.0, c.elapsed),
        episode_return=torch.where(mask, 0.0, c.episode_return),
        episode=c.episode + mask,
    )


def reset_rows(env: Env, mode: Mode, mask: Tensor, c: Carry, index: Tensor) -> Carry:
    """The same for a few environments: only theirs is computed. Its shapes depend on the mask, so it is the CPU's."""
    rows = mask.nonzero().squeeze(1)
    if rows.numel() == 0:
        return c
    params = type(c.params)(*(p[rows] if isinstance(p, Tensor) else p for p in c.params))
    state, params = fresh(env, mode, params, c.seed, index[rows], c.episode[rows] + 1)

    def put(old, new):
        return old.index_copy(0, rows, new) if isinstance(old, Tensor) else old

    return c._replace(
        state=type(state)(*map(put, c.state, state)),
        params=type(params)(*map(put, c.params, params)),
        elapsed=c.elapsed.index_fill(0, rows, 0.0),
        episode_return=c.episode_return.index_fill(0, rows, 0.0),
        episode=c.episode.index_copy(0, rows, c.episode[rows] + 1),
    )


def pick(mask: Tensor, new: Any, old: Any) -> Any:
    """Field by field, `new` where the mask holds; fields that are numbers, or one and the same, stay."""

    def one(n, o):
        if n is o or not isinstance(o, Tensor):
            return o
        return torch.where(mask.view(-1, *[1] * (o.ndim - 1)), n, o)

    return type(old)(*map(one, new, old))


def observe(env: Env, c: Carry) -> Tensor:
    """`[N, *obs]`; stored lane after lane, so it is its transpose that is contiguous."""
    return torch.stack(env.observe(c.state, c.params)).movedim(0, -1)


def transition(
    env: Env, mode: Mode, c: Carry, action, index: Tensor, *, begun=None, sparse=False, look=True, tally=None
) -> tuple[Carry, Step, Tally | None]:
    """One step and the resets due.

    `begun` is `fresh(...)` of every environment's next episode where the caller has drawn it already; `sparse` draws it
    for the environments that are reset and for no others; without `look` there are no observations.
    """
    after, out = advance(env, mode, c, action, index)
    tally = tally and count(tally, out)
    final_obs = observe(env, after) if look else None
    if mode.autoreset is AutoresetMode.DISABLED:
        return after, out._replace(obs=final_obs, final_obs=final_obs), tally
    if sparse:
        new = reset_rows(env, mode, out.reset, after, index)
    else:
        new = reset_where(out.reset, after, begun or fresh(env, mode, c.params, c.seed, index, c.episode + 1))
    obs = observe(env, new) if look and new is not after else final_obs
    if mode.autoreset is AutoresetMode.NEXT_STEP:
        return new, out._replace(obs=obs, final_obs=obs, episode_return=new.episode_return, episode_length=new.elapsed), tally
    return new, out._replace(obs=obs, final_obs=final_obs), tally


def count(t: Tally, out: Step) -> Tally:
    over = out.terminated | out.truncated
    over = over if out.valid is None else over & out.valid
    return Tally(
        t.episodes + over,
        t.return_sum + torch.where(over, out.episode_return, 0.0),
        t.length_sum + torch.where(over, out.episode_length, 0.0),
    )


@functools.cache
def compiled(env: Env, mode: Mode, look: bool, split: bool) -> Callable:
    """`transition` under `torch.compile`.

    With `split` (the CPU's way) the integers of the generator and the floats of the step are two functions, and bools
    cross the border of the second as floats: a loop of mixed types is one that Inductor does not vectorize, and costs
    five times as much.
    """

    def whole(c, action, index, tally):
        return transition(env, mode, c, action, index, look=look, tally=tally)

    def begin(c, index):
        return fresh(env, mode, c.params, c.seed, index, c.episode + 1)

    def floats(c, action, index, begun, tally):
        new, *rest = transition(env, mode, _to_bool(c), action, index, begun=begun, look=look, tally=tally)
        return _to_float((new._replace(episode=None, seed=None), *rest))

    if not split:
        return _compile(whole)
    begin, floats = _compile(begin), _compile(floats)

    def step(c, action, index, tally):
        begun = None if mode.autoreset is AutoresetMode.DISABLED else begin(c, index)
        new, out, tally = floats(_to_float(c), action, index, begun, tally)
        out = _to_bool(out)
        return _to_bool(new._replace(episode=c.episode + out.reset, seed=c.seed)), out, tally

    return step


@functools.cache
def compiled_words() -> Callable:
    return _compile(random_words)


FLAGS = ("terminated", "truncated", "reset", "valid")


def _to_float(tree):
    """Bools become float32, everywhere in a tree of tuples."""
    if isinstance(tree, tuple):
        leaves = [_to_float(x) for x in tree]
        return type(tree)(*leaves) if hasattr(tree, "_fields") else tuple(leaves)
    return tree.to(torch.float32) if isinstance(tree, Tensor) and tree.dtype == torch.bool else tree


def _to_bool(record):
    """The flags of a `Carry` or `Step` are bools again."""
    flags = {k: getattr(record, k) for k in FLAGS if k in record._fields}
    return record._replace(**{k: v != 0.0 for k, v in flags.items() if v is not None and v.dtype != torch.bool})


def _compile(function: Callable) -> Callable:
    """Whole or not at all (`fullgraph`), for any `num_envs`; a code object of its own, as Dynamo's cache hangs on that."""
    own = types.FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__, None, function.__closure__
    )
    return torch.compile(own, fullgraph=True, dynamic=True)


def random_words(seed: Tensor, index: Tensor, block: Tensor) -> Tensor:
    """Four steps' worth of random words for each block: int64 `[B, 4, N]` from `block`, int64 `[B]`."""
    rng = Rng(seed, index, (block & 0xFFFFFFFF)[:, None], (block >> 32)[:, None], STREAM_ACTION)
    return torch.stack(words(rng, 0), dim=1)


def random_actions(space, word: Tensor) -> Tensor:
    """Uniform actions from words `[..., N]` (`Discrete`) or `[..., N, d]` (`Box` of d entries), int64 or float32."""
    if isinstance(space, Discrete):
        return (word * int(space.n)) >> 32
    low, high = torch.from_numpy(space.low).to(word.device), torch.from_numpy(space.high).to(word.device)
    return low + (high - low) * ((word >> 8).to(torch.float32) * 2.0**-24)
