"""`rollout`: many steps in one call, with random actions or a policy; what learners and benchmarks stand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim import checks, engine
from gpusim.errors import InputError
from gpusim.stepper import CHUNK

if TYPE_CHECKING:
    from gpusim.vector import VectorEnv

WORDS_AT_ONCE = 2**18  # random words drawn in one go: large enough to amortize the calls, small enough for the cache


class Rollout(NamedTuple):
    """T steps of N environments; fields of shape `[T, ...]` are None where no transitions were asked for."""

    obs: Tensor  # [T, N, *obs] what was acted on
    action: Tensor  # [T, N, *action]
    reward: Tensor  # [T, N] float32
    terminated: Tensor  # [T, N] bool
    truncated: Tensor  # [T, N] bool
    next_obs: Tensor  # [T, N, *obs] the true observation after the step, never one from after a reset
    valid: Tensor  # [T, N] bool, False where a row is no transition (a reset in NEXT_STEP, an idle row when disabled)
    episode_return: Tensor  # [T, N] float32 return of the episode so far, final where it ended
    episode_length: Tensor  # [T, N] float32 likewise
    extras: dict[str, Tensor]  # [T, N, ...] what the policy returned beside its actions
    last_obs: Tensor  # [N, *obs] what to act on next
    episodes: Tensor  # scalar float64, how many episodes ended
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
    zero = torch.zeros(env.num_envs, device=env.device)
    tally = engine.Tally(zero, zero, zero)
    if policy is None and not transitions:
        tally, steps, obs = _tally_only(env, num_steps, tally), [], env._observe()
    else:
        steps, tally, obs = _step_by_step(env, num_steps, policy, transitions, tally)
    stacked = {k: torch.stack([s[k] for s in steps]) for k in steps[0]} if steps else {}
    fields: dict[str, Any] = {k: stacked.pop(k, None) for k in TRANSITION}
    return Rollout(
        **fields,
        extras=stacked,
        last_obs=obs,
        episodes=tally.episodes.sum(dtype=torch.float64),
        return_sum=tally.return_sum.sum(dtype=torch.float64),
        length_sum=tally.length_sum.sum(dtype=torch.float64),
    )


def _tally_only(env: VectorEnv, num_steps: int, tally: engine.Tally) -> engine.Tally:
    actions = RandomActions(env, num_steps)
    while num_steps:
        several = min(num_steps, CHUNK)
        tally = env._chunk([actions.at(env.clock + i) for i in range(several)], tally)
        num_steps -= several
    return tally


def _step_by_step(env: VectorEnv, num_steps: int, policy: Callable | None, transitions: bool, tally: Any) -> tuple:
    obs, steps, actions = env._observe(), [], RandomActions(env, num_steps)
    for _ in range(num_steps):
        action, extras = _ask(policy, obs) if policy else (actions.at(env.clock), {})
        action = env._check(action) if policy else action
        out, tally = env._step(action, True, tally)
        if transitions:
            steps.append(_record(obs, action, out, extras))
        obs = out.obs
    return steps, tally, obs


TRANSITION = Rollout._fields[: Rollout._fields.index("extras")]


def _ask(policy: Callable, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    answer = policy(obs.clone())  # it may write to what it is given, and return the same memory at every call
    action, extras = answer if isinstance(answer, tuple) else (answer, {})
    extras = {name: value.clone() for name, value in extras.items()}
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
        "next_obs": out.obs if out.final_obs is None else out.final_obs,
        "valid": torch.ones_like(out.terminated) if out.valid is None else out.valid,
        "episode_return": out.episode_return,
        "episode_length": out.episode_length,
        **extras,
    }


class RandomActions:
    """The actions of a `VectorEnv` that acts at random: a function of its seed, the environment and the step alone."""

    def __init__(self, env: VectorEnv, num_steps: int):
        self.env = env
        self.space: Any = env.single_action_space
        if not (isinstance(self.space, Discrete) or self.space.is_bounded()):
            raise InputError(f"{self.space} has no bounds to draw random actions between: give a policy.")
        self.width = 1 if isinstance(self.space, Discrete) else int(self.space.shape[0])  # words a step needs
        wanted = num_steps * self.width // 4 + 2
        self.blocks = min(wanted, max(2, WORDS_AT_ONCE // (4 * env.num_envs)))
        self.first = self.stop = 0  # what is held is number `first` to `stop` of the stream
        self.drawn = torch.empty(0)

    def at(self, clock: int) -> Tensor:
        """`[N]` int32 or `[N, d]` float32 for step number `clock`."""
        one = [self._number(clock * self.width + j) for j in range(self.width)]
        if isinstance(self.space, Discrete):
            return one[0]
        low, high = (torch.from_numpy(x).to(self.env.device) for x in (self.space.low, self.space.high))
        return low + (high - low) * torch.stack(one, -1)

    def _number(self, number: int) -> Tensor:
        if not self.first <= number < self.stop:
            block = number // 4
            self.first, self.stop = block * 4, (block + self.blocks) * 4
            self.drawn = self.env._random_actions(block, self.blocks)
        return self.drawn[number - self.first]
