"""`rollout`: many steps in one call, with random actions or a policy; what learners and benchmarks stand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim import checks, engine
from gpusim.errors import InputError

if TYPE_CHECKING:
    from gpusim.vector import VectorEnv

WORDS_AT_ONCE = 2**18  # random words drawn in one go: large enough to amortize the calls, small enough for the cache


class Rollout(NamedTuple):
    """T steps of N environments."""

    obs: Tensor | None  # [T, N, *obs] what was acted on
    action: Tensor | None  # [T, N, *action]
    reward: Tensor | None  # [T, N] float32
    terminated: Tensor | None  # [T, N] bool
    truncated: Tensor | None  # [T, N] bool
    next_obs: Tensor | None  # [T, N, *obs] the true observation after the step, never one from after a reset
    valid: Tensor | None  # [T, N] bool, False where a row is no transition (a reset in NEXT_STEP, an idle row when disabled)
    episode_return: Tensor | None  # [T, N] float32 return of the episode so far, final where it ended
    episode_length: Tensor | None  # [T, N] float32 likewise
    extras: dict[str, Tensor]  # [T, N, ...] what the policy returned beside its actions
    last_obs: Tensor  # [N, *obs] what to act on next
    episodes: Tensor  # scalar, how many episodes ended
    return_sum: Tensor  # scalar float64, sum of their returns
    length_sum: Tensor  # scalar float64, sum of their lengths


def rollout(
    env: VectorEnv, num_steps: int, policy: Callable[[Tensor], Any] | None = None, *, transitions: bool = True
) -> Rollout:
    """`num_steps` steps of `env` from where it stands.

    Args:
        env: a `VectorEnv` that has been reset.
        num_steps: T.
        policy: obs `[N, *obs]` → actions, or → (actions, dict of tensors `[N, ...]` to keep). None acts at random, each
            draw a function of (seed, environment, steps since seeding) alone.
        transitions: whether to return every transition; without, only `last_obs` and the statistics.

    Raises:
        InputError: `num_steps` is not positive, or the policy's actions are refused.
        ResetNeeded: `env` has not been reset.
    """
    num_steps = checks.positive("num_steps", num_steps)
    obs = env._observe()
    zero = torch.zeros(env.num_envs, device=env.device)
    tally: Any = engine.Tally(zero, zero, zero)
    look = transitions or policy is not None
    actions = RandomActions(env) if policy is None else None
    steps: list[dict[str, Tensor]] = []
    for _ in range(num_steps):
        action, extras = _ask(policy, obs) if policy else (actions.next(), {})  # type: ignore[union-attr]
        action = env._check(action) if policy else action
        before = obs
        out, tally = env._step(action, look, tally)
        obs = out.obs
        if transitions:
            steps.append(_record(before, action, out, extras))
    stacked = {k: torch.stack([s[k] for s in steps]) for k in steps[0]} if steps else {}
    fields = {k: stacked.pop(k, None) for k in TRANSITION}
    return Rollout(
        **fields,  # type: ignore[arg-type]
        extras=stacked,
        last_obs=env._observe() if obs is None else obs,
        episodes=tally.episodes.sum(dtype=torch.int64),
        return_sum=tally.return_sum.sum(dtype=torch.float64),
        length_sum=tally.length_sum.sum(dtype=torch.float64),
    )


TRANSITION = Rollout._fields[: Rollout._fields.index("extras")]


def _ask(policy: Callable, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    answer = policy(obs)
    action, extras = answer if isinstance(answer, tuple) else (answer, {})
    if clash := set(extras) & set(TRANSITION):
        raise InputError(f"the policy's extras use names that a rollout has already: {', '.join(sorted(clash))}.")
    return action, extras


def _record(obs: Tensor, action: Tensor, out: engine.Step, extras: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "obs": obs,
        "action": action,
        "reward": out.reward,
        "terminated": out.terminated,
        "truncated": out.truncated,
        "next_obs": out.final_obs,
        "valid": torch.ones_like(out.terminated) if out.valid is None else out.valid,
        "episode_return": out.episode_return,
        "episode_length": out.episode_length,
        **extras,
    }


class RandomActions:
    """The actions of a `VectorEnv` that acts at random, step after step from its clock on."""

    def __init__(self, env: VectorEnv):
        self.env = env
        space = env.single_action_space
        self.width = 1 if isinstance(space, Discrete) else int(space.shape[0])  # words a step needs
        self.blocks = max(1, WORDS_AT_ONCE // (4 * env.num_envs))
        self.first = self.stop = 0  # the words held are number `first` to `stop` of the stream
        self.words = torch.empty(0)

    def next(self) -> Tensor:
        """`[N]` or `[N, d]` for the env's present clock."""
        start = self.env.clock * self.width
        word = [self._word(start + j) for j in range(self.width)]
        one = word[0] if isinstance(self.env.single_action_space, Discrete) else torch.stack(word, -1)
        return engine.random_actions(self.env.single_action_space, one)

    def _word(self, number: int) -> Tensor:
        if not self.first <= number < self.stop:
            block = number // 4
            self.first, self.stop = block * 4, (block + self.blocks) * 4
            self.words = self.env._random_words(block, self.blocks).flatten(0, 1)
        return self.words[number - self.first]
