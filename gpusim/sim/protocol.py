"""What steps N environments: `Stepper`, where they are pure functions, and `Simulator`, where their state is elsewhere."""

from typing import Any, Protocol

import torch
from torch import Tensor

from gpusim.book import Step, Tally
from gpusim.engine import Carry
from gpusim.env import Task
from gpusim.kernels.policy import MlpPolicy
from gpusim.rollout import Policy, Rollout


class Stepper(Protocol):
    """Steps environments that are written as pure functions. It may hold beginnings ready, but no part of their state: that
    is the carry, which is handed in and out, a `Carry` or what this stepper made of one, and which nobody else looks into
    before `settle`."""

    def begin(self, c: Any, mask: Tensor) -> Any:
        """New episodes of the masked environments; the carry."""

    def step(self, c: Any, action: Any, observe: bool, tally: Tally | None) -> tuple[Any, Step, Tally | None]:
        """One step; `action` is what `Env.step` takes. `observe`: whether observations are wanted."""

    def steps(self, c: Any, actions: list[Any], tally: Tally) -> tuple[Any, Tally]:
        """Some steps, of which nothing is wanted but the tally."""

    def rollout(
        self, c: Any, clock: int, num_steps: int, policy: Policy | None, transitions: bool
    ) -> tuple[Any, Rollout] | None:
        """A whole rollout in one go; None where it has to be made step by step."""

    def rollout_into(self, c: Any, out: Any, policy: MlpPolicy, clock: Tensor) -> None:
        """See `VectorEnv.rollout_into`."""

    def settle(self, c: Any) -> Carry:
        """The carry as a whole, in tensors: due before anything but a step touches it."""

    def observe(self, c: Any) -> Tensor:
        """`[N, *obs]`, bit for bit what a step would give."""

    def over(self, c: Any) -> Tensor:
        """`[N]` bool, the environments that were over before this step, where nothing resets them."""


class Simulator(Protocol):
    """N environments on one device whose state is its own, in whatever memory. It steps all of them, and begins those that
    it is told to; it knows no time limit, no auto-reset and no statistics, which `gpusim.sim.stateful` adds.

    On a GPU it looks at no value on the host. What it gives may be memory that it writes to again. It may have a method
    `infos`, which tells of the last step what `infos` of Gymnasium's `step` is to have besides, by name, `[N]` each.
    """

    @property
    def task(self) -> Task: ...

    @property
    def num_envs(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def begin(self, mask: Tensor, seed: Tensor, index: Tensor, episode: Tensor) -> None:
        """New episodes of the masked environments. What they draw is a function of the three numbers alone, as of
        `Rng(seed, index, episode, 0, STREAM_INIT)`, so that no environment depends on those beside it.

        Args:
            mask: `[N]` bool.
            seed: int64 scalar.
            index: `[N]` int64, the environments' numbers.
            episode: `[N]` int64, the numbers of the episodes that begin.
        """

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """One step of all environments, those too that are over: reward `[N]`, and whether the task is over `[N]` bool."""

    def observe(self) -> Tensor:
        """`[N, *obs]`, in the dtype of `task.observation_space`."""

    def state(self) -> Any:
        """All that a trajectory depends on, a NamedTuple of tensors, on which `begin` and `step` may go on to write."""

    def load(self, state: Any) -> None:
        """Puts such a state back; the tensors are the caller's own."""
