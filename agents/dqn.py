"""Deep Q-learning (Mnih et al., 2015) from a replay on the device, with what later work added to it, each by a setting:
double (van Hasselt et al., 2016), dueling (Wang et al., 2016), n-step returns, prioritized replay (Schaul et al., 2016),
values learned with their distribution, over atoms (C51; Bellemare et al., 2017) or by quantiles (Dabney et al., 2018), and
noisy layers (Fortunato et al., 2018). Rainbow (Hessel et al., 2018) is a preset of them.

A truncated episode bootstraps from its true final observation, a terminated one does not.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim.agents.exploration import ExplorationConfig, Explorer
from gpusim.agents.off_policy import OffPolicy, OffPolicyConfig, follow
from gpusim.agents.parts.networks import QNetwork
from gpusim.agents.parts.values import Atoms, Quantiles, of_action
from gpusim.agents.train.environments import Given, Task
from gpusim.agents.train.loop import Result
from gpusim.agents.train.presets import by_env
from gpusim.agents.train.ranges import Count, OneOf, Positive
from gpusim.agents.train.training import trained
from gpusim.checks import later_seed
from gpusim.errors import InputError
from gpusim.kernels.replay import Sample

# ---------------------------------------------------------------------------------------------------------- config


@by_env
@dataclass(frozen=True, kw_only=True)
class Config(OffPolicyConfig, ExplorationConfig):
    """Settings of DQN."""

    preset: Annotated[str, OneOf(("usual", "rainbow"))] = "usual"
    """What the settings are that are not given; rainbow: with all that was added to Q-learning, over atoms, at once."""
    double: bool = True
    """Let the policy network choose the next action, and the target network only say what it is worth."""
    dueling: bool = False
    """Learn the state's value and the actions' advantages apart."""
    target_every: Count = 1
    """Iterations between two updates of the target network, each by `tau`."""
    huber: Positive = 1.0
    """Where the loss turns from a parabola into a line."""
    quantiles: Count = 1
    """Quantiles by which it is learned how returns are distributed, without a range; 1 learns the mean alone."""

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        if self.atoms > 1 and self.quantiles > 1:
            raise InputError(
                "a distribution is learned over atoms or by quantiles, not by both: leave one of them at 1."
            )

    @property
    def values(self) -> Atoms | Quantiles | None:
        """What stands for an action's value; None where it is itself."""
        if self.quantiles > 1:
            return Quantiles(self.quantiles)
        return Atoms(self.v_min, self.v_max, self.atoms) if self.atoms > 1 else None


# ------------------------------------------------------------------------------------------------------------ loss


class Batch(NamedTuple):
    """As `gpusim.agents.off_policy.Batch`, and one more."""

    place: Tensor
    obs: Tensor
    action: Tensor  # int64
    returns: Tensor
    discount: Tensor
    next_obs: Tensor
    probability: Tensor
    next_q: Tensor  # [B, A] of the target network, [B, A, outputs] where a distribution is learned


class Losses(NamedTuple):
    """Scalars but for `error`."""

    total: Tensor
    q: Tensor  # mean value of the actions taken
    error: Tensor  # [B] what the value lacks to its target


def td_target(returns: Tensor, discount: Tensor, next_q: Tensor, choice: Tensor | None = None) -> Tensor:
    """`[B]`: returns + discount · Q'(s', a'), where a' is best by `choice`, else by Q' itself.

    Args:
        returns: `[B]` of n steps.
        discount: `[B]`, 0 after a termination.
        next_q: `[B, A]` of the target network.
        choice: `[B, A]` of the policy network (double Q-learning).
    """
    best = (next_q if choice is None else choice).argmax(-1, keepdim=True)
    return returns + discount * next_q.gather(-1, best).squeeze(-1)


def dqn_loss(config: Config, q: Tensor, action: Tensor, target: Tensor, weight: Tensor | None = None) -> Losses:
    """The weighted mean of Huber's loss: ½ δ² where |δ| < huber, beyond it huber (|δ| − ½ huber).

    Args:
        q: `[B, A]`.
        action: `[B]` int64.
        target: `[B]`.
        weight: `[B]` importance weights, all 1 where None.
    """
    q_taken = q.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    each = torch.nn.functional.huber_loss(q_taken, target, reduction="none", delta=config.huber)
    return Losses(
        (each if weight is None else weight * each).mean(), q_taken.detach().mean(), (target - q_taken).detach()
    )


def distribution_loss(values: Atoms | Quantiles, out: Tensor, target: Tensor, weight: Tensor | None = None) -> Losses:
    """The weighted mean of the losses that `values` has for a distribution.

    Args:
        out: `[B, outputs]` of the actions taken.
        target: `[B, outputs]`.
        weight: `[B]` importance weights, all 1 where None.
    """
    each, q = values.loss(out, target), values.mean(out.detach())
    return Losses((each if weight is None else weight * each).mean(), q.mean(), values.expected(target) - q)


# ---------------------------------------------------------------------------------------------------------- update


class DQN(Explorer, OffPolicy):
    """One iteration: as `OffPolicy`, the steps by an ε-greedy policy; then the target network follows."""

    config: Config
    network: QNetwork
    told = ("loss", "q", "error")  # q: the mean value of the actions taken; error: the mean of its magnitude

    @staticmethod
    def make_network(config: Any, task: Task, generator: torch.Generator) -> QNetwork:
        assert isinstance(task.action_space, Discrete)  # as was checked
        return QNetwork(
            task.observation_space, task.action_space, config.hidden, config.activation, config.normalize_obs,
            config.dueling, generator, config.network, config.layer_norm, config.precision, config.values,
            config.noise,
        )  # fmt: skip

    def __init__(self, config: Config, env: Given | None = None):
        super().__init__(config, env)
        again = torch.Generator().manual_seed(config.seed)  # so that it begins with the same weights
        self.target = self.make_network(config, self.task, again).to(self.env.device).requires_grad_(False)
        self.target.normalizer = self.network.normalizer
        if self.target.noise:
            self.target.noise.seed.fill_(later_seed(config.seed, 3))

    def modules(self) -> dict[str, torch.nn.Module]:
        return super().modules() | {"target": self.target}

    def schedule(self) -> None:
        super().schedule()
        self.explore()

    def iterate(self) -> dict[str, Tensor]:
        metrics = super().iterate()
        if self.iteration % self.config.target_every == 0:
            follow(self.target.trained(), self.network.trained(), self.config.tau)
        return metrics | {"epsilon": self.network.epsilon.clone()}

    @torch.no_grad()
    def prepared(self, sample: Sample) -> Batch:
        """With the target network's values, as it follows between iterations only; noise is one draw for all of them."""
        batch = super().prepared(sample)
        ask = self.target.q_of if self.target.values is None else self.target.out_of
        with self.target.noised():
            return Batch(**batch._asdict(), next_q=ask(batch.next_obs))

    def learn(self, batch: Batch, learning_rate: float | Tensor, number: int) -> dict[str, Tensor]:
        with self.network.noised():
            losses = (self._losses if self.network.values is None else self._distributed)(batch)
        self.optimizer.step(losses.total, learning_rate)
        self.learned(batch, losses.error)
        return {"loss": losses.total.detach(), "q": losses.q, "error": losses.error.abs().mean()}

    def _losses(self, batch: Batch) -> Losses:
        with torch.no_grad():
            choice = self.network.q_of(batch.next_obs) if self.config.double else None
            target = td_target(batch.returns, batch.discount, batch.next_q, choice)
        return dqn_loss(self.config, self.network.q_of(batch.obs), batch.action, target, self.weights_of(batch))

    def _distributed(self, batch: Batch) -> Losses:
        """The same where a distribution is learned."""
        values = self.network.values
        assert isinstance(values, Atoms | Quantiles)
        with torch.no_grad():
            choice = self.network.q_of(batch.next_obs) if self.config.double else values.mean(batch.next_q)
            target = values.target(batch.returns, batch.discount, of_action(batch.next_q, choice.argmax(-1)))
        out = of_action(self.network.out_of(batch.obs), batch.action)
        return distribution_loss(values, out, target, self.weights_of(batch))


# ----------------------------------------------------------------------------------------------------------- train

LEARNER = DQN


def train(config: Config, env: Given | None = None) -> Result:
    """Trains as `config` says, and returns the learner and its metrics; into `config.run_dir` goes a run folder.

    Args:
        env: environments to train on, wrapped or not, or a `gpusim.Env`; None makes those that `config.env` names.

    Raises:
        InputError: a setting cannot be used.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    return trained(DQN(config, env))
