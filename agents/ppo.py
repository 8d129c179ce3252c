"""Proximal policy optimization (Schulman et al., 2017), with what thousands of environments on one device allow.

Advantages know a truncated step from a terminated one: V(s_{t+1}) is always the value of the true next observation.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from gpusim.agents.on_policy import OnPolicy, OnPolicyConfig, check_advantages, check_passes
from gpusim.agents.train.environments import Task
from gpusim.agents.train.loop import Result
from gpusim.agents.train.presets import by_env
from gpusim.agents.train.ranges import Count, Passes, Positive, Weight
from gpusim.agents.train.training import trained
from gpusim.kernels.distributions import Categorical, Gaussian
from gpusim.rollout import Rollout

if TYPE_CHECKING:
    from gpusim.agents.ppo_fused import FusedIteration

# ---------------------------------------------------------------------------------------------------------- config


@by_env
@dataclass(frozen=True, kw_only=True)
class Config(OnPolicyConfig):
    """Settings of PPO."""

    epochs: Passes = 4
    """Passes over the steps of an iteration."""
    minibatches: Count = 8
    """Updates in one pass."""
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

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        check_passes(self)
        check_advantages(self, self.minibatches)


# ------------------------------------------------------------------------------------------------------------ loss


class Batch(NamedTuple):
    """Samples to learn from, `[B]`."""

    obs: Tensor  # [B, *obs]
    action: Tensor  # [B] or [B, d] as drawn from the policy
    log_prob: Tensor  # under the policy that drew it
    value: Tensor  # when it was drawn
    advantage: Tensor
    target: Tensor  # of the value


class Losses(NamedTuple):
    """Scalars."""

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl: Tensor  # the estimator (ratio - 1) - log ratio of Schulman (2020)
    clipped: Tensor  # share of samples outside the clip range


def ppo_loss(config: Config, batch: Batch, distribution: Categorical | Gaussian, value: Tensor) -> Losses:
    """The clipped surrogate, the (optionally clipped) squared value error and the entropy of one minibatch."""
    log_ratio = distribution.log_prob(batch.action) - batch.log_prob
    ratio = log_ratio.exp()
    advantage = batch.advantage
    if config.normalize_advantage:
        advantage = (advantage - advantage.mean()) / (advantage.std(unbiased=False) + 1e-8)
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - config.clip, 1 + config.clip) * advantage)
    policy_loss = -surrogate.mean()
    error = (value - batch.target).square()
    if config.clip_value:
        near = batch.value + (value - batch.value).clamp(-config.clip, config.clip)
        error = torch.maximum(error, (near - batch.target).square())
    value_loss = 0.5 * error.mean()
    entropy = distribution.entropy().mean()
    total = policy_loss + config.value_coef * value_loss - config.entropy_coef * entropy
    with torch.no_grad():
        kl = (ratio - 1 - log_ratio).mean()
        clipped = ((ratio - 1).abs() > config.clip).float().mean()
    return Losses(total, policy_loss, value_loss, entropy, kl, clipped)


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
        from gpusim.agents.ppo_fused import FusedIteration, problem

        if reason := problem(self):
            warnings.warn(f"PPO runs on torch operations, not on fused kernels: {reason}.", stacklevel=4)
            return None
        return FusedIteration(self)

    @property
    def host_decides(self) -> bool:
        return self.config.target_kl is not None

    def learn(self, rollout: Rollout, learning_rate: float | Tensor) -> Losses:
        config, batch = self.config, self._batch(rollout)
        for _ in range(config.epochs):
            for rows in self.shuffled(config.minibatches):
                part = Batch(*(x[rows] for x in batch))
                losses = ppo_loss(config, part, *self.network(part.obs))
                self.optimizer.step(losses.total, learning_rate)
            if config.target_kl is not None and losses.kl > config.target_kl:
                break
        return Losses(*(x.detach() for x in losses))

    @torch.no_grad()
    def _batch(self, rollout: Rollout) -> Batch:
        sample = rollout.extras["sample"]
        distribution, value = self.network(rollout.obs)
        log_prob, (_, advantage) = distribution.log_prob(sample), self.estimate(rollout, value)
        return Batch(*(x.flatten(0, 1) for x in (rollout.obs, sample, log_prob, value, advantage, advantage + value)))


# ----------------------------------------------------------------------------------------------------------- train

LEARNER = PPO


def train(config: Config, env: Any = None) -> Result:
    """Trains as `config` says, and returns the learner and its metrics; into `config.run_dir` goes a run folder.

    Args:
        env: environments to train on, wrapped or not, or a `gpusim.Env`; None makes those that `config.env` names.

    Raises:
        InputError: a setting cannot be used.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    return trained(PPO(config, env))
