"""Settings of what learns from a rollout: how it is made, how it is gone over, and what cannot be made of so few steps."""

from dataclasses import dataclass, replace
from typing import Self

from gpusim.agents.parts.gated import CELLS
from gpusim.agents.parts.world import World, here
from gpusim.agents.train import budget
from gpusim.agents.train.budget import Part
from gpusim.agents.train.config import RunConfig
from gpusim.agents.train.environments import Task
from gpusim.agents.train.ranges import Count, Natural, Passes, Rate, Share
from gpusim.errors import InputError


@dataclass(frozen=True, kw_only=True)
class OnPolicyConfig(RunConfig):
    """Settings of a rollout and of the estimates made from it."""

    num_steps: Count = 64
    """Steps of every environment in one iteration."""
    learning_rate: Rate = 1e-3
    """Of Adam, at the start."""
    anneal: bool = True
    """Let the learning rate fall linearly to 0 over `total_steps`."""
    gamma: Share = 0.99
    """Discount."""
    lam: Share = 0.95
    """λ of the returns: 0 looks one step ahead, 1 to the end of the rollout."""
    normalize_reward: bool = False
    """Divide rewards by the running deviation of the discounted return."""
    memory_units: Count = 64
    """Of the cell of a network that remembers."""
    shared_memory: bool = False
    """Give actor and critic one cell, and the hidden layers before it, instead of one each."""

    accumulate: Count = 1
    """Parts in which the gradient of a minibatch is added up, which then takes as much less memory; the gradient is the
    same, to rounding. Fused kernels need none, as they keep nothing of a minibatch."""

    remembers = True

    @property
    def updates_in_parts(self) -> int:
        """Parts that all updates of a pass are made in."""
        return getattr(self, "minibatches", 1) * self.accumulate

    @property
    def most_parts(self) -> int:
        """The most that `accumulate` can be."""
        together = self.num_envs if self.network in CELLS else self.steps_per_iteration
        return max(1, together // getattr(self, "minibatches", 1) // here().size)

    def takes(self, task: Task) -> list[Part]:
        learned = 5  # numbers made of a step: log-probability, two values, advantage and return
        return [budget.rollout(self, task, learned), budget.network(self, task), budget.update(self, task)]

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.num_steps

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        if self.network in CELLS:
            check_columns(self)
        check_parts(self)


SHARDS = 8  # of a run by torchrun, which 1, 2, 4 and 8 ranks can have between them


@dataclass(frozen=True, kw_only=True)
class PassesConfig(OnPolicyConfig):
    """Settings of passes over a rollout, each in minibatches of steps in a random order."""

    epochs: Passes = 4
    """Passes over the steps of an iteration."""
    minibatches: Count = 8
    """Updates in one pass."""
    shards: Natural = 0
    """Groups of environments, each of which gives every minibatch as many steps, in a random order of its own; so
    minibatches are the same on any number of ranks that divides it. 0 is 8 by torchrun, else 1."""

    def together(self, world: World, env: object = None) -> Self:
        config = super().together(world, env)
        return replace(config, shards=self.shards or SHARDS)

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        check_shards(self)


def check_shards(config: PassesConfig) -> None:
    """Raises InputError where passes of so many updates cannot be made of so many shards, or not on so many ranks."""
    shards, minibatches = config.shards or 1, config.minibatches
    if minibatches > config.steps_per_iteration:
        raise InputError(
            f"{minibatches} minibatches cannot be made of {config.steps_per_iteration} steps "
            "(num_envs * num_steps); use fewer minibatches."
        )
    if shards % here().size:
        raise InputError(
            f"shards must be a multiple of {here().size}, the number of ranks, and num_envs one of shards, not {shards}: "
            f"try shards {here().size}."
        )
    if config.num_envs % shards:
        raise InputError(
            f"num_envs must be a multiple of {shards}, the number of shards, which are alike, not {config.num_envs}."
        )
    if minibatches * shards > config.steps_per_iteration:
        raise InputError(
            f"{minibatches} minibatches cannot be made of the {config.steps_per_iteration // shards} steps of a shard "
            "(num_envs * num_steps / shards); use fewer minibatches, or fewer shards."
        )


def check_columns(config: OnPolicyConfig) -> None:
    """Raises InputError where minibatches of whole environments cannot be made."""
    minibatches = getattr(config, "minibatches", 1)
    shards = getattr(config, "shards", 0) or 1
    if config.num_envs % minibatches:
        raise InputError(
            f"{minibatches} minibatches cannot be made of {config.num_envs} environments, the steps of each of which stay "
            "together, as the network remembers them: num_envs must be a multiple of minibatches."
        )
    if config.num_envs % (minibatches * shards):
        raise InputError(
            f"{minibatches} minibatches cannot be made of {shards} shards of {config.num_envs // shards} environments, the "
            "steps of each of which stay together, as the network remembers them: num_envs must be a multiple of "
            "minibatches * shards."
        )


def check_parts(config: OnPolicyConfig) -> None:
    """Raises InputError where a minibatch has less than is to be split."""
    most = config.most_parts
    if config.accumulate > most:
        what = "environments, whose steps stay together" if config.network in CELLS else "steps"
        raise InputError(
            f"accumulate must be at most {most}, as a minibatch has so many {what}, not {config.accumulate}."
        )


def check_advantages(config: OnPolicyConfig, minibatches: int = 1) -> None:
    """Raises InputError where an update has but one advantage, which `normalize_advantage` always makes 0."""
    if config.steps_per_iteration < 2 * minibatches:
        raise InputError(
            f"normalize_advantage makes 0 of the advantage of a single step, and {config.steps_per_iteration} steps "
            f"(num_envs * num_steps) in {minibatches} minibatches leave one with a single step: use fewer minibatches or "
            "more steps, or leave it off."
        )
