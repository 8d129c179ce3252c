"""Episode accounting: the time limit, the three auto-reset modes and the statistics, for whoever steps.

`account` makes of what a raw step gives, a reward and whether it ended the task, what `step` tells of it. Its twin inside
kernels is `gpusim.kernels.episode_triton.account`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode

from gpusim.kernels.lang import Lane, false_like, is_lane, where


class Rules(NamedTuple):
    """What decides when an episode ends, and what then becomes of its row."""

    autoreset: AutoresetMode
    max_episode_steps: int | None  # None: there is no time limit


class Book(NamedTuple):
    """What is remembered of every environment's episode between two steps, `[N]`."""

    elapsed: Lane  # steps since the reset, float32
    episode_return: Lane  # sum of rewards since the reset, float32
    terminated: Lane  # whether the last step ended the episode, bool; not kept in SAME_STEP, which does not look back
    truncated: Lane  # whether it reached the time limit, bool; likewise


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
    ended: tuple[Lane, Lane] | None = (
        None  # a pair of [N], each where an episode ended; None: it is still to be worked out
    )


def account(
    rules: Rules, book: Book, reward: Lane, terminated: Lane, truncated: Lane | None = None
) -> tuple[Book, Step]:
    """What becomes of one raw step of every environment, all `[N]`.

    Args:
        rules: the time limit and the auto-reset mode.
        book: what was remembered before the step.
        reward: float32.
        terminated: where the task is over, bool.
        truncated: where whoever steps keeps a time limit itself: where that is reached. None: `rules` decide.

    Returns:
        The book after the step and the resets due, and the step without observations: where `Step.reset` holds, a new
        episode has to begin; when disabled, what is not `Step.valid` has to stay as it was.
    """
    elapsed, episode_return = book.elapsed + 1.0, book.episode_return + reward
    if truncated is None:
        limit = rules.max_episode_steps
        truncated = elapsed >= limit if limit else false_like(terminated)
    if rules.autoreset is AutoresetMode.SAME_STEP:
        reset = terminated | truncated
        out = Step(None, None, reward, terminated, truncated, reset, None, episode_return, elapsed)
        choose = chooser(reset)
        return Book(choose(0.0, elapsed), choose(0.0, episode_return), book.terminated, book.truncated), out
    over = book.terminated | book.truncated  # before this step: the row of such an episode resets, or it idles
    valid, choose = ~over, chooser(over)
    if rules.autoreset is AutoresetMode.NEXT_STEP:
        terminated, truncated, reset = terminated & valid, truncated & valid, over
        elapsed, episode_return = choose(0.0, elapsed), choose(0.0, episode_return)
    else:
        terminated, truncated = where(over, book.terminated, terminated), where(over, book.truncated, truncated)
        elapsed, episode_return = choose(book.elapsed, elapsed), choose(book.episode_return, episode_return)
        reset = false_like(over)
    returned = where(over, 0.0, reward), terminated, truncated, reset, valid, episode_return + 0.0, elapsed
    return Book(elapsed, episode_return, terminated | False, truncated | False), Step(None, None, *returned)


def reopened(book: Book, mask: Lane) -> Book:
    """The book once the masked environments were reset from outside."""
    choose = chooser(mask)
    return Book(
        choose(0.0, book.elapsed), choose(0.0, book.episode_return), book.terminated & ~mask, book.truncated & ~mask
    )


def chooser(mask: Lane, shared: bool = False) -> Callable[[Lane, Lane], Lane]:
    """`choose(new, old)`: a lane that is `new` where the mask holds; what is a number, or one and the same, stays.

    `shared`: whether a lane may be the old one itself, where no other is seen. Else it is a copy.
    """

    def by_mask(new: Lane, old: Lane) -> Lane:
        if new is old or not is_lane(old):
            return old
        return where(mask if old.ndim == 1 else mask.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    if not isinstance(mask, np.ndarray):
        return by_mask
    rows = mask.nonzero()[0]  # for a few of many this is three times as fast
    if shared and not len(rows):
        return lambda new, old: old

    def by_rows(new: Lane, old: Lane) -> Lane:
        if new is old or not is_lane(old):
            return old
        changed = old.copy()
        changed[rows] = new[rows] if is_lane(new) else new
        return changed

    return by_rows


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


def count(t: Tally, out: Step) -> Tally:
    over = out.terminated | out.truncated
    over = over if out.valid is None else over & out.valid
    return Tally(
        t.episodes + over,
        t.return_sum + where(over, out.episode_return, 0.0),
        t.length_sum + where(over, out.episode_length, 0.0),
    )
