"""How steps are run by the fused Triton kernel: one launch for as many steps as are asked for."""

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim import checks
from gpusim.book import Book, Step, Tally
from gpusim.engine import Carry, Mode
from gpusim.env import Env
from gpusim.kernels.episode_triton import Episodes, LoweredEnv
from gpusim.kernels.lower import lower
from gpusim.kernels.mlp import mlp_problem
from gpusim.kernels.policy import MlpPolicy
from gpusim.kernels.rollout_triton import collected, rollout
from gpusim.kernels.simulate_triton import Outputs, simulate
from gpusim.random_actions import unbounded
from gpusim.remember import by_env
from gpusim.rollout import Policy, Rollout, assembled
from gpusim.sim.functional import Functional
from gpusim.tree import tree_map

AUTORESET = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED)


class TritonStepper(Functional):
    """A stepper, see `gpusim.sim.protocol`, and whole rollouts with random actions."""

    def __init__(self, env: Env, mode: Mode, index: Tensor, first: int = 0):
        self.env, self.mode, self.index, self.first = env, mode, index, first
        self.same, self.flat = mode.rules.autoreset is AutoresetMode.SAME_STEP, len(env.observation_space.shape) == 1
        self.discrete = isinstance(env.action_space, Discrete)
        self.bounded = isinstance(env.action_space, Discrete) or checks.bounded(env.action_space)
        self.always, self.tallied = torch.ones_like(index[:1], dtype=torch.bool), self._like(torch.float32, 3)
        self.varied = bool(mode.per_env or mode.random_params)
        self.forms: dict[int, Outputs] = {}
        self.known: tuple[Any, LoweredEnv | None] = None, None

    def step(self, c: Carry, action: Any, observe: bool, tally: Tally | None) -> tuple[Carry, Step, Tally | None]:
        given = torch.stack(action) if isinstance(action, tuple) else action
        kept = self._room(0)
        obs, next_obs = (kept.obs, kept.next_obs) if observe else (None, None)
        counted, tally = tally, tally and Tally(*map(torch.empty_like, tally))
        new = self._simulate(c, 0, 1, given, kept._replace(obs=None, next_obs=next_obs), obs, tally, counted)
        out = Step(
            self._shaped(obs), self._shaped(next_obs), kept.reward, kept.terminated, kept.truncated, kept.reset,
            kept.valid, kept.episode_return, kept.episode_length, kept.ended,
        )  # fmt: skip
        return new, out, tally

    def rollout(
        self, c: Carry, clock: int, num_steps: int, policy: Policy | None, transitions: bool
    ) -> tuple[Carry, Rollout] | None:
        if policy is None:
            return self._at_random(c, clock, num_steps, transitions)
        if transitions and isinstance(policy, MlpPolicy) and self.holds(policy):
            return self._by_policy(c, clock, num_steps, policy)
        return None

    def _at_random(self, c: Carry, clock: int, steps: int, transitions: bool) -> tuple[Carry, Rollout]:
        if not self.bounded:
            raise unbounded(self.env.action_space)
        tallied, last = torch.empty_like(self.tallied), torch.empty_like(self._form(0).obs)
        kept = self._room(steps) if transitions else Outputs()
        new = self._simulate(c, clock, steps, None, kept, last, Tally(*tallied.unbind()), None)
        k = self._in_rows(kept, steps) if transitions else kept
        return new, Rollout(
            k.obs, k.action, k.reward, k.terminated, k.truncated, k.next_obs, k.valid, k.episode_return, k.episode_length,
            {}, self._shaped(last), *tallied.sum(1, dtype=torch.float64).unbind(),
        )  # fmt: skip

    def _by_policy(self, c: Carry, clock: int, steps: int, policy: MlpPolicy) -> tuple[Carry, Rollout]:
        kept, before = collected(steps, len(self.index), policy), self.episodes(c)
        after, now = tree_map(torch.empty_like, before), torch.full_like(self.index[0], clock)
        rollout(self.lowered(c), before, c.seed, now, policy, kept, after, self.first)
        fields = kept._asdict() | {"obs": kept.obs.movedim(1, -1), "next_obs": None}
        fields["sample"] = kept.sample.movedim(1, -1) if policy.shape.gaussian else kept.sample
        fields["action"] = policy.env_action(fields["sample"])
        new = self.carry(c, after)
        return new, assembled({k: v for k, v in fields.items() if v is not None or k == "next_obs"}, self.observe(new))

    def rollout_into(self, c: Carry, out: Any, policy: MlpPolicy, clock: Tensor) -> None:
        here = self.episodes(c)
        rollout(self.lowered(c), here, c.seed, clock, policy, out, here, self.first)

    def _room(self, steps: int) -> Outputs:
        """Memory for what a rollout of `steps` steps returns, or, of 0, a single call of `step`."""
        return tree_map(torch.empty_like, self._form(steps))

    def _form(self, steps: int) -> Outputs:
        """Shapes and dtypes of `_room`, in tensors without memory: making room like these takes half the time."""
        if steps not in self.forms:
            if len(self.forms) > 64:
                self.forms.clear()
            self.forms[steps] = self._described(steps)
        return self.forms[steps]

    def _described(self, steps: int) -> Outputs:
        before = (steps,) if steps else ()
        number, flag = self._like(torch.float32, *before), self._like(torch.bool, *before)
        space = self.env.observation_space
        obs = (
            self._like(torch.float32, *before, *space.shape)
            if self.flat
            else self._like(_dtype(space)).new_empty(()).expand(*before, len(self.index), *space.shape)
        )
        action = None
        if steps:
            shape = () if self.discrete else self.env.action_space.shape
            action = self._like(torch.int32 if self.discrete else torch.float32, *before, *shape)  # type: ignore[misc]
        return Outputs(
            obs=obs, action=action, reward=number, terminated=flag, truncated=flag,
            next_obs=obs if steps or self.same else None, reset=None if steps else flag,
            valid=None if self.same else flag, episode_return=number,
            episode_length=number if steps else self._like(torch.int32), ended=() if steps else (flag, flag),
        )  # fmt: skip

    def _like(self, dtype: torch.dtype, *shape: int) -> Tensor:
        """`[*shape, N]` of a single number."""
        return torch.empty((), dtype=dtype, device=self.index.device).expand(*shape, len(self.index))

    def _in_rows(self, kept: Outputs, steps: int) -> Outputs:
        """What was kept, `[T, N, ...]`."""
        return kept._replace(
            obs=self._shaped(kept.obs),
            next_obs=self._shaped(kept.next_obs),
            action=kept.action if self.discrete else kept.action.movedim(1, -1),
            valid=self._all(steps) if kept.valid is None else kept.valid,
        )

    def _all(self, steps: int) -> Tensor:
        """`[T, N]` of True, in a memory that nobody can write to."""
        n = self.index.shape[0]
        return (self.always if steps * n > 1 else self.always.clone()).expand(steps, n)

    def holds(self, policy: MlpPolicy) -> bool:
        """Whether the policy can be inside the kernel with the steps."""
        return self.same and self.flat and mlp_problem(policy.shape) is None

    def observe(self, c: Carry) -> Tensor:
        obs = torch.empty_like(self._form(0).obs)
        self._simulate(c, 0, 0, None, Outputs(), obs, None, None)
        return self._shaped(obs)

    def _simulate(
        self, c: Carry, clock: int, steps: int, actions: Any, kept: Outputs, obs: Any, tally: Any, counted: Any
    ) -> Carry:
        e = self.episodes(c)
        after = simulate(self.lowered(c), e, c.seed, clock, steps, actions, kept, obs, tally, counted, self.first)
        return self.carry(c, after)

    def lowered(self, c: Carry) -> LoweredEnv:
        """The environment as the kernel sees it, with the parameters of this carry that are numbers."""
        params, lowered = self.known
        if lowered is None or params is not c.params:
            numbers = tuple(None if isinstance(p, Tensor) else p for p in c.params)
            widths = tuple(0 if x.ndim == 1 else x.shape[1] for x in c.state)
            lowered = _lowered(self.env, self.mode, type(c.state), widths, type(c.params)(*numbers))
            self.known = c.params, lowered
        return lowered

    def episodes(self, c: Carry) -> Episodes:
        flags = () if self.same else (c.book.terminated, c.book.truncated)
        per_env = tuple(p for p in c.params if isinstance(p, Tensor)) if self.varied else ()
        state = tuple(x.contiguous() for x in c.state)
        return Episodes(state, per_env, c.book.elapsed, c.book.episode_return, c.episode, flags)

    def carry(self, c: Carry, e: Episodes) -> Carry:
        params, flags = c.params, e.flags or (c.book.terminated, c.book.truncated)
        if e.per_env:
            values = iter(e.per_env)
            params = type(params)(*(next(values) if isinstance(p, Tensor) else p for p in params))
        state = type(c.state)(*e.state)
        return Carry(state, params, Book(e.elapsed, e.episode_return, *flags), e.episode, c.seed)

    def _shaped(self, obs: Tensor | None) -> Any:
        """`[..., N, *obs]` of what a kernel filled."""
        return obs.mT if obs is not None and self.flat else obs


def _dtype(space: Any) -> torch.dtype:
    return torch.from_numpy(space.low[:0]).dtype


@by_env
def _lowered(env: Env, mode: Mode, state: type, widths: tuple[int, ...], numbers: Any) -> LoweredEnv:
    space, places = env.action_space, [k for k, p in enumerate(numbers) if p is None]
    slots = tuple(places.index(k) if k in places else -1 for k in range(len(numbers)))
    ranges = tuple((slots[numbers._fields.index(name)], low, high) for name, low, high in mode.random_params)
    with np.errstate(over="ignore"):  # of bounds so wide, nothing is drawn
        box = () if isinstance(space, Discrete) else (space.low, space.high - space.low)
    bounds = [tuple(x.tolist()) for x in box] or [(), ()]
    shape = env.observation_space.shape
    return LoweredEnv(
        lower(env.init), lower(env.step), lower(env.observe), state, type(numbers),
        widths, tuple(numbers), slots, ranges, mode.rules.max_episode_steps or 0, AUTORESET.index(mode.rules.autoreset),
        0 if len(shape) == 1 else int(torch.Size(shape).numel()),
        int(space.n) if isinstance(space, Discrete) else 0,
        *bounds,
    )  # fmt: skip
