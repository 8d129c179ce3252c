"""REINFORCE with a baseline (Williams, 1992; Sutton & Barto, 2018, section 13.4): an algorithm in a page.

Every environment plays until it has finished an episode; the episodes have unequal lengths, so what an environment plays
beyond its first is masked out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gpusim.agents.parts.networks import ActorCritic
from gpusim.agents.parts.optimizer import Adam
from gpusim.agents.parts.world import here
from gpusim.agents.train.config import RunConfig
from gpusim.agents.train.environments import Given, Task
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.loop import Result
from gpusim.agents.train.presets import by_env
from gpusim.agents.train.ranges import Count, Passes, Rate, Share, Weight
from gpusim.agents.train.training import trained
from gpusim.errors import InputError
from gpusim.kernels.distributions import Categorical, Gaussian
from gpusim.kernels.gae import gae

# ---------------------------------------------------------------------------------------------------------- config


@by_env
@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Settings of REINFORCE."""

    learning_rate: Rate = 1e-2
    """Of the policy's Adam."""
    value_learning_rate: Rate = 1e-2
    """Of the baseline's Adam."""
    gamma: Share = 0.99
    """Discount."""
    entropy_coef: Weight = 0.0
    """Weight of the entropy bonus."""
    value_updates: Passes = 10
    """Updates of the baseline for one of the policy."""
    episode_steps: Count = 500
    """Steps an environment may take to finish its episode; longer ones are bootstrapped where they are cut."""

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.episode_steps

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        if self.normalize_obs:
            raise InputError("reinforce does not normalize observations; leave normalize_obs off.")
        if self.steps_per_iteration < 2:
            raise InputError(
                "reinforce normalizes advantages, which makes 0 of that of a single step: raise episode_steps or num_envs."
            )


# ------------------------------------------------------------------------------------------------------------ loss


def policy_loss(distribution: Categorical | Gaussian, action: Tensor, advantage: Tensor, mask: Tensor) -> Tensor:
    """−mean of log π(a|s) · advantage over the masked entries, all `[T, N]`."""
    return -masked_mean(distribution.log_prob(action) * advantage, mask)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean over the masked entries. Over those of all ranks it is the mean of what each has of it."""
    return (x * mask).sum() / here().mean(mask.sum().to(x.dtype))


# ---------------------------------------------------------------------------------------------------------- update


class Reinforce(Learner):
    """One iteration: an episode of every environment, one step up the policy gradient."""

    config: Config
    network: ActorCritic

    def make_optimizers(self) -> dict[str, Adam]:
        critic = list(self.network.critic.parameters())
        known = set(map(id, critic))
        policy = [p for p in self.network.parameters() if id(p) not in known]
        parts = {"optimizer": policy, "baseline": critic}
        return {name: self.adam(part) for name, part in parts.items()}

    def held(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.network.trained()])

    def iterate(self) -> dict[str, Tensor]:
        config = self.config
        self.env.reset()
        rollout = self.collect(config.episode_steps)
        done = rollout.terminated | rollout.truncated
        mask = (done.cumsum(0) - done.long()) == 0
        with torch.no_grad():
            value, next_value = self.network.value(rollout.obs), self.network.value(rollout.next_obs)
            advantage = gae(rollout.reward, value, next_value, rollout.terminated, done, config.gamma, 1.0)
            target = value + advantage
            advantage = advantage - self.world.mean(masked_mean(advantage, mask))
            advantage = advantage / (self.world.mean(masked_mean(advantage.square(), mask)).sqrt() + 1e-8)
        distribution = self.network.distribution(rollout.obs)
        policy = policy_loss(distribution, rollout.extras["sample"], advantage, mask)
        entropy = masked_mean(distribution.entropy(), mask)
        self.optimizer.step(policy - config.entropy_coef * entropy, config.learning_rate)
        for _ in range(config.value_updates):
            value_loss = 0.5 * masked_mean((self.network.value(rollout.obs) - target).square(), mask)
            self.optimizers["baseline"].step(value_loss, config.value_learning_rate)
        self.iteration += 1
        losses = {"policy": policy.detach(), "value": value_loss.detach(), "entropy": entropy.detach()}
        return losses | self.optimizer.metrics()


# ----------------------------------------------------------------------------------------------------------- train

LEARNER = Reinforce


def train(config: Config, env: Given | None = None) -> Result:
    """Trains as `config` says, and returns the learner and its metrics; into `config.run_dir` goes a run folder.

    Args:
        env: environments to train on, wrapped or not, or a `gpusim.Env`; None makes those that `config.env` names.

    Raises:
        InputError: a setting cannot be used.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    return trained(Reinforce(config, env))
