"""`rollout`: many steps in one call, with random actions or a policy; what learners and benchmarks stand on."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim import checks
from gpusim.base import apart
from gpusim.book import Step, Tally
from gpusim.errors import InputError
from gpusim.kernels.policy import MlpPolicy
from gpusim.memory import require

WORDS_AT_ONCE = 2**18  # random words drawn in one go: large enough to amortize the calls, small enough for the cache
REST = 16  # bytes of a transition beside its observation: reward, action, flags, return and length
SEVERAL = 8  # steps whose random actions are handed over at once, where nothing is wanted but the statistics
Policy = Callable[[Tensor], Any] | MlpPolicy


class Rollout(NamedTuple):
    """T steps of N environments; fields of shape `[T, ...]` are None where no transitions were asked for."""

    obs: Tensor  # [T, N, *obs] what was acted on
    action: Tensor  # [T, N, *action]
    reward: Tensor  # [T, N] float32
    terminated: Tensor  # [T, N] bool
    truncated: Tensor  # [T, N] bool
    next_obs: Tensor  # [T, N, *obs] the true observation after the step, never one from after a reset; None where a
    # kernel held the policy, whose extras tell its value
    valid: Tensor  # [T, N] bool, False where a row is no transition (a reset in NEXT_STEP, an idle row when disabled)
    episode_return: Tensor  # [T, N] float32 return of the episode so far, final where it ended
    episode_length: Tensor  # [T, N] float32 likewise
    extras: dict[str, Tensor]  # [T, N, ...] what the policy returned beside its actions
    last_obs: Tensor  # [N, *obs] what to act on next
    episodes: Tensor  # scalar float64, how many episodes ended
    return_sum: Tensor  # scalar float64, sum of their returns
    length_sum: Tensor  # scalar float64, sum of their lengths


class Steppable(Protocol):
    """N environments that have been reset: all that a rollout knows of them, wherever they step and whatever is around
    them. Without a reset, everything but the attributes raises ResetNeeded."""

    @property
    def num_envs(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def single_observation_space(self) -> Any: ...

    @property
    def single_action_space(self) -> Any: ...

    @property
    def clock(self) -> int:
        """Steps since seeding, the counter of random actions."""

    @property
    def seed(self) -> Tensor:
        """The seed in force, an int64 scalar on the device; not to be written to."""

    @property
    def index(self) -> Tensor:
        """`[N]` int64, the number by which each environment draws."""

    def observe(self) -> Tensor:
        """`[N, *obs]`, what to act on next, in memory of the caller's own."""

    def advance(
        self, actions: Tensor, *, observe: bool = True, tally: Tally | None = None
    ) -> tuple[Step, Tally | None]:
        """One step, with actions that `check_actions` gave.

        Args:
            observe: whether observations are wanted.
            tally: what to add the episodes that end to.
        """

    def advance_several(self, actions: list[Tensor], tally: Tally) -> Tally:
        """Some steps, of which nothing is wanted but the tally."""

    def check_actions(self, actions: Any) -> Tensor:
        """Actions as `advance` takes them; raises InputError where they are none."""

    def random_actions(self, block: int, count: int) -> Tensor:
        """`count` blocks of the stream of random actions, see `gpusim.engine.random_actions`; `block` is the first one's
        number."""

    def fast_rollout(self, num_steps: int, policy: Policy | None, transitions: bool) -> "Rollout | None":
        """A rollout by other means than step by step; None where there are none for this one."""


def rollout(env: Steppable, num_steps: int, policy: Policy | None = None, *, transitions: bool = True) -> Rollout:
    """`num_steps` steps of `env` from where it stands.

    Args:
        env: what `gpusim.make` gives, after a reset, or a wrapper of it.
        num_steps: T.
        policy: obs `[N, *obs]` → actions, or → (actions, dict of tensors `[N, ...]` to keep). None acts at random, each
            draw a function of (seed, environment, steps since seeding) alone. So it is for a
            `gpusim.kernels.policy.MlpPolicy`, whose extras are `sample`, `log_prob`, `value` and `next_value` (of the true
            next observation, 0 where the step terminated); the backend "triton" runs it in one kernel with the steps.
        transitions: whether to return every transition; without, only `last_obs` and the statistics.

    Raises:
        InputError: `num_steps` is not positive, the transitions do not fit into memory, or the policy's actions are refused.
        ResetNeeded: `env` has not been reset.
    """
    num_steps, transitions = checks.positive("num_steps", num_steps), checks.flag("transitions", transitions)
    if policy is not None and not (callable(policy) or isinstance(policy, MlpPolicy)):
        raise InputError(f"policy must be a function of observations or None, not {checks.told(policy)}.")
    if transitions:
        _check_memory(env, num_steps)
    fast = env.fast_rollout(num_steps, policy, transitions)
    if fast is not None:
        return fast
    return with_transitions(env, num_steps, policy, Steps(env)) if transitions else tallied(env, num_steps, policy)


def _check_memory(env: Steppable, num_steps: int) -> None:
    """On a CPU, where too much is not refused by whoever allocates but ends the process."""
    if env.device.type == "cpu":
        space = env.single_observation_space
        each = math.prod(space.shape) * space.dtype.itemsize + REST
        transitions = num_steps * env.num_envs
        require(f"{transitions:,} transitions, of {num_steps:,} steps", transitions * each, env.device)


def tallied(env: Steppable, num_steps: int, policy: Policy | None) -> Rollout:
    """The statistics alone."""
    zero = torch.zeros(env.num_envs, dtype=torch.float32, device=env.device)
    tally = Tally(zero, zero.clone(), zero.clone())
    tally = _tally(env, num_steps, policy, tally) if policy else _tally_at_random(env, num_steps, tally)
    nothing: dict[str, Any] = dict.fromkeys(TRANSITION)
    sums = (x.sum(dtype=torch.float64) for x in tally)
    return Rollout(**nothing, extras={}, last_obs=env.observe(), **dict(zip(SUMS, sums, strict=True)))


def unbounded(space: Any) -> InputError:
    return InputError(f"{space} has no bounds to draw random actions between: give a policy.")


class Steps:
    """Makes the steps of a rollout and keeps them."""

    def __init__(self, env: Steppable):
        self.env = env
        self.kept: list[dict[str, Tensor]] = []

    def take(self, obs: Tensor, action: Tensor, extras: dict[str, Tensor]) -> Tensor:
        """One step; the next observation."""
        out, _ = self.env.advance(action)
        self.kept.append(_record(obs, action, out, extras))
        return out.obs

    def stacked(self) -> dict[str, Tensor]:
        """`[T, N, ...]` each."""
        whole = {name: _stack([step[name] for step in self.kept]) for name in self.kept[0]}
        return whole | {"episode_length": whole["episode_length"].float()}


def with_transitions(env: Steppable, num_steps: int, policy: Any, steps: Any) -> Rollout:
    """A rollout whose steps `steps` makes and keeps, as `Steps` does."""
    obs = env.observe()
    actions = None if policy else RandomActions(env, num_steps)
    for _ in range(num_steps):
        action, extras = (actions.at(env.clock), {}) if actions else _ask(env, policy, obs)
        obs = steps.take(obs, action, extras)
    with apart():
        stacked = steps.stacked()
        if isinstance(policy, MlpPolicy):
            stacked["next_value"] = policy.value(stacked["next_obs"]) * ~stacked["terminated"]
        return assembled(stacked, obs)


def assembled(stacked: dict[str, Tensor], last_obs: Tensor, sums: list[Tensor] | None = None) -> Rollout:
    """The rollout of what was kept of its steps, `[T, N, ...]`; what is no field of it came from the policy."""
    valid = stacked.pop("valid", None)
    if sums is None:
        ended = stacked["terminated"] | stacked["truncated"]
        ended = ended if valid is None else ended & valid
        totals = [
            stacked[name].masked_fill(~ended, 0.0).sum(dtype=torch.float64)
            for name in ("episode_return", "episode_length")
        ]
        sums = [ended.sum(dtype=torch.float64), *totals]
    if valid is None:
        valid = torch.ones((), dtype=torch.bool, device=last_obs.device).expand(stacked["reward"].shape)
    fields = {name: stacked.pop(name) for name in TRANSITION if name != "valid"}
    return Rollout(**fields, valid=valid, extras=stacked, last_obs=last_obs, **dict(zip(SUMS, sums, strict=True)))


def _stack(steps: list[Tensor]) -> Tensor:
    """`[T, N, ...]`; observations lane after lane, as each step's are, which is a copy of whole rows."""
    if steps[0].ndim == 1 or steps[0].is_contiguous():
        return torch.stack(steps)
    return torch.stack([step.movedim(-1, 0) for step in steps]).movedim(1, -1)


def _tally_at_random(env: Steppable, num_steps: int, tally: Tally) -> Tally:
    actions = RandomActions(env, num_steps)
    while num_steps:
        several = min(num_steps, SEVERAL)
        tally = env.advance_several([actions.at(env.clock + i) for i in range(several)], tally)
        num_steps -= several
    return tally


def _tally(env: Steppable, num_steps: int, policy: Policy, tally: Tally) -> Tally:
    obs, counted = env.observe(), tally
    for _ in range(num_steps):
        out, more = env.advance(_ask(env, policy, obs)[0], tally=counted)
        obs, counted = out.obs, more or counted
    return counted


TRANSITION = Rollout._fields[: Rollout._fields.index("extras")]
SUMS = ("episodes", "return_sum", "length_sum")


def _ask(env: Steppable, policy: Any, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    if isinstance(policy, MlpPolicy):
        with torch.no_grad():
            return policy.act(obs, env.seed, env.index, env.clock)
    answer = policy(obs.clone())  # it may write to what it is given, and return the same memory at every call
    if isinstance(answer, tuple) and len(answer) != 2:
        raise InputError(f"a policy gives actions, or actions and a dict of tensors, not a tuple of {len(answer)}.")
    action, extras = answer if isinstance(answer, tuple) else (answer, {})
    if not isinstance(extras, dict) or not all(_kept(name, x, env.num_envs) for name, x in extras.items()):
        raise InputError(
            "what the policy gives beside its actions must be a dict of names and tensors of shape "
            f"({env.num_envs}, ...), not {checks.told(extras)}."
        )
    extras = {name: value.clone() for name, value in extras.items()}
    if clash := set(extras) & set(TRANSITION):
        raise InputError(f"the policy's extras use names that a rollout has already: {', '.join(sorted(clash))}.")
    return env.check_actions(action), extras


def _kept(name: Any, value: Any, num_envs: int) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and value.ndim > 0 and len(value) == num_envs


def _record(obs: Tensor, action: Tensor, out: Step, extras: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "obs": obs,
        "action": action,
        "reward": out.reward,
        "terminated": out.terminated,
        "truncated": out.truncated,
        "next_obs": out.obs if out.final_obs is None else out.final_obs,
        "episode_return": out.episode_return,
        "episode_length": out.episode_length,
        **({} if out.valid is None else {"valid": out.valid}),
        **extras,
    }


def _filled(numbers: list[float], device: torch.device) -> Tensor:
    """Them as float32 on the device, each written there by a kernel: a copy would have the host wait for it."""
    return torch.stack([torch.full((), x, dtype=torch.float32, device=device) for x in numbers])


class RandomActions:
    """The actions of environments that act at random: a function of its seed, the environment and the step alone."""

    def __init__(self, env: Steppable, num_steps: int):
        self.env = env
        self.space: Any = env.single_action_space
        if not (isinstance(self.space, Discrete) or checks.bounded(self.space)):
            raise unbounded(self.space)
        if not isinstance(self.space, Discrete):
            self.low, self.high = (_filled(x.tolist(), env.device) for x in (self.space.low, self.space.high))
        self.width = 1 if isinstance(self.space, Discrete) else int(self.space.shape[0])  # words a step needs
        wanted = num_steps * self.width // 4 + 2
        self.blocks = min(wanted, max(2, WORDS_AT_ONCE // (4 * env.num_envs)))
        self.first = self.stop = 0  # what is held is number `first` to `stop` of the stream
        self.rows: tuple[Tensor, ...] = ()

    def at(self, clock: int) -> Tensor:
        """`[N]` int32 or `[N, d]` float32 for step number `clock`."""
        one = [self._number(clock * self.width + j) for j in range(self.width)]
        if isinstance(self.space, Discrete):
            return one[0]
        return one[0].unsqueeze(-1) if self.width == 1 else torch.stack(one, -1)

    def _number(self, number: int) -> Tensor:
        if not self.first <= number < self.stop:
            block = number // 4
            self.first, self.stop = block * 4, (block + self.blocks) * 4
            self.rows = self._stretched(self.env.random_actions(block, self.blocks)).unbind()
        return self.rows[number - self.first]

    def _stretched(self, drawn: Tensor) -> Tensor:
        """Entries of a `Box` between its bounds, whichever of its numbers the first of them is."""
        if isinstance(self.space, Discrete):
            return drawn
        which = torch.arange(self.first, self.stop, device=drawn.device) % self.width
        return self.low[which, None] + (self.high - self.low)[which, None] * drawn
