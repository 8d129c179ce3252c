"""Proximal policy optimization (Schulman et al., 2017), with what thousands of environments on one device allow.

Advantages know a truncated step from a terminated one: V(s_{t+1}) is always the value of the true next observation.
The loss is `gpusim.kernels.loss.ppo_loss`, one for this file and for the kernels.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from gpusim.agents.on_policy import Chosen, OnPolicy
from gpusim.agents.rollouts import PassesConfig, check_advantages
from gpusim.agents.train.environments import Given, Task
from gpusim.agents.train.loop import Result
from gpusim.agents.train.presets import by_env
from gpusim.agents.train.ranges import Positive, Weight
from gpusim.agents.train.training import trained
from gpusim.kernels.loss import Batch, Loss, Losses, ppo_loss
from gpusim.rollout import Rollout

if TYPE_CHECKING:
    from gpusim.agents.ppo_fused import FusedIteration

# ---------------------------------------------------------------------------------------------------------- config


@by_env
@dataclass(frozen=True, kw_only=True)
class Config(PassesConfig):
    """Settings of PPO."""

    clip: Positive = 0.2
    """How far the probability ratio may move from 1 before its gradient ends."""
    clip_value: bool = False
    """Clip the value's change too, by the same amount."""
    value_coef: Weight = 0.5
    """Weight of the value loss."""
    entropy_coef: Weight = 0.0
    """Weight of the entropy bonus."""
    target_kl: Positive | None = None
    """Stop an iteration's updates once the approximate KL divergence from the old policy passes this."""
    normalize_advantage: bool = True
    """Give the advantages of a minibatch mean 0 and deviation 1."""

    @property
    def loss(self) -> Loss:
        """What `gpusim.kernels.loss.ppo_loss` knows of them."""
        return Loss(self.clip, self.value_coef, self.entropy_coef, self.clip_value, self.normalize_advantage)

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        if self.normalize_advantage:
            check_advantages(self, self.minibatches)


# ---------------------------------------------------------------------------------------------------------- update


class PPO(OnPolicy):
    """One iteration: a rollout, its advantages, then `epochs` passes of `minibatches` updates over it.

    On torch, or, where environments step by Triton and the network is one that kernels can hold, by kernels alone.
    """

    config: Config
    fused: "FusedIteration | None"

    def make_fused(self) -> "FusedIteration | None":
        if self.env.backend != "triton":
            return None
        from gpusim.agents.ppo_fused import FusedIteration, fused_problem

        if reason := fused_problem(self):
            warnings.warn(f"PPO runs on torch operations, not on fused kernels: {reason}.", stacklevel=4)
            return None
        return FusedIteration(self)

    @property
    def host_decides(self) -> bool:
        return self.config.target_kl is not None

    def learn(self, rollout: Rollout, learning_rate: float | Tensor) -> Losses:
        config, batch = self.config, self._batch(rollout)
        for _ in range(config.epochs):
            minibatches = self.shuffled(config.minibatches)
            for chosen, moments in zip(minibatches, self.whole_moments(batch.advantage, minibatches), strict=True):
                losses = self.descend(chosen, self._losses(rollout, batch, moments), learning_rate)
            if config.target_kl is not None and self.world.mean(losses.kl) > config.target_kl:
                break
        return losses

    def _losses(self, rollout: Rollout, batch: Batch, moments: Tensor | None) -> Callable[[Chosen], Losses]:
        """Those of parts of a minibatch, whose advantages have these `moments`."""

        def losses(some: Chosen) -> Losses:
            part = Batch(*self.part(batch, some))
            output = self.output(part.obs, rollout, some)
            return ppo_loss(self.config.loss, part, output.distribution, output.value, moments)

        return losses

    def _batch(self, rollout: Rollout) -> Batch:
        told = self.told(rollout, acted=True)
        assert told.log_prob is not None
        value, advantage = self.estimate(rollout, told)
        sample = rollout.extras["sample"]
        return Batch(*self.arranged((rollout.obs, sample, told.log_prob, value, advantage, advantage + value)))


# ----------------------------------------------------------------------------------------------------------- train

LEARNER = PPO


def train(config: Config, env: Given | None = None) -> Result:
    """Trains as `config` says, and returns the learner and its metrics; into `config.run_dir` goes a run folder.

    Args:
        env: environments to train on, wrapped or not, or a `gpusim.Env`; None makes those that `config.env` names.

    Raises:
        InputError: a setting cannot be used.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    return trained(PPO(config, env))
