"""Twin delayed deep deterministic policy gradient (Fujimoto et al., 2018): twin critics, of which the lesser counts, a
target policy smoothed by noise, and a policy that is updated less often than they.

A truncated episode bootstraps from its true final observation, a terminated one does not.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpusim.agents.continuous import Continuous, ContinuousConfig, critic_loss
from gpusim.agents.off_policy import Batch, follow
from gpusim.agents.parts.twin import ActorTwinCritic
from gpusim.agents.train.environments import Given, Task
from gpusim.agents.train.loop import Result
from gpusim.agents.train.presets import by_env
from gpusim.agents.train.ranges import Count, Weight
from gpusim.agents.train.training import trained
from gpusim.kernels.distributions import NoisyAction

# ---------------------------------------------------------------------------------------------------------- config


@by_env
@dataclass(frozen=True, kw_only=True)
class Config(ContinuousConfig):
    """Settings of TD3. (`initial_log_std` is for policies that learn their own noise.)"""

    policy_every: Count = 2
    """Updates of the critics for one of the policy and one of the target networks."""
    noise: Weight = 0.1
    """Deviation of the exploration noise, in units of half the action's range."""
    least_noise: Weight | None = None
    """That of the first environment, from where it rises evenly to `noise` in the last; None: all have the same."""
    target_noise: Weight = 0.2
    """Deviation of the noise on the target policy's actions."""
    noise_clip: Weight = 0.5
    """The most of it."""


# ------------------------------------------------------------------------------------------------------------ loss


def smoothed(action: Tensor, noise: Tensor, deviation: float, most: float) -> Tensor:
    """`action` in [−1, 1] with standard normal `noise` of that deviation, of which no more than `most` counts."""
    return (action + (noise * deviation).clamp(-most, most)).clamp(-1.0, 1.0)


def actor_loss(q: Tensor) -> Tensor:
    """−mean Q(s, π(s)) of the first of the critics' values `[2, B]`."""
    return -q[0].mean()


# ---------------------------------------------------------------------------------------------------------- update


class Network(ActorTwinCritic):
    """The policy's outputs are the action, before tanh."""

    def __init__(self, *, noise: float, **parts: Any):
        super().__init__(**parts)
        self.noise: Tensor
        self.register_buffer("noise", torch.tensor(noise))

    def policy(self, hidden: Tensor) -> NoisyAction:
        return NoisyAction(self.acted(hidden).tanh(), self.noise)


class TD3(Continuous):
    """An update is one of the critics; every `policy_every`-th one of the policy too, and a step of the target networks."""

    config: Config
    network: Network
    told = ("critic", "q", "actor")

    @staticmethod
    def make_network(config: Any, task: Task, generator: torch.Generator) -> Network:
        return Network(noise=config.noise, **Continuous.parts(config, task, generator))

    def __init__(self, config: Config, env: Given | None = None):
        super().__init__(config, env)
        least = config.noise if config.least_noise is None else config.least_noise
        deviations = torch.linspace(least, config.noise, config.num_envs, device=self.env.device)
        self.deviation = self.world.own(deviations).unsqueeze(-1)

    def explored(self, features: Tensor, noise: Tensor) -> Tensor:
        return NoisyAction(self.network.policy(features).mode(), self.deviation).at(noise)

    def learn(self, batch: Batch, learning_rate: float | Tensor, number: int) -> dict[str, Tensor]:
        config, network, values = self.config, self.network, self.network.values
        with torch.no_grad():
            noise, mode = self.normal(batch.action), self.target.policy(batch.next_obs).mode()
            action = smoothed(mode, noise, config.target_noise, config.noise_clip)
            least = values.least(self.target.critic(batch.next_obs, action))
            target = values.target(batch.returns, batch.discount, least)
        losses = critic_loss(values, network.critic(batch.obs, batch.action), target, self.weights_of(batch))
        self.optimizers["critic"].step(losses.total, learning_rate)
        self.learned(batch, losses.error)
        told = {"critic": losses.total.detach(), "q": losses.q}
        if number:
            return told
        loss = actor_loss(network.q(batch.obs, network.policy(batch.obs).mode()))
        self.optimizers["actor"].step(loss, learning_rate)
        follow(self.target.parameters(), network.parameters(), config.tau)
        return told | {"actor": loss.detach()}


# ----------------------------------------------------------------------------------------------------------- train

LEARNER = TD3


def train(config: Config, env: Given | None = None) -> Result:
    """Trains as `config` says, and returns the learner and its metrics; into `config.run_dir` goes a run folder.

    Args:
        env: environments to train on, wrapped or not, or a `gpusim.Env`; None makes those that `config.env` names.

    Raises:
        InputError: a setting cannot be used.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    return trained(TD3(config, env))
