"""Proximal policy optimization (Schulman et al., 2017), with what thousands of environments on one device allow.

Advantages know a truncated step from a terminated one: V(s_{t+1}) is always the value of the true next observation.
"""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpusim.agents.config import RunConfig, at_least, between
from gpusim.agents.distributions import Categorical, Gaussian
from gpusim.agents.graph import Captured, Held
from gpusim.agents.learner import Learner
from gpusim.agents.loop import Result, run
from gpusim.agents.normalize import ReturnScale
from gpusim.errors import InputError
from gpusim.kernels.gae import gae
from gpusim.kernels.mlp import PRECISIONS

# ---------------------------------------------------------------------------------------------------------- config


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Settings of PPO."""

    num_steps: int = 64
    """Steps of every environment in one iteration."""
    epochs: int = 4
    """Passes over the steps of an iteration."""
    minibatches: int = 8
    """Updates in one pass."""
    learning_rate: float = 1e-3
    """Of Adam, at the start."""
    anneal: bool = True
    """Let the learning rate fall linearly to 0 over `total_steps`."""
    gamma: float = 0.99
    """Discount."""
    lam: float = 0.95
    """λ of generalized advantage estimation."""
    clip: float = 0.2
    """How far the probability ratio may move from 1 before its gradient ends."""
    clip_value: bool = False
    """Clip the value's change too, by the same amount."""
    value_coef: float = 0.5
    """Weight of the value loss."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    max_grad_norm: float = 0.5
    """Global norm to which gradients are clipped."""
    target_kl: float | None = None
    """Stop an iteration's updates once the approximate KL divergence from the old policy passes this."""
    normalize_advantage: bool = True
    """Give the advantages of a minibatch mean 0 and deviation 1."""
    normalize_reward: bool = False
    """Divide rewards by the running deviation of the discounted return."""
    precision: str = "tf32x3"
    """How fused kernels multiply on tensor cores: tf32x3 (close to float32), tf32 or bf16."""

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.num_steps

    def check(self) -> None:
        super().check()
        for name in ("num_steps", "epochs", "minibatches"):
            at_least(self, name, 1)
        for name in ("gamma", "lam"):
            between(self, name, 0.0, 1.0)
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.minibatches > self.steps_per_iteration:
            raise InputError(
                f"{self.minibatches} minibatches cannot be made of {self.steps_per_iteration} steps "
                "(num_envs * num_steps); use fewer minibatches."
            )


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


class PPO(Learner):
    """One iteration: a rollout, its advantages, then `epochs` passes of `minibatches` updates over it.

    On torch, or, where environments step by Triton and the network is one that kernels can hold, by kernels alone.
    """

    config: Config

    def __init__(self, config: Config):
        super().__init__(config, config.max_grad_norm)
        scale = ReturnScale(config.num_envs, config.gamma).to(self.env.device)
        self.reward_scale = scale if config.normalize_reward else None
        self.fused = self._fused()
        self.held, self.captured = Held(self.env), self._capture()
        self.rate = torch.zeros((), device=self.env.device)
        if self.fused and self.network.normalizer is not None:
            self.fused.begin()
        elif self.network.normalizer is not None:
            self.network.normalizer.update(self.collect(config.num_steps).next_obs)

    def _fused(self) -> Any:
        if self.env.backend != "triton":
            return None
        from gpusim.agents.fused import FusedIteration, problem

        if reason := problem(self):
            warnings.warn(f"PPO runs on torch operations, not on fused kernels: {reason}.", stacklevel=4)
            return None
        return FusedIteration(self)

    @property
    def path(self) -> str:
        return self.fused.path if self.fused else "torch operations"

    def modules(self) -> dict[str, torch.nn.Module]:
        return super().modules() | ({"reward_scale": self.reward_scale} if self.reward_scale else {})

    def iterate(self) -> dict[str, Tensor]:
        losses = self.fused.iterate() if self.fused else self._by_torch()
        self.iteration += 1
        return losses

    def learning_rate(self) -> float:
        """Of this iteration."""
        done = self.iteration / self.config.iterations
        return self.config.learning_rate * (1 - done if self.config.anneal else 1.0)

    def _capture(self) -> Captured:
        return Captured(self._in_place, self.env.device, (self.generator,))

    def _by_torch(self) -> dict[str, Tensor]:
        """On a GPU as a CUDA graph, unless the host has to decide how many updates there are."""
        if self.env.device.type == "cpu" or self.config.target_kl is not None:
            return self._iterate(self.learning_rate())._asdict()
        clock = self.env.clock
        if not self.held.take():
            self.captured = self._capture()
        self.rate.fill_(self.learning_rate())
        losses = self.captured()
        self.env.clock = clock + self.config.num_steps
        return {name: loss.clone() for name, loss in losses._asdict().items()}

    def _in_place(self) -> Losses:
        self.env._carry = self.held.carry  # wherever a capture that failed has left it
        losses = self._iterate(self.rate)
        self.held.take()
        return losses

    def _iterate(self, learning_rate: float | Tensor) -> Losses:
        rollout = self.collect(self.config.num_steps)
        losses = self._learn(self._batch(rollout), learning_rate)
        if self.network.normalizer is not None:
            self.network.normalizer.update(rollout.next_obs)
        return losses

    @torch.no_grad()
    def _batch(self, rollout: Any) -> Batch:
        config, done = self.config, rollout.terminated | rollout.truncated
        reward = self.reward_scale(rollout.reward, done) if self.reward_scale else rollout.reward
        value, next_value = self.network.value(rollout.obs), self.network.value(rollout.next_obs)
        advantage = gae(reward, value, next_value, rollout.terminated, done, config.gamma, config.lam)
        sample = rollout.extras["sample"]
        log_prob = self.network.distribution(rollout.obs).log_prob(sample)
        return Batch(*(x.flatten(0, 1) for x in (rollout.obs, sample, log_prob, value, advantage, advantage + value)))

    def _learn(self, batch: Batch, learning_rate: float | Tensor) -> Losses:
        config, size = self.config, self.config.steps_per_iteration
        for _ in range(config.epochs):
            order = torch.randperm(size, generator=self.generator, device=self.env.device)
            for rows in order.tensor_split(config.minibatches):
                part = Batch(*(x[rows] for x in batch))
                losses = ppo_loss(config, part, self.network.distribution(part.obs), self.network.value(part.obs))
                self.optimizer.step(losses.total, learning_rate)
            if config.target_kl is not None and losses.kl > config.target_kl:
                break
        return Losses(*(x.detach() for x in losses))


# ----------------------------------------------------------------------------------------------------------- train


def train(config: Config) -> Result:
    """Trains as `config` says, and returns the learner and its metrics.

    Raises:
        InputError: a setting cannot be used.
    """
    return run(PPO(config))
