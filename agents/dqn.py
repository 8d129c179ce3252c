"""Deep Q-learning (Mnih et al., 2015) from a replay on the device, with what later work added to it, each by a setting:
double (van Hasselt et al., 2016), dueling (Wang et al., 2016), n-step returns and prioritized replay (Schaul et al., 2016).

A truncated episode bootstraps from its true final observation, a terminated one does not.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim.agents.config import RunConfig, at_least, between
from gpusim.agents.learner import Learner
from gpusim.agents.loop import Result, run
from gpusim.agents.networks import QNetwork
from gpusim.agents.optimizer import Adam
from gpusim.agents.replay import Replay, Sample
from gpusim.errors import InputError
from gpusim.registry import spec

# ---------------------------------------------------------------------------------------------------------- config


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Settings of DQN. (`initial_log_std` is for continuous actions, which it has not.)"""

    num_steps: int = 8
    """Steps of every environment in one iteration; its updates follow."""
    replay_ratio: float = 0.1
    """Updates for one environment step, each of `batch_size` samples; a fraction is carried over to the next iteration."""
    capacity: int = 100_000
    """Transitions that the replay holds; rounded down to whole steps of `num_envs`."""
    batch_size: int = 256
    """Samples of one update."""
    learning_starts: int = 2_000
    """Environment steps before the first update."""
    learning_rate: float = 1e-3
    """Of Adam, at the start."""
    anneal: bool = False
    """Let the learning rate fall linearly to 0 over `total_steps`."""
    gamma: float = 0.99
    """Discount."""
    n_step: int = 1
    """Rewards that are added up before the target network is asked."""
    double: bool = True
    """Let the policy network choose the next action, and the target network only say what it is worth."""
    dueling: bool = False
    """Learn the state's value and the actions' advantages apart."""
    target_every: int = 1
    """Iterations between two updates of the target network."""
    tau: float = 1.0
    """How far the target network then moves towards the policy network: 1 copies it, less is a Polyak average."""
    epsilon_start: float = 1.0
    """Share of random actions at the start."""
    epsilon_end: float = 0.05
    """Share of random actions from the end of exploration on."""
    exploration: float = 0.2
    """Share of `total_steps` over which epsilon falls linearly from start to end."""
    prioritized: bool = False
    """Draw transitions in proportion to |δ|^alpha instead of uniformly."""
    alpha: float = 0.6
    """Exponent of the priorities; 0 would be uniform."""
    beta: float = 0.4
    """Exponent of the importance weights at the start; it rises linearly to 1 over `total_steps`."""
    huber: float = 1.0
    """Where the loss turns from a parabola into a line."""
    max_grad_norm: float = 10.0
    """Global norm to which gradients are clipped."""

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.num_steps

    @property
    def held(self) -> int:
        """Transitions that the replay really holds: whole steps."""
        return self.capacity // self.num_envs * self.num_envs

    def updates(self, iteration: int) -> int:
        """In iteration number `iteration`, from 0."""
        before, after = (int(self.replay_ratio * self.steps_per_iteration * i) for i in (iteration, iteration + 1))
        return after - before if (iteration + 1) * self.steps_per_iteration >= self.learning_starts else 0

    def check(self) -> None:
        super().check()
        for name in ("num_steps", "capacity", "batch_size", "n_step", "target_every"):
            at_least(self, name, 1)
        for name in ("gamma", "tau", "epsilon_start", "epsilon_end", "exploration", "alpha", "beta"):
            between(self, name, 0.0, 1.0)
        for name in ("replay_ratio", "huber", "learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)!r}.")
        if not isinstance(spec(self.env).action_space, Discrete):
            raise InputError(f"dqn chooses among discrete actions, and {self.env} has continuous ones: use ppo.")
        if self.held < self.batch_size:
            raise InputError(
                f"a replay of {self.held} transitions is smaller than a batch of {self.batch_size}: raise capacity or "
                "lower batch_size."
            )
        least = self.num_envs * (self.num_steps + self.n_step - 1)
        if self.held < least:
            raise InputError(
                f"a replay of {self.held} transitions is smaller than the {least} of num_envs * (num_steps + n_step - 1) "
                "which one iteration and its n-step returns need: raise capacity."
            )
        for least, what in ((self.batch_size, "a batch"), (self.num_envs * self.n_step, "num_envs * n_step")):
            if self.learning_starts < least:
                raise InputError(
                    f"learning_starts must be at least {least}, {what}, for there to be something to learn from, "
                    f"not {self.learning_starts}."
                )


# ------------------------------------------------------------------------------------------------------------ loss


class Batch(NamedTuple):
    """Samples to learn from, `[B]`; observations are normalized where the network wants them so."""

    obs: Tensor  # [B, *obs]
    action: Tensor  # int64
    returns: Tensor  # of n steps
    discount: Tensor  # of the value of next_obs, 0 after a termination
    next_obs: Tensor  # [B, *obs]
    next_q: Tensor  # [B, A] of the target network
    place: Tensor  # in the replay
    probability: Tensor  # with which each was drawn


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
    taken = q.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    each = torch.nn.functional.huber_loss(taken, target, reduction="none", delta=config.huber)
    return Losses((each if weight is None else weight * each).mean(), taken.detach().mean(), (target - taken).detach())


def epsilon_greedy(q: Tensor, epsilon: Tensor, generator: torch.Generator) -> Tensor:
    """Actions `[N]` int64: the best of `q` `[N, A]`, or, with probability `epsilon`, any of them."""
    u = torch.rand(len(q), device=q.device, generator=generator)
    among = (u / epsilon * q.shape[-1]).long().clamp(max=q.shape[-1] - 1)  # u / epsilon is uniform where u < epsilon
    return torch.where(u < epsilon, among, q.argmax(-1))


# ---------------------------------------------------------------------------------------------------------- update


class DQN(Learner):
    """One iteration: `num_steps` steps of every environment into the replay, then updates from it.

    All numbers that change lie on the device, and the host waits for none.
    """

    config: Config
    network: QNetwork

    def __init__(self, config: Config):
        super().__init__(config)
        env, device = self.env.env, self.env.device
        observations, actions = env.observation_space, env.action_space
        assert isinstance(actions, Discrete)  # as the configuration was checked
        self.network = QNetwork(
            observations, actions, config.hidden, config.activation, config.normalize_obs, config.dueling,
            torch.Generator().manual_seed(config.seed),
        ).to(device)  # fmt: skip
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self.target.normalizer = self.network.normalizer
        self.optimizer = Adam(self.network.trained(), max_grad_norm=config.max_grad_norm)
        alpha = config.alpha if config.prioritized else None
        self.replay = Replay(
            config.capacity, config.num_envs, observations, actions, config.n_step, config.gamma, alpha, device
        )
        self.epsilon = torch.zeros((), device=device)
        nothing = torch.full((), torch.nan, device=device)
        self.losses = Losses(nothing, nothing, nothing)

    @property
    def path(self) -> str:
        config = self.config
        return (
            f"torch operations, {config.replay_ratio:g} updates of {config.batch_size} samples for one environment step, "
            f"replay of {self.replay.memory}"
        )

    def modules(self) -> dict[str, torch.nn.Module]:
        return super().modules() | {"target": self.target, "replay": self.replay}

    def state(self) -> dict[str, Any]:
        return super().state() | {"losses": self.losses._asdict()}

    def load(self, state: dict[str, Any]) -> None:
        held = len(state["replay"]["obs"])
        if held != self.replay.capacity:
            raise InputError(
                f"the checkpoint's replay holds {held} transitions and this one {self.replay.capacity}: resume with the "
                "capacity it was written with."
            )
        super().load(state)
        self.losses = Losses(**state["losses"])

    def iterate(self) -> dict[str, Tensor]:
        config, progress = self.config, self.iteration / self.config.iterations
        fallen = min(1.0, progress / config.exploration) if config.exploration else 1.0
        self.epsilon.fill_(config.epsilon_start + (config.epsilon_end - config.epsilon_start) * fallen)
        rollout = self.collect(config.num_steps)
        if self.network.normalizer is not None:
            self.network.normalizer.update(rollout.obs)
        self.replay.add(rollout)
        rate = config.learning_rate * (1 - progress if config.anneal else 1.0)
        self._learn(config.updates(self.iteration), rate, config.beta + (1 - config.beta) * progress)
        self.iteration += 1
        if self.iteration % config.target_every == 0:
            self._follow()
        return {
            "loss": self.losses.total,
            "q": self.losses.q,
            "error": self.losses.error.abs().mean(),
            "epsilon": self.epsilon.clone(),
            "updates_per_step": self.optimizer.steps / self.steps,
        }

    @torch.no_grad()
    def _policy(self, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return epsilon_greedy(self.network.q(obs), self.epsilon, self.generator), {}

    def _learn(self, updates: int, learning_rate: float, beta: float) -> None:
        for batch in self._batches(updates):
            with torch.no_grad():
                choice = self.network.q_of(batch.next_obs) if self.config.double else None
                target = td_target(batch.returns, batch.discount, batch.next_q, choice)
            weight = self.replay.weights(batch.probability, beta) if self.config.prioritized else None
            losses = dqn_loss(self.config, self.network.q_of(batch.obs), batch.action, target, weight)
            self.optimizer.step(losses.total, learning_rate)
            self.losses = losses._replace(total=losses.total.detach())
            if self.config.prioritized:
                self.replay.update_priority(batch.place, losses.error)

    def _batches(self, updates: int) -> Iterator[Batch]:
        """One for each update; all drawn at once, unless what one update learns changes what the next one draws."""
        size = self.config.batch_size
        if self.config.prioritized:
            for _ in range(updates):
                yield self._prepared(self.replay.sample(size, self.generator))
        elif updates:
            whole = self._prepared(self.replay.sample(size * updates, self.generator))
            yield from (Batch(*part) for part in zip(*(x.split(size) for x in whole), strict=True))

    @torch.no_grad()
    def _prepared(self, sample: Sample) -> Batch:
        """What does not change within an iteration: neither statistics nor target network do."""
        obs, next_obs = self.network.features(sample.obs), self.network.features(sample.next_obs)
        return Batch(
            obs, sample.action, sample.returns, sample.discount, next_obs, self.target.q_of(next_obs), sample.place,
            sample.probability,
        )  # fmt: skip

    @torch.no_grad()
    def _follow(self) -> None:
        ours, theirs = tuple(self.network.trained()), tuple(self.target.trained())
        if self.config.tau == 1.0:
            torch._foreach_copy_(theirs, ours)
        else:
            torch._foreach_lerp_(theirs, ours, self.config.tau)


# ----------------------------------------------------------------------------------------------------------- train


def train(config: Config) -> Result:
    """Trains as `config` says, and returns the learner and its metrics.

    Raises:
        InputError: a setting cannot be used.
    """
    return run(DQN(config))
