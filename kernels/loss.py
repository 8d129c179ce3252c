"""PPO's loss (Schulman et al., 2017): what the learner descends on torch, and what the kernels of `loss_triton.py` are held
against."""

from typing import NamedTuple

import torch
from torch import Tensor

from gpusim.kernels.distributions import Categorical, Gaussian


class Loss(NamedTuple):
    """Its settings, as `gpusim.agents.ppo.Config` describes them."""

    clip: float
    value_coef: float
    entropy_coef: float
    clip_value: bool
    normalize_advantage: bool


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


def ppo_loss(
    loss: Loss, batch: Batch, distribution: Categorical | Gaussian, value: Tensor, moments: Tensor | None = None
) -> Losses:
    """The clipped surrogate, the (optionally clipped) squared value error and the entropy of one minibatch.

    Args:
        loss: the settings.
        distribution, value: of the batch's observations, as they are now.
        moments: `[2]`, mean and (biased) deviation of the batch's advantages, where they are known; by these they are
            normalized, where that is asked for.
    """
    log_ratio = distribution.log_prob(batch.action) - batch.log_prob
    ratio = log_ratio.exp()
    advantage = batch.advantage
    if loss.normalize_advantage:
        mean, deviation = (advantage.mean(), advantage.std(unbiased=False)) if moments is None else moments
        advantage = (advantage - mean) / (deviation + 1e-8)
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - loss.clip, 1 + loss.clip) * advantage)
    policy_loss = -surrogate.mean()
    error = (value - batch.target).square()
    if loss.clip_value:
        near = batch.value + (value - batch.value).clamp(-loss.clip, loss.clip)
        error = torch.maximum(error, (near - batch.target).square())
    value_loss = 0.5 * error.mean()
    entropy = distribution.entropy().mean()
    total = policy_loss + loss.value_coef * value_loss - loss.entropy_coef * entropy
    with torch.no_grad():
        kl = (ratio - 1 - log_ratio).mean()
        clipped = ((ratio - 1).abs() > loss.clip).to(ratio.dtype).mean()
    return Losses(total, policy_loss, value_loss, entropy, kl, clipped)
