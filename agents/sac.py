"""Soft actor-critic (Haarnoja et al., 2018), with a learned temperature and twin critics, of which the lesser counts.

A truncated episode bootstraps from its true final observation, a terminated one does not. Returns of n steps leave the
entropy of the steps between out.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gpusim.agents.continuous import Continuous, ContinuousConfig, critic_loss
from gpusim.agents.off_policy import Batch, follow
from gpusim.agents.parts.optimizer import Adam
from gpusim.agents.parts.twin import ActorTwinCritic
from gpusim.agents.parts.values import Atoms, Mean
from gpusim.agents.train.environments import Given, Task
from gpusim.agents.train.loop import Result
from gpusim.agents.train.presets import by_env
from gpusim.agents.train.ranges import Number, Positive
from gpusim.agents.train.training import trained
from gpusim.kernels.distributions import LOG_STD_RANGE, SquashedGaussian

# ---------------------------------------------------------------------------------------------------------- config


@by_env
@dataclass(frozen=True, kw_only=True)
class Config(ContinuousConfig):
    """Settings of SAC."""

    temperature: Positive = 1.0
    """What an action's entropy is worth at the start, in units of reward."""
    target_entropy: Number = -1.0
    """Entropy that the temperature is to keep the policy at, for each number of an action in [−1, 1]."""


# ------------------------------------------------------------------------------------------------------------ loss


def soft_target(
    values: Mean | Atoms, returns: Tensor, discount: Tensor, out: Tensor, log_prob: Tensor, temperature: Tensor
) -> Tensor:
    """The target `[B, outputs]` of both critics: returns + discount · (Q'(s', a') − temperature · log π(a' | s')).

    Args:
        values: what the outputs of a critic mean.
        returns: `[B]` of n steps.
        discount: `[B]`, 0 after a termination.
        out: `[2, B, outputs]` of the target critics; for each row those of the lesser value count.
        log_prob: `[B]` of a', which the present policy draws.
        temperature: scalar.
    """
    return values.target(returns - discount * temperature * log_prob, discount, values.least(out))


def actor_loss(q: Tensor, log_prob: Tensor, temperature: Tensor) -> Tensor:
    """The mean of temperature · log π(a | s) − min Q(s, a), of actions a that the policy draws.

    Args:
        q: `[2, B]`.
        log_prob: `[B]`.
    """
    return (temperature * log_prob - q.amin(0)).mean()


def temperature_loss(log_temperature: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """Falls with the temperature where the policy's entropy, −log π, is above the target, and rises where it is below."""
    return -(log_temperature * (log_prob + target_entropy).mean())


# ---------------------------------------------------------------------------------------------------------- update


class Network(ActorTwinCritic):
    """The policy's outputs are mean and logarithm of the deviation, before tanh."""

    def __init__(self, *, initial_log_std: float, temperature: float, **parts: Any):
        super().__init__(per_action=2, **parts)
        nn.init.constant_(self.actor[-1].get_parameter("bias")[self.outputs :], initial_log_std)
        self.log_temperature = nn.Parameter(torch.tensor([math.log(temperature)]))

    def policy(self, hidden: Tensor) -> SquashedGaussian:
        mean, log_std = self.acted(hidden).chunk(2, -1)
        return SquashedGaussian(mean, log_std.clamp(*LOG_STD_RANGE))


class SAC(Continuous):
    """An update is one of the critics, one of policy and temperature, and a step of the target critics."""

    config: Config
    network: Network
    told = ("critic", "q", "actor", "temperature", "entropy")

    @staticmethod
    def make_network(config: Any, task: Task, generator: torch.Generator) -> Network:
        parts = Continuous.parts(config, task, generator)
        return Network(initial_log_std=config.initial_log_std, temperature=config.temperature, **parts)

    def make_optimizers(self) -> dict[str, Adam]:
        return super().make_optimizers() | {"temperature": Adam([self.network.log_temperature])}

    def learn(self, batch: Batch, learning_rate: float | Tensor, number: int) -> dict[str, Tensor]:
        network, values = self.network, self.network.values
        with torch.no_grad():
            temperature = network.log_temperature.exp()
            action, log_prob = network.policy(batch.next_obs).drawn(self.normal(batch.action))
            out = self.target.critic(batch.next_obs, action)
            target = soft_target(values, batch.returns, batch.discount, out, log_prob, temperature)
        losses = critic_loss(values, network.critic(batch.obs, batch.action), target, self.weights_of(batch))
        self.optimizers["critic"].step(losses.total, learning_rate)
        self.learned(batch, losses.error)
        follow(self.target.critic.parameters(), network.critic.parameters(), self.config.tau)
        told = {"critic": losses.total.detach(), "q": losses.q}
        return told if number else told | self._improve(batch, learning_rate, temperature)

    def _improve(self, batch: Batch, learning_rate: float | Tensor, temperature: Tensor) -> dict[str, Tensor]:
        """An update of the policy, and of the temperature by the same actions."""
        action, log_prob = self.network.policy(batch.obs).drawn(self.normal(batch.action))
        loss, entropy = actor_loss(self.network.q(batch.obs, action), log_prob, temperature), -log_prob.detach()
        self.optimizers["actor"].step(loss, learning_rate)
        wanted = self.config.target_entropy * self.network.outputs
        self.optimizers["temperature"].step(
            temperature_loss(self.network.log_temperature, -entropy, wanted), learning_rate
        )
        return {"actor": loss.detach(), "temperature": temperature.squeeze(), "entropy": entropy.mean()}


# ----------------------------------------------------------------------------------------------------------- train

LEARNER = SAC


def train(config: Config, env: Given | None = None) -> Result:
    """Trains as `config` says, and returns the learner and its metrics; into `config.run_dir` goes a run folder.

    Args:
        env: environments to train on, wrapped or not, or a `gpusim.Env`; None makes those that `config.env` names.

    Raises:
        InputError: a setting cannot be used.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    return trained(SAC(config, env))
