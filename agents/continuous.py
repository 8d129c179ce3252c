"""What SAC and TD3 have in common: a policy of continuous actions, twin critics of them, and noise to explore by."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from gpusim.agents.off_policy import OffPolicy, OffPolicyConfig
from gpusim.agents.parts.networks import LOW, Build
from gpusim.agents.parts.optimizer import Adam
from gpusim.agents.parts.twin import ActorTwinCritic
from gpusim.agents.parts.values import Atoms, Mean, values
from gpusim.agents.parts.world import here
from gpusim.agents.train import budget
from gpusim.agents.train.budget import Part
from gpusim.agents.train.config import Activation
from gpusim.agents.train.environments import Given, Task, describe
from gpusim.agents.train.ranges import Count, Range, Rate, Share
from gpusim.errors import InputError
from gpusim.rollout import Rollout

ROOT_2 = math.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class ContinuousConfig(OffPolicyConfig):
    """Settings of a policy of continuous actions with twin critics."""

    env: str = "Pendulum-v1"
    """Id of the environment; one's own after the module or file that registers it: mine:Mine-v0, path/to/mine.py:Mine-v0."""
    num_envs: Count = 8
    """Environments that step together."""
    num_steps: Count = 1
    """Steps of every environment in one iteration; its updates follow."""
    total_steps: Count = 1_000_000
    """Environment steps in all; rounded up to whole iterations."""
    replay_ratio: Annotated[float, Range(0, 1000, above=True)] = 1.0
    """Updates for one environment step, each of `batch_size` samples; a fraction is carried over to the next iteration."""
    capacity: Count = 1_000_000
    """Transitions that the replay holds; rounded down to whole steps of `num_envs`."""
    learning_starts: Count = 5_000
    """Environment steps before the first update, in which actions are uniformly random."""
    learning_rate: Rate = 3e-4
    """Of Adam, at the start."""
    tau: Annotated[float, Range(0.0, 1.0, above=True)] = 0.005
    """How far target networks move towards the trained ones after every update."""
    policy_every: Count = 1
    """Updates of the critics for one of the policy."""
    repeat: Share = 0.0
    """Probability that a step's exploration noise is that of the step before; so it lasts for 1 / (1 − repeat) steps."""
    hidden: tuple[Count, ...] = (256, 256)
    """Widths of the hidden layers of policy and critics."""
    activation: Activation = "relu"
    """tanh or relu."""
    log_every: Count = 100
    """Iterations between two readings of the metrics."""
    checkpoint_every: Count = 10_000
    """Iterations between two checkpoints."""

    def network_part(self, task: Task) -> Part:
        return budget.twin(self, task)

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        name, shown = type(self).__module__.rsplit(".", 1)[-1], task or describe(self.env)
        if not isinstance(shown.action_space, Box):
            raise InputError(f"{name} sets continuous actions, and {self.env} has discrete ones: use dqn or ppo.")
        if len(shown.observation_space.shape) > 2 or self.network == "cnn":
            raise InputError(f"{name} learns from observations of numbers, and {self.env} shows images: use ppo.")


class CriticLosses(NamedTuple):
    """Of two critics."""

    total: Tensor  # scalar
    q: Tensor  # scalar, their mean value
    error: Tensor  # [B] what they lack to the target, on average


def critic_loss(values: Mean | Atoms, out: Tensor, target: Tensor, weight: Tensor | None = None) -> CriticLosses:
    """The weighted mean over the batch of both critics' losses, added up.

    Args:
        values: what the outputs of a critic mean.
        out: `[2, B, outputs]`.
        target: `[B, outputs]`.
        weight: `[B]` importance weights, all 1 where None.
    """
    each, q = values.loss(out, target).sum(0), values.mean(out.detach())
    total = (each if weight is None else weight * each).mean()
    return CriticLosses(total, q.mean(), values.expected(target) - q.mean(0))


class Continuous(OffPolicy):
    """The base of those: as `OffPolicy`, its steps by the policy with noise, or at random before there are updates.

    Actions are in [−1, 1] all over, and are stretched to the space's range where the environment is given them.
    """

    config: ContinuousConfig
    network: ActorTwinCritic

    def __init__(self, config: ContinuousConfig, env: Given | None = None):
        super().__init__(config, env)
        device, again = self.env.device, torch.Generator().manual_seed(config.seed)  # it begins with the same weights
        self.target = self.make_network(config, self.task, again).to(device).requires_grad_(False)
        self.target.normalizer = self.network.normalizer
        self.noise = Lasting(self.env.num_envs, self.network.outputs, config.repeat).to(device)
        self.random = torch.ones((), dtype=torch.bool, device=device)

    @staticmethod
    def make_network(config: Any, task: Task, generator: torch.Generator) -> ActorTwinCritic:
        """Of the algorithm's own kind."""
        raise NotImplementedError

    @staticmethod
    def parts(config: Any, task: Task, generator: torch.Generator) -> dict[str, Any]:
        """What an `ActorTwinCritic` is made with, but for the outputs of its policy."""
        return {
            "observation_space": task.observation_space,
            "action_space": task.action_space,
            "hidden": config.hidden,
            "normalize_obs": config.normalize_obs,
            "build": Build(config.activation, generator, config.layer_norm, LOW.get(config.precision)),
            "values": values(config.atoms, config.v_min, config.v_max),
        }

    def make_optimizers(self) -> dict[str, Adam]:
        parts = {"critic": self.network.critic, "actor": self.network.actor}
        return {name: self.adam(part.parameters()) for name, part in parts.items()}

    @property
    def optimizer(self) -> Adam:
        return self.optimizers["critic"]

    @property
    def cycle(self) -> int:
        return self.config.policy_every

    def modules(self) -> dict[str, nn.Module]:
        return super().modules() | {"target": self.target, "noise": self.noise}

    def schedule(self) -> None:
        super().schedule()
        self.random.fill_(self.iteration <= self.config.first(self.empty_before))

    @torch.no_grad()
    def _policy(self, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        noise = self.noise(self.generator)
        uniform = (noise / ROOT_2).erf()  # of a standard normal number
        sample = torch.where(self.random, uniform, self.explored(self.network.features(obs), noise))
        return self.network.env_action(sample), {"sample": sample}

    def explored(self, features: Tensor, noise: Tensor) -> Tensor:
        """The actions `[N, d]` that the policy takes by standard normal `noise` `[N, d]`."""
        return self.network.policy(features).at(noise)

    def _as_learned(self, rollout: Rollout) -> Rollout:
        rollout = super()._as_learned(rollout)
        return rollout._replace(action=rollout.extras["sample"])

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers."""
        return normal(like, self.generator)


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers, this rank's share of those of all."""
    world = here()
    whole = torch.empty_like(like) if world.alone else like.new_empty(world.size * len(like), *like.shape[1:])
    return world.own(whole.normal_(generator=generator))


class Lasting(nn.Module):
    """Standard normal noise `[N, d]`, each row of which lasts for a number of steps of geometric distribution.

    Args:
        chance: that it lasts for another step; 0 draws anew at every step.
    """

    by_env = ("last",)

    def __init__(self, num_envs: int, numbers: int, chance: float):
        super().__init__()
        self.chance = chance
        self.last: Tensor
        self.register_buffer("last", torch.zeros(num_envs, numbers))
        self.begun: Tensor
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def forward(self, generator: torch.Generator) -> Tensor:
        noise, world = normal(self.last, generator), here()
        if not self.chance:
            return noise
        u = world.own(torch.rand(world.size * len(noise), 1, device=noise.device, generator=generator))
        self.last.copy_(torch.where((u < self.chance) & self.begun, self.last, noise))
        self.begun.fill_(True)
        return self.last
