"""`rollout`: many steps in one call, with random actions or a policy; what learners and benchmarks stand on."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from gpusim import checks
from gpusim.base import apart
from gpusim.book import Step, Tally
from gpusim.errors import InputError
from gpusim.kernels.policy import MlpPolicy
from gpusim.memory import require
from gpusim.policy import Policy as Policy
from gpusim.policy import StatefulPolicy, form, require_form, starting_state
from gpusim.random_actions import RandomActions
from gpusim.tree import tree_map

REST = 16  # bytes of a transition beside its observation: reward, action, flags, return and length
SEVERAL = 8  # steps whose random actions are handed over at once, where nothing is wanted but the statistics


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
    policy_state: Any = None  # [N, ...] that of a `gpusim.policy.StatefulPolicy` before the first step
    last_policy_state: Any = None  # [N, ...] after the last one, with which to act on `last_obs`

    @property
    def begun(self) -> Tensor:
        """`[T, N]` bool, where `obs` is the first of an episode."""
        return self.valid & (self.episode_length == 1.0)


class Steppable(Protocol):
    """N environments that have been reset: all that a rollout knows of them, wherever they step and whatever is around
    them. Without a reset, everything but the attributes raises ResetNeeded."""

    @property
    def num_envs(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def single_observation_space(self) -> Box: ...

    @property
    def single_action_space(self) -> Discrete | Box: ...

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

    def begun(self) -> Tensor:
        """`[N]` bool, where `observe` gives the first of an episode."""

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

    def recorder(self, num_steps: int) -> "Steps":
        """What makes and keeps the steps of a rollout, one by one."""


def rollout(
    env: Steppable, num_steps: int, policy: Policy | None = None, *, transitions: bool = True, policy_state: Any = None
) -> Rollout:
    """`num_steps` steps of `env` from where it stands.

    Args:
        env: what `gpusim.make` gives, after a reset, or a wrapper of it.
        num_steps: T.
        policy: obs `[N, *obs]` → actions, or → (actions, dict of tensors `[N, ...]` to keep). None acts at random, each
            draw a function of (seed, environment, steps since seeding) alone. So it is for a
            `gpusim.kernels.policy.MlpPolicy`, whose extras are `sample`, `log_prob`, `value` and `next_value` (of the true
            next observation, 0 where the step terminated); the backend "triton" runs it in one kernel with the steps. A
            `gpusim.policy.StatefulPolicy` remembers, and is told where an episode begins.
        transitions: whether to return every transition; without, only `last_obs` and the statistics.
        policy_state: what a policy that remembers begins with, as `Rollout.last_policy_state` of the rollout before; None:
            its initial state.

    Raises:
        InputError: `num_steps` is not positive, the transitions do not fit into memory, the policy is an `MlpPolicy` for
            other spaces, or a policy's actions or its state are refused.
        ResetNeeded: `env` has not been reset.
    """
    num_steps, transitions = checks.positive("num_steps", num_steps), checks.flag("transitions", transitions)
    _check_policy(env, policy, policy_state)
    if transitions:
        _check_memory(env, num_steps)
    fast = env.fast_rollout(num_steps, policy, transitions)
    if fast is not None:
        return fast
    return (with_transitions if transitions else tallied)(env, num_steps, policy, policy_state)


def _check_policy(env: Steppable, policy: object, state: object) -> None:
    remembers = isinstance(policy, StatefulPolicy)
    if not (policy is None or callable(policy) or isinstance(policy, MlpPolicy) or remembers):
        raise InputError(f"policy must be a function of observations or None, not {checks.told(policy)}.")
    if state is not None and not remembers:
        raise InputError("policy_state is for a policy that remembers, one with initial_state and act.")
    if isinstance(policy, MlpPolicy) and (
        misfit := policy.misfit(env.single_observation_space, env.single_action_space)
    ):
        raise InputError(f"the policy does not fit the environment: {misfit}.")


def _check_memory(env: Steppable, num_steps: int) -> None:
    """On a CPU, where too much is not refused by whoever allocates but ends the process."""
    if env.device.type == "cpu":
        space = env.single_observation_space
        each = math.prod(space.shape) * space.dtype.itemsize + REST
        transitions = num_steps * env.num_envs
        require(f"{transitions:,} transitions, of {num_steps:,} steps", transitions * each, env.device)


def tallied(env: Steppable, num_steps: int, policy: Policy | None, policy_state: Any = None) -> Rollout:
    """The statistics alone."""
    zero = torch.zeros(env.num_envs, dtype=torch.float32, device=env.device)
    tally, states = Tally(zero, zero.clone(), zero.clone()), {}
    if policy is None:
        tally = _tally_at_random(env, num_steps, tally)
    else:
        actor, counter = Actor(env, policy, policy_state), Counter(env, tally)
        _act(env, num_steps, actor, counter)
        tally, states = counter.tally, actor.states()
    nothing: dict[str, Any] = dict.fromkeys(TRANSITION)
    sums = (x.sum(dtype=torch.float64) for x in tally)
    return Rollout(**nothing, extras={}, last_obs=env.observe(), **dict(zip(SUMS, sums, strict=True)), **states)


class Steps:
    """Makes the steps of a rollout and keeps them."""

    def __init__(self, env: Steppable):
        self.env = env
        self.records: list[dict[str, Tensor]] = []
        self.reset: Tensor | None = None  # where the last step began an episode

    def begun(self) -> Tensor:
        """`[N]` bool, where what is to be acted on next is the first of an episode."""
        return self.env.begun() if self.reset is None else self.reset.clone()

    def take(self, obs: Tensor, action: Tensor, extras: dict[str, Tensor]) -> Tensor:
        """One step; the next observation."""
        out, _ = self.env.advance(action)
        self.records.append(_record(obs, action, out, extras))
        self.reset = out.reset
        return out.obs

    def stacked(self) -> dict[str, Tensor]:
        """`[T, N, ...]` each."""
        whole = {name: _stack([step[name] for step in self.records]) for name in self.records[0]}
        return whole | {"episode_length": whole["episode_length"].float()}

    def close(self) -> None:
        """No step follows."""


class Counter(Steps):
    """Makes the steps, and keeps nothing but a tally."""

    def __init__(self, env: Steppable, tally: Tally):
        super().__init__(env)
        self.tally = tally

    def take(self, obs: Tensor, action: Tensor, extras: dict[str, Tensor]) -> Tensor:
        out, tally = self.env.advance(action, tally=self.tally)
        self.tally, self.reset = tally or self.tally, out.reset
        return out.obs


def with_transitions(env: Steppable, num_steps: int, policy: Policy | None, policy_state: Any = None) -> Rollout:
    """Step by step."""
    actor = RandomActor(env, num_steps) if policy is None else Actor(env, policy, policy_state)
    steps = env.recorder(num_steps)
    try:
        last_obs = _act(env, num_steps, actor, steps)
        with apart():
            stacked = steps.stacked()
            if isinstance(policy, MlpPolicy):
                stacked["next_value"] = policy.value(stacked["next_obs"]) * ~stacked["terminated"]
            return assembled(stacked, last_obs)._replace(**actor.states())
    finally:
        steps.close()


def _act(env: Steppable, num_steps: int, actor: "Actor | RandomActor", steps: Steps) -> Tensor:
    """The observation after so many steps."""
    obs = env.observe()
    for _ in range(num_steps):
        obs = steps.take(obs, *actor.act(obs, steps.begun))
    return obs


def assembled(stacked: dict[str, Tensor], last_obs: Tensor) -> Rollout:
    """The rollout of what was kept of its steps, `[T, N, ...]`; what is no field of it came from the policy."""
    valid = stacked.pop("valid", None)
    ended = stacked["terminated"] | stacked["truncated"]
    ended = ended if valid is None else ended & valid
    totals = [stacked[name].masked_fill(~ended, 0.0) for name in ("episode_return", "episode_length")]
    sums = [x.sum(dtype=torch.float64) for x in (ended, *totals)]
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
    actions = RandomActor(env, num_steps).actions
    while num_steps:
        several = min(num_steps, SEVERAL)
        tally = env.advance_several([actions.at(env.clock + i) for i in range(several)], tally)
        num_steps -= several
    return tally


TRANSITION = Rollout._fields[: Rollout._fields.index("extras")]
SUMS = ("episodes", "return_sum", "length_sum")


class Actor:
    """A policy that acts in `env`, and its state, should it have one."""

    def __init__(self, env: Steppable, policy: Policy, state: Any = None):
        self.env = env
        self.policy: Any = policy
        self.first = self.state = None  # before the first step, and now
        if isinstance(policy, StatefulPolicy):
            with apart():
                self.first = starting_state(policy, env.num_envs, env.device, state)
                self.state = tree_map(torch.clone, self.first)
        self.form = form(self.state)

    def act(self, obs: Tensor, begun: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Actions for `obs`, and what to keep beside them; `begun` tells where `obs` is the first of an episode."""
        if isinstance(self.policy, MlpPolicy):
            with torch.no_grad():
                return self.policy.act(obs, self.env.seed, self.env.index, self.env.clock)
        obs = obs.clone()  # the policy may write to what it is given, and return the same memory at every call
        action, extras = self._remembering(obs, begun()) if self.state is not None else self._asked(obs)
        if not isinstance(extras, dict) or not all(_kept(name, x, self.env.num_envs) for name, x in extras.items()):
            raise InputError(
                "what the policy gives beside its actions must be a dict of names and tensors of shape "
                f"({self.env.num_envs}, ...), not {checks.told(extras)}."
            )
        extras = {name: value.clone() for name, value in extras.items()}
        if clash := set(extras) & set(TRANSITION):
            raise InputError(f"the policy's extras use names that a rollout has already: {', '.join(sorted(clash))}.")
        return self.env.check_actions(action), extras

    def _asked(self, obs: Tensor) -> tuple[Any, Any]:
        answer = self.policy(obs)
        if isinstance(answer, tuple) and len(answer) != 2:
            raise InputError(f"a policy gives actions, or actions and a dict of tensors, not a tuple of {len(answer)}.")
        return answer if isinstance(answer, tuple) else (answer, {})

    def _remembering(self, obs: Tensor, begun: Tensor) -> tuple[Any, Any]:
        answer = self.policy.act(obs, self.state, begun)
        if not isinstance(answer, tuple) or len(answer) != 3:
            raise InputError(
                f"a policy that remembers gives actions, a dict of tensors and its state, not {checks.told(answer)}."
            )
        action, extras, state = answer
        require_form("the state that a policy gives", state, self.form)
        self.state = state
        return action, extras

    def states(self) -> dict[str, Any]:
        """Those before the first step and after the last, as a `Rollout` has them."""
        with apart():
            return {"policy_state": self.first, "last_policy_state": tree_map(torch.clone, self.state)}


def _kept(name: object, value: object, num_envs: int) -> bool:
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


class RandomActor:
    """As `Actor`, but at random."""

    def __init__(self, env: Steppable, num_steps: int):
        self.env = env
        self.actions = RandomActions(env.single_action_space, env.num_envs, env.device, env.random_actions, num_steps)

    def act(self, obs: Tensor, begun: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return self.actions.at(self.env.clock), {}

    def states(self) -> dict[str, Any]:
        return {}
