"""How steps are run by the fused Triton kernel: one launch for as many steps as are asked for."""

import functools
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim.engine import Carry, Mode, Step, Tally
from gpusim.env import Env
from gpusim.kernels.episode_triton import Episodes, Game
from gpusim.kernels.lower import lower
from gpusim.kernels.mlp import mlp_problem
from gpusim.kernels.policy import MlpPolicy
from gpusim.kernels.rollout_triton import Collected, rollout
from gpusim.kernels.simulate_triton import Transitions, simulate
from gpusim.remember import by_env

AUTORESET = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED)


class Fused:
    """A stepper, as those of `gpusim.stepper`, and whole rollouts with random actions."""

    def __init__(self, env: Env, mode: Mode, index: Tensor):
        self.env, self.mode, self.index = env, mode, index

    def step(self, c: Carry, action: Any, look: bool, tally: Tally | None) -> tuple[Carry, Step, Tally | None]:
        tally = tally and Tally(*(x.clone() for x in tally))
        given = torch.stack(action) if isinstance(action, tuple) else action
        reward, episode_return, episode_length = (self._new(torch.float32) for _ in range(3))
        terminated, truncated, reset, valid = (self._new(torch.bool) for _ in range(4))
        same = self.mode.autoreset is AutoresetMode.SAME_STEP
        obs = self._obs() if look else None
        kept = Transitions(
            reward=reward, terminated=terminated, truncated=truncated, next_obs=self._obs() if look and same else None,
            reset=reset, valid=None if same else valid, episode_return=episode_return, episode_length=episode_length,
        )  # fmt: skip
        new = self._simulate(c, 0, 1, given, kept, obs, tally)
        out = Step(
            self._shaped(obs), self._shaped(kept.next_obs), reward, terminated, truncated, reset, kept.valid,
            episode_return, episode_length,
        )  # fmt: skip
        return new, out, tally

    def chunk(self, c: Carry, actions: list, tally: Tally) -> tuple[Carry, Tally]:
        for action in actions:
            c, _, tally = self.step(c, action, False, tally)  # type: ignore[assignment]
        return c, tally

    def at_random(
        self, c: Carry, clock: int, steps: int, transitions: bool
    ) -> tuple[Carry, Transitions, Tally, Tensor]:
        """`steps` steps with random actions: every transition if wanted, a tally, and what to act on next."""
        last, tally = self._obs(), Tally(*(self._new(torch.float32).zero_() for _ in range(3)))
        kept = self._transitions(steps) if transitions else Transitions()
        new = self._simulate(c, clock, steps, None, kept, last, tally)
        return new, self._told(kept) if transitions else kept, tally, self._shaped(last)

    def _transitions(self, steps: int) -> Transitions:
        """Room for what is told of `steps` steps."""
        number = functools.partial(self._new, torch.float32, steps)
        flag = functools.partial(self._new, torch.bool, steps)
        space = self.env.action_space
        shape = (steps,) if isinstance(space, Discrete) else (steps, *space.shape)
        action = self._new(torch.int32 if isinstance(space, Discrete) else torch.float32, *shape)
        valid = None if self.mode.autoreset is AutoresetMode.SAME_STEP else flag()
        return Transitions(
            obs=self._obs(steps), action=action, reward=number(), terminated=flag(), truncated=flag(),
            next_obs=self._obs(steps), valid=valid, episode_return=number(), episode_length=number(),
        )  # fmt: skip

    def _told(self, kept: Transitions) -> Transitions:
        """What was kept, `[T, N, ...]`."""
        action = kept.action.movedim(1, -1) if kept.action.ndim == 3 else kept.action
        return kept._replace(obs=self._shaped(kept.obs), next_obs=self._shaped(kept.next_obs), action=action)

    def holds(self, policy: MlpPolicy) -> bool:
        """Whether the policy can be inside the kernel with the steps."""
        same = self.mode.autoreset is AutoresetMode.SAME_STEP
        return same and len(self.env.observation_space.shape) == 1 and mlp_problem(policy.shape) is None

    def with_policy(self, c: Carry, clock: Tensor, policy: MlpPolicy, kept: Collected) -> Carry:
        """As many steps as `kept` has room for, by a policy that `holds`; `clock` is an int64 scalar on the device."""
        before = self.episodes(c)
        after = Episodes(*(_empty_like(x) for x in before))
        rollout(self.game(c), before, c.seed, clock, policy, kept, after)
        return self.carry(c, after)

    def settle(self, c: Carry) -> Carry:
        return c

    def lanes(self, tree: Any) -> Any:
        return tree

    def observe(self, c: Carry) -> Tensor:
        obs = self._obs()
        self._simulate(c, 0, 0, None, Transitions(), obs, None)
        return self._shaped(obs)

    def _simulate(self, c: Carry, clock: int, steps: int, actions: Any, kept: Transitions, obs: Any, tally: Any):
        after = simulate(self.game(c), self.episodes(c), c.seed, clock, steps, actions, kept, obs, tally)
        return self.carry(c, after)

    def game(self, c: Carry) -> Game:
        """The environment as the kernel sees it, with the parameters of this carry that are numbers."""
        numbers = tuple(None if isinstance(p, Tensor) else p for p in c.params)
        widths = tuple(0 if x.ndim == 1 else x.shape[1] for x in c.state)
        return _game(self.env, self.mode, type(c.state), widths, type(c.params)(*numbers))

    def episodes(self, c: Carry) -> Episodes:
        flags = () if self.mode.autoreset is AutoresetMode.SAME_STEP else (c.terminated, c.truncated)
        lanes = tuple(p for p in c.params if isinstance(p, Tensor))
        return Episodes(tuple(x.contiguous() for x in c.state), lanes, c.elapsed, c.episode_return, c.episode, flags)

    def carry(self, c: Carry, e: Episodes) -> Carry:
        lanes = iter(e.lanes)
        return c._replace(
            state=type(c.state)(*e.state),
            params=type(c.params)(*(next(lanes) if isinstance(p, Tensor) else p for p in c.params)),
            elapsed=e.elapsed,
            episode_return=e.episode_return,
            episode=e.episode,
            **dict(zip(("terminated", "truncated"), e.flags, strict=False)),
        )

    def _new(self, dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.empty((*shape, len(self.index)), dtype=dtype, device=self.index.device)

    def _obs(self, *steps: int) -> Tensor:
        space = self.env.observation_space
        if len(space.shape) == 1:
            return self._new(torch.float32, *steps, *space.shape)
        shape = (*steps, len(self.index), *space.shape)
        return torch.empty(shape, dtype=_dtype(space), device=self.index.device)

    def _shaped(self, obs: Tensor | None) -> Any:
        """`[..., N, *obs]` of what a kernel filled."""
        return obs.movedim(-1, -2) if obs is not None and len(self.env.observation_space.shape) == 1 else obs


def _empty_like(x: Any) -> Any:
    return tuple(map(torch.empty_like, x)) if isinstance(x, tuple) else torch.empty_like(x)


def _dtype(space: Any) -> torch.dtype:
    return torch.from_numpy(space.low[:0]).dtype


@by_env
def _game(env: Env, mode: Mode, state: type, widths: tuple[int, ...], numbers: Any) -> Game:
    space, places = env.action_space, [k for k, p in enumerate(numbers) if p is None]
    slots = tuple(places.index(k) if k in places else -1 for k in range(len(numbers)))
    ranges = tuple((slots[numbers._fields.index(name)], low, high) for name, low, high in mode.random_params)
    with np.errstate(over="ignore"):  # of bounds so wide, nothing is drawn
        box = () if isinstance(space, Discrete) else (space.low, space.high - space.low)
    bounds = [tuple(x.tolist()) for x in box] or [(), ()]
    shape = env.observation_space.shape
    return Game(
        lower(env.init), lower(env.step), lower(env.observe), state, type(numbers),
        widths, tuple(numbers), slots, ranges, mode.max_episode_steps or 0, AUTORESET.index(mode.autoreset),
        0 if len(shape) == 1 else int(torch.Size(shape).numel()),
        int(space.n) if isinstance(space, Discrete) else 0,
        *bounds,
    )  # fmt: skip
