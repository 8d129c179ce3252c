"""What steps N environments, as `gpusim.VectorEnv` knows it."""

from typing import Any, Protocol

from torch import Tensor

from gpusim.book import Step, Tally
from gpusim.engine import Carry
from gpusim.kernels.lang import Lane
from gpusim.kernels.policy import MlpPolicy
from gpusim.rollout import Policy, Rollout


class Stepper(Protocol):
    """Steps environments that are written as pure functions. It may hold beginnings ready, but no part of their state: that
    is the carry, which is handed in and out, and which nobody else looks into before `settle`."""

    index: Lane  # [N] the environments' numbers, in the form that steps compute with

    def step(self, c: Carry, action: Any, look: bool, tally: Tally | None) -> tuple[Carry, Step, Tally | None]:
        """One step; `action` is what `Env.step` takes. `look`: whether observations are wanted."""

    def steps(self, c: Carry, actions: list[Any], tally: Tally) -> tuple[Carry, Tally]:
        """Some steps, of which nothing is wanted but the tally."""

    def rollout(
        self, c: Carry, clock: int, num_steps: int, policy: Policy | None, transitions: bool
    ) -> tuple[Carry, Rollout] | None:
        """A whole rollout in one go; None where it has to be made step by step."""

    def rollout_into(self, c: Carry, kept: Any, policy: MlpPolicy, clock: Tensor) -> None:
        """See `VectorEnv.rollout_into`."""

    def settle(self, c: Carry) -> Carry:
        """The carry as a whole, in tensors: due before anything but a step touches it."""

    def lanes(self, tree: Any) -> Any:
        """Tensors in the form that steps compute with, so that all else is computed alike."""

    def observe(self, c: Carry) -> Tensor:
        """`[N, *obs]`, bit for bit what a step would give."""
