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
from gpusim.rollout import SUMS, Policy, Rollout, assembled
from gpusim.sim.functional import Functional
from gpusim.sim.outputs import OutputBuffers
from gpusim.tree import tree_map

AUTORESET = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED)


class TritonStepper(Functional):
    """A stepper, see `gpusim.sim.protocol`, and whole rollouts with random actions."""

    def __init__(self, env: Env, mode: Mode, index: Tensor, first: int = 0):
        self.env, self.mode, self.index, self.first = env, mode, index, first
        self.buffers = OutputBuffers(env, mode.rules.autoreset, len(index), index.device)
        self.bounded = isinstance(env.action_space, Discrete) or checks.bounded(env.action_space)
        self.tables = tuple((x, len(x)) for x in env.tables or ())
        self.varied = bool(mode.per_env or mode.random_params)
        self.known: tuple[Any, LoweredEnv | None] = None, None

    def step(self, c: Carry, action: Any, observe: bool, tally: Tally | None) -> tuple[Carry, Step, Tally | None]:
        given = torch.stack(action) if isinstance(action, tuple) else action
        room = self.buffers.step(observe)
        out = Outputs(
            None, None, room["reward"], room["terminated"], room["truncated"], room.get("next_obs"), room["reset"],
            room.get("valid"), room["episode_return"], room["episode_steps"], (room["ended"], room["ended_too"]),
        )  # fmt: skip
        counted, tally = tally, tally and Tally(*map(torch.empty_like, tally))
        new = self._simulate(c, 0, 1, given, out, room.get("last_obs"), tally, counted)
        return new, self.buffers.as_step(room), tally

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
        tallied, last = self.buffers.tally(), self.buffers.obs()
        out = self.buffers.rollout(steps) if transitions else {}
        new = self._simulate(c, clock, steps, None, Outputs(**out), last, Tally(*tallied.unbind()), None)
        sums = dict(zip(SUMS, tallied.sum(1, dtype=torch.float64).unbind(), strict=True))
        fields = self.buffers.as_transitions(out, steps)
        return new, Rollout(**fields, extras={}, last_obs=self.buffers.shaped(last), **sums)

    def _by_policy(self, c: Carry, clock: int, steps: int, policy: MlpPolicy) -> tuple[Carry, Rollout]:
        kept, before = collected(steps, len(self.index), policy), self.episodes(c)
        after, now = tree_map(torch.empty_like, before._replace(tables=())), torch.full_like(self.index[0], clock)
        rollout(self.lowered(c), before, c.seed, now, policy, kept, after, self.first)
        fields = kept._asdict() | {"obs": kept.obs.movedim(1, -1), "next_obs": None}
        fields["sample"] = kept.sample.movedim(1, -1) if policy.shape.gaussian else kept.sample
        fields["action"] = policy.env_action(fields["sample"])
        new = self.carry(c, after)
        return new, assembled({k: v for k, v in fields.items() if v is not None or k == "next_obs"}, self.observe(new))

    def rollout_into(self, c: Carry, out: Any, policy: MlpPolicy, clock: Tensor) -> None:
        here = self.episodes(c)
        rollout(self.lowered(c), here, c.seed, clock, policy, out, here, self.first)

    def holds(self, policy: MlpPolicy) -> bool:
        """Whether the policy can be inside the kernel with the steps."""
        fits = mlp_problem(policy.shape) is None and checks.policy_problem(self.env) is None
        return self.buffers.same and self.buffers.flat and fits

    def observe(self, c: Carry) -> Tensor:
        obs = self.buffers.obs()
        self._simulate(c, 0, 0, None, Outputs(), obs, None, None)
        return self.buffers.shaped(obs)

    def _simulate(
        self, c: Carry, clock: int, steps: int, actions: Any, out: Outputs, obs: Any, tally: Any, counted: Any
    ) -> Carry:
        e = self.episodes(c)
        after = simulate(self.lowered(c), e, c.seed, clock, steps, actions, out, obs, tally, counted, self.first)
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
        flags = () if self.buffers.same else (c.book.terminated, c.book.truncated)
        per_env = tuple(p for p in c.params if isinstance(p, Tensor)) if self.varied else ()
        state = tuple(x.contiguous() for x in c.state)
        return Episodes(state, per_env, c.book.elapsed, c.book.episode_return, c.episode, flags, self.tables)

    def carry(self, c: Carry, e: Episodes) -> Carry:
        params, flags = c.params, e.flags or (c.book.terminated, c.book.truncated)
        if e.per_env:
            values = iter(e.per_env)
            params = type(params)(*(next(values) if isinstance(p, Tensor) else p for p in params))
        state = type(c.state)(*e.state)
        return Carry(state, params, Book(e.elapsed, e.episode_return, *flags), e.episode, c.seed)


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
        lower(env.init), lower(env.step), lower(env.observe), state, type(env.with_tables(numbers)),
        widths, tuple(numbers), slots, ranges, mode.rules.max_episode_steps or 0, AUTORESET.index(mode.rules.autoreset),
        0 if len(shape) == 1 else int(torch.Size(shape).numel()),
        int(space.n) if isinstance(space, Discrete) else 0,
        bounds[0], bounds[1], tuple(1 if x.ndim == 1 else x.shape[1] for x in env.tables or ()),
    )  # fmt: skip
