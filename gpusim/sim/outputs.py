"""Memory for what steps return, in the layout that Triton's kernels and C++ fill: of a vector observation the environments
lie last, `[D, N]`, of an image the cells, `[N, *obs]`."""

from functools import cached_property
from typing import Any

import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim.book import Step
from gpusim.env import Env
from gpusim.rollout import TRANSITION

FORMS = 64  # numbers of steps whose shapes are remembered
Buffers = dict[str, Tensor]


class OutputBuffers:
    """Makes room for the outputs of `env`'s steps, and gives what was filled its public shape.

    Attributes:
        same: whether an episode that ends begins anew within the step, so that every row is a transition.
        flat: whether observations are vectors.
        discrete: whether actions are whole numbers.
    """

    def __init__(self, env: Env, autoreset: AutoresetMode, num_envs: int, device: torch.device):
        self.env, self.num_envs, self.device = env, num_envs, device
        self.same, self.flat = autoreset is AutoresetMode.SAME_STEP, len(env.observation_space.shape) == 1
        self.discrete = isinstance(env.action_space, Discrete)
        self._obs, self._tally = self._obs_form(), self._form(torch.float32, 3)
        self._step, self._forms = self._step_form(), dict[int, Buffers]()

    def obs(self) -> Tensor:
        """One observation of every environment."""
        return torch.empty_like(self._obs)

    def tally(self) -> Tensor:
        """`[3, N]` float32, for a `gpusim.book.Tally`."""
        return torch.empty_like(self._tally)

    def step(self, observe: bool) -> Buffers:
        """Of one step: the fields of `gpusim.book.Step`, but that the observation to act on next is `last_obs`, the true
        successor `next_obs`, the length `episode_steps`, and that where an episode ended is told twice, `ended` and
        `ended_too`. Without observations, unless `observe`; what the auto-reset mode leaves out has no room."""
        out = {name: torch.empty_like(form) for name, form in self._step.items()}
        if observe:
            out["last_obs"] = self.obs()
            if self.same:
                out["next_obs"] = self.obs()
        return out

    def as_step(self, out: Buffers) -> Step:
        return Step(
            self.shaped(out.get("last_obs")), self.shaped(out.get("next_obs")), out["reward"], out["terminated"],
            out["truncated"], out["reset"], out.get("valid"), out["episode_return"], out["episode_steps"],
            (out["ended"], out["ended_too"]),
        )  # fmt: skip

    def rollout(self, steps: int) -> Buffers:
        """Of every transition of `steps` steps, by the names of `gpusim.rollout.Rollout`; no `valid` where all are."""
        if steps not in self._forms:
            if len(self._forms) >= FORMS:
                self._forms.clear()
            self._forms[steps] = self._rollout_form(steps)
        return {name: torch.empty_like(form) for name, form in self._forms[steps].items()}

    def as_transitions(self, out: Buffers, steps: int) -> dict[str, Any]:
        """The fields `[T, N, ...]` of a `Rollout` that are transitions; None each where there was no room for them."""
        if not out:
            return dict.fromkeys(TRANSITION)
        action = out["action"]
        return out | {
            "obs": self.shaped(out["obs"]),
            "next_obs": self.shaped(out["next_obs"]),
            "action": action if self.discrete else action.movedim(1, -1),
            "valid": out["valid"] if "valid" in out else self._everywhere(steps),
        }

    def shaped(self, obs: Tensor | None) -> Any:
        """`[..., N, *obs]` of an observation that was filled."""
        return obs.mT if obs is not None and self.flat else obs

    def _form(self, dtype: torch.dtype, *before: int, after: tuple[int, ...] = ()) -> Tensor:
        """Without memory, `[*before, N, *after]`: to make room like something takes half the time of describing it."""
        return torch.empty((), dtype=dtype, device=self.device).expand(*before, self.num_envs, *after)

    def _obs_form(self, *before: int) -> Tensor:
        space: Any = self.env.observation_space
        dtype = torch.from_numpy(space.low[:0]).dtype
        return self._form(dtype, *before, *space.shape) if self.flat else self._form(dtype, *before, after=space.shape)

    def _step_form(self) -> Buffers:
        flags = ("terminated", "truncated", "reset", "ended", "ended_too", *(() if self.same else ("valid",)))
        return {
            **dict.fromkeys(("reward", "episode_return"), self._form(torch.float32)),
            **dict.fromkeys(flags, self._form(torch.bool)),
            "episode_steps": self._form(torch.int32),
        }

    def _rollout_form(self, steps: int) -> Buffers:
        flags = ("terminated", "truncated", *(() if self.same else ("valid",)))
        entries = () if self.discrete else self.env.action_space.shape or ()
        return {
            **dict.fromkeys(("obs", "next_obs"), self._obs_form(steps)),
            "action": self._form(torch.int32 if self.discrete else torch.float32, steps, *entries),
            **dict.fromkeys(("reward", "episode_return", "episode_length"), self._form(torch.float32, steps)),
            **dict.fromkeys(flags, self._form(torch.bool, steps)),
        }

    @cached_property
    def _true(self) -> Tensor:
        return torch.ones(1, dtype=torch.bool, device=self.device)

    def _everywhere(self, steps: int) -> Tensor:
        """`[T, N]` of True, in a memory that nobody can write to."""
        return (self._true if steps * self.num_envs > 1 else self._true.clone()).expand(steps, self.num_envs)
