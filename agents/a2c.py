"""Advantage actor-critic: the synchronous successor of A3C (Mnih et al., 2016), one update for every short rollout.

The environments take the place of A3C's workers: they step together, while their episodes begin and end at times of their
own. Adam takes the place of RMSProp.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from gpusim.agents.on_policy import Chosen, OnPolicy
from gpusim.agents.rollouts import OnPolicyConfig, check_advantages
from gpusim.agents.train.environments import Given, Task
from gpusim.agents.train.loop import Result
from gpusim.agents.train.presets import by_env
from gpusim.agents.train.ranges import Count, Share, Weight
from gpusim.agents.train.training import trained
from gpusim.kernels.distributions import Categorical, Gaussian
from gpusim.rollout import Rollout

# ---------------------------------------------------------------------------------------------------------- config


@by_env
@dataclass(frozen=True, kw_only=True)
class Config(OnPolicyConfig):
    """Settings of A2C."""

    num_envs: Count = 32
    """Environments that step together."""
    num_steps: Count = 8
    """Steps of every environment in one iteration, which is one update."""
    lam: Share = 1.0
    """λ of the returns: 1 gives those of n steps, as in A3C."""
    value_coef: Weight = 0.5
    """Weight of the value loss."""
    entropy_coef: Weight = 0.01
    """Weight of the entropy bonus."""
    normalize_advantage: bool = True
    """Give the advantages of an update mean 0 and deviation 1."""
    log_every: Count = 10
    """Iterations between two readings of the metrics."""
    checkpoint_every: Count = 500
    """Iterations between two checkpoints."""

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        if self.normalize_advantage:
            check_advantages(self)


# ------------------------------------------------------------------------------------------------------------ loss


class Losses(NamedTuple):
    """Scalars."""

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor


def a2c_loss(
    config: Config,
    distribution: Categorical | Gaussian,
    action: Tensor,
    advantage: Tensor,
    value: Tensor,
    target: Tensor,
    moments: Tensor | None = None,
) -> Losses:
    """−log π(a|s) · advantage, half the squared value error and the entropy, each the mean over `[B]`; `moments` `[2]`: mean
    and deviation by which advantages are normalized, where they are not those of `advantage`."""
    if config.normalize_advantage:
        mean, deviation = (advantage.mean(), advantage.std(unbiased=False)) if moments is None else moments
        advantage = (advantage - mean) / (deviation + 1e-8)
    policy = -(distribution.log_prob(action) * advantage).mean()
    error, entropy = 0.5 * (value - target).square().mean(), distribution.entropy().mean()
    return Losses(policy + config.value_coef * error - config.entropy_coef * entropy, policy, error, entropy)


# ---------------------------------------------------------------------------------------------------------- update


class A2C(OnPolicy):
    """One iteration: a short rollout, one step up the policy gradient."""

    config: Config

    def learn(self, rollout: Rollout, learning_rate: float | Tensor) -> Losses:
        value, advantage = self.estimate(rollout)
        steps = (rollout.obs, rollout.extras["sample"], advantage, value + advantage)
        obs, sample, advantage, target = self.arranged(steps)
        (moments,) = self.whole_moments(advantage, [slice(None)])

        def losses(some: Chosen) -> Losses:
            seen, drawn, better, wanted = self.part((obs, sample, advantage, target), some)
            output = self.output(seen, rollout, some)
            return a2c_loss(self.config, output.distribution, drawn, better, output.value, wanted, moments)

        return self.descend(slice(None), losses, learning_rate, obs.shape[1 if self.recurrent else 0])


# ----------------------------------------------------------------------------------------------------------- train

LEARNER = A2C


def train(config: Config, env: Given | None = None) -> Result:
    """Trains as `config` says, and returns the learner and its metrics; into `config.run_dir` goes a run folder.

    Args:
        env: environments to train on, wrapped or not, or a `gpusim.Env`; None makes those that `config.env` names.

    Raises:
        InputError: a setting cannot be used.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    return trained(A2C(config, env))
