"""Parallelised Q-learning (PQN; Gallici et al., 2024): no replay and no target network, but many environments, normalized
layers and λ-returns. Adam takes the place of RAdam.

The returns are Peng's Q(λ): λ-returns of the greatest action value; a truncated episode bootstraps from its true final
observation, a terminated one does not.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim.agents.exploration import ExplorationConfig, Explorer
from gpusim.agents.on_policy import Chosen, OnPolicy
from gpusim.agents.parts.gated import CELLS, RememberingQ
from gpusim.agents.parts.networks import QNetwork
from gpusim.agents.rollouts import PassesConfig
from gpusim.agents.train.config import Activation
from gpusim.agents.train.environments import Given, Task
from gpusim.agents.train.learner import remembered
from gpusim.agents.train.loop import Result
from gpusim.agents.train.presets import by_env
from gpusim.agents.train.ranges import Count, Passes, Positive, Share
from gpusim.agents.train.training import trained
from gpusim.rollout import Rollout

# ---------------------------------------------------------------------------------------------------------- config


@by_env
@dataclass(frozen=True, kw_only=True)
class Config(ExplorationConfig, PassesConfig):
    """Settings of PQN. (`initial_log_std` is for continuous actions, which it has not.)"""

    num_steps: Count = 32
    """Steps of every environment in one iteration."""
    epochs: Passes = 2
    """Passes over the steps of an iteration."""
    lam: Share = 0.65
    """λ of the returns: 0 looks one step ahead, 1 to the end of the rollout."""
    layer_norm: bool = True
    """Normalize each hidden layer before its activation, which keeps learning stable without a target network."""
    activation: Activation = "relu"
    """tanh or relu."""
    max_grad_norm: Positive = 10.0
    """Global norm to which gradients are clipped."""
    shared_memory: bool = True
    """It has no critic that could have a memory of its own."""


# ------------------------------------------------------------------------------------------------------------ loss


class Losses(NamedTuple):
    """Scalars."""

    loss: Tensor
    q: Tensor  # mean value of the actions taken
    epsilon: Tensor


class Found(NamedTuple):
    """Scalars, of a minibatch."""

    loss: Tensor
    q: Tensor  # mean value of the actions taken


def pqn_loss(q: Tensor, action: Tensor, target: Tensor) -> Found:
    """The mean of ½ (Q(s, a) − target)², and of Q(s, a).

    Args:
        q: `[B, A]`.
        action: `[B]` int64.
        target: `[B]`.
    """
    q_taken = q.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    return Found(0.5 * (q_taken - target).square().mean(), q_taken.detach().mean())


# ---------------------------------------------------------------------------------------------------------- update


class PQN(Explorer, OnPolicy):
    """One iteration: an ε-greedy rollout, its λ-returns, then `epochs` passes of `minibatches` updates over it."""

    config: Config
    network: QNetwork

    @staticmethod
    def make_network(config: Any, task: Task, generator: torch.Generator) -> QNetwork:
        assert isinstance(task.action_space, Discrete)  # as was checked
        settings = (
            task.observation_space, task.action_space, config.hidden, config.activation, config.normalize_obs, False,
            generator,
        )  # fmt: skip
        more = {"layer_norm": config.layer_norm, "precision": config.precision}
        if config.network in CELLS:
            return RememberingQ(*settings, **remembered(config) | {"shared": True}, **more)
        return QNetwork(*settings, config.network, **more, noise=config.noise)

    def iterate(self) -> dict[str, Tensor]:
        self.explore()
        return super().iterate()

    def learn(self, rollout: Rollout, learning_rate: float | Tensor) -> Losses:
        config = self.config
        value, advantage = self.estimate(rollout)
        steps = self.arranged((rollout.obs, rollout.action.long(), value + advantage))

        def losses(some: Chosen) -> Found:
            obs, action, target = self.part(steps, some)
            with self.network.noised():
                return pqn_loss(self.output(obs, rollout, some).distribution.q, action, target)

        for _ in range(config.epochs):
            for chosen in self.shuffled(config.minibatches):
                found = self.descend(chosen, losses, learning_rate)
        return Losses(*found, self.network.epsilon.clone())


# ----------------------------------------------------------------------------------------------------------- train

LEARNER = PQN


def train(config: Config, env: Given | None = None) -> Result:
    """Trains as `config` says, and returns the learner and its metrics; into `config.run_dir` goes a run folder.

    Args:
        env: environments to train on, wrapped or not, or a `gpusim.Env`; None makes those that `config.env` names.

    Raises:
        InputError: a setting cannot be used.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    return trained(PQN(config, env))
