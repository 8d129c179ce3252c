"""Deep Q-learning (Mnih et al., 2015) from a replay on the device, with what later work added to it, each by a setting:
double (van Hasselt et al., 2016), dueling (Wang et al., 2016), n-step returns and prioritized replay (Schaul et al., 2016).

A truncated episode bootstraps from its true final observation, a terminated one does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim.agents.exploration import ExplorationConfig, Explorer
from gpusim.agents.parts.graph import GraphedIteration
from gpusim.agents.parts.networks import QNetwork
from gpusim.agents.parts.normalize import ReturnScale
from gpusim.agents.parts.replay import Replay, memory, transition_bytes
from gpusim.agents.train.environments import Given, Task, describe
from gpusim.agents.train.loop import Result
from gpusim.agents.train.presets import by_env
from gpusim.agents.train.ranges import Count, Positive, Range, Rate, Share
from gpusim.agents.train.training import trained
from gpusim.errors import InputError
from gpusim.kernels.replay import Sample

CELLS_AT_ONCE = 2**24  # of observations drawn at once, and made features in one go

# ---------------------------------------------------------------------------------------------------------- config


@by_env
@dataclass(frozen=True, kw_only=True)
class Config(ExplorationConfig):
    """Settings of DQN."""

    num_steps: Count = 8
    """Steps of every environment in one iteration; its updates follow."""
    replay_ratio: Annotated[float, Range(0, 1000, above=True)] = 0.1
    """Updates for one environment step, each of `batch_size` samples; a fraction is carried over to the next iteration."""
    capacity: Count = 100_000
    """Transitions that the replay holds; rounded down to whole steps of `num_envs`."""
    batch_size: Count = 256
    """Samples of one update."""
    learning_starts: Count = 2_000
    """Environment steps before the first update."""
    learning_rate: Rate = 1e-3
    """Of Adam, at the start."""
    anneal: bool = False
    """Let the learning rate fall linearly to 0 over `total_steps`."""
    gamma: Share = 0.99
    """Discount."""
    normalize_reward: bool = False
    """Divide rewards by the running deviation of the discounted return, as it is when they are stored."""
    n_step: Count = 1
    """Rewards that are added up before the target network is asked."""
    double: bool = True
    """Let the policy network choose the next action, and the target network only say what it is worth."""
    layer_norm: bool = False
    """Normalize each hidden layer before its activation."""
    dueling: bool = False
    """Learn the state's value and the actions' advantages apart."""
    target_every: Count = 1
    """Iterations between two updates of the target network."""
    tau: Annotated[float, Range(0.0, 1.0, above=True)] = 1.0
    """How far the target network then moves towards the policy network: 1 copies it, less is a Polyak average."""
    prioritized: bool = False
    """Draw transitions in proportion to |δ|^alpha instead of uniformly."""
    alpha: Share = 0.6
    """Exponent of the priorities; 0 would be uniform."""
    beta: Share = 0.4
    """Exponent of the importance weights at the start; it rises linearly to 1 over `total_steps`."""
    huber: Positive = 1.0
    """Where the loss turns from a parabola into a line."""
    max_grad_norm: Positive = 10.0
    """Global norm to which gradients are clipped."""
    keep_replay: bool = True
    """Keep the replay in checkpoints, which are as large then. Without it a resumed run takes `learning_starts` steps again
    before it learns on, and ends elsewhere than the unbroken one."""

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.num_steps

    @property
    def held(self) -> int:
        """Transitions that the replay really holds: whole steps."""
        return self.capacity // self.num_envs * self.num_envs

    @property
    def memory(self) -> str:
        """Of the replay, in words; known before there is one."""
        task = describe(self.env)
        assert isinstance(task.action_space, Discrete)  # as is checked
        return memory(self.held, transition_bytes(task.observation_space, task.action_space, self.prioritized))

    def updates(self, iteration: int, empty_before: int = 0) -> int:
        """In iteration number `iteration`, from 0, of a replay that was empty before number `empty_before`."""
        before, after = (int(self.replay_ratio * self.steps_per_iteration * i) for i in (iteration, iteration + 1))
        gathered = (iteration + 1 - empty_before) * self.steps_per_iteration
        return after - before if gathered >= self.learning_starts else 0

    @property
    def idle(self) -> str | None:
        """Why nothing is learned in all of `total_steps`; None where something is."""
        if self.learning_starts > self.iterations * self.steps_per_iteration:
            return (
                f"nothing will be learned: total_steps, {self.total_steps:,}, end before learning_starts, "
                f"{self.learning_starts:,}."
            )
        first = -(-self.learning_starts // self.steps_per_iteration) - 1  # iteration with updates
        before, after = (int(self.replay_ratio * self.steps_per_iteration * i) for i in (first, self.iterations))
        if before == after:
            return f"nothing will be learned: a replay_ratio of {self.replay_ratio:g} makes no update in so few steps."
        return None

    def check(self, task: Task | None = None) -> None:
        super().check(task)
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
    q_taken = q.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    each = torch.nn.functional.huber_loss(q_taken, target, reduction="none", delta=config.huber)
    return Losses(
        (each if weight is None else weight * each).mean(), q_taken.detach().mean(), (target - q_taken).detach()
    )


# ---------------------------------------------------------------------------------------------------------- update


class Metrics(NamedTuple):
    """Scalars, of the last update; NaN before the first."""

    loss: Tensor
    q: Tensor  # mean value of the actions taken
    error: Tensor  # mean of its magnitude


class DQN(Explorer):
    """One iteration: `num_steps` steps of every environment into the replay, then updates from it.

    All numbers that change lie on the device, and the host waits for none: it counts the updates alone, and for each number
    of them that there is, a GPU has a graph.
    """

    config: Config
    network: QNetwork

    @staticmethod
    def make_network(config: Any, task: Task, generator: torch.Generator) -> QNetwork:
        assert isinstance(task.action_space, Discrete)  # as was checked
        return QNetwork(
            task.observation_space, task.action_space, config.hidden, config.activation, config.normalize_obs,
            config.dueling, generator, config.network, config.layer_norm, config.precision,
        )  # fmt: skip

    def __init__(self, config: Config, env: Given | None = None):
        super().__init__(config, env)
        task, device = self.task, self.env.device
        assert isinstance(task.action_space, Discrete)  # as the configuration was checked
        again = torch.Generator().manual_seed(config.seed)  # so that it begins with the same weights
        self.target = self.make_network(config, task, again).to(device).requires_grad_(False)
        self.target.normalizer = self.network.normalizer
        alpha, spaces = config.alpha if config.prioritized else None, (task.observation_space, task.action_space)
        self.replay = Replay(config.capacity, config.num_envs, *spaces, config.n_step, config.gamma, alpha, device)
        scale = ReturnScale(config.num_envs, config.gamma).to(device)
        self.reward_scale = scale if config.normalize_reward else None
        self.empty_before = 0  # the iteration that began with an empty replay
        self.beta = torch.zeros((), device=device)
        self.metrics = torch.full((len(Metrics._fields),), torch.nan, device=device)
        self.graphed = GraphedIteration(self.env, self.generator, config.num_steps, self._iterate)

    @property
    def path(self) -> str:
        ratio, size = self.config.replay_ratio, self.config.batch_size
        return f"torch operations, {ratio:g} updates of {size} samples for one environment step"

    def modules(self) -> dict[str, torch.nn.Module]:
        kept: dict[str, torch.nn.Module] = {"replay": self.replay} if self.config.keep_replay else {}
        scale = {"reward_scale": self.reward_scale} if self.reward_scale else {}
        return super().modules() | {"target": self.target} | kept | scale

    def state(self) -> dict[str, Any]:
        return super().state() | {"metrics": self.metrics, "empty_before": self.empty_before}

    def load(self, state: dict[str, Any]) -> None:
        """Raises InputError where the replay of `state` has another capacity."""
        if self.config.keep_replay and (held := len(state["replay"]["reward"])) != self.replay.capacity:
            raise InputError(
                f"the checkpoint's replay holds {held} transitions and this one {self.replay.capacity}: resume with the "
                "capacity it was written with."
            )
        super().load(state)
        self.metrics.copy_(state["metrics"])
        self.empty_before = state["empty_before"]
        if not self.config.keep_replay:
            self.empty_before = self.iteration
            self.replay.clear()

    def cut(self) -> None:
        self.replay.cut()
        if self.reward_scale:
            self.reward_scale.cut()

    learning = False

    def learning_rate(self) -> float:
        done = self.iteration / self.config.iterations
        return self.config.learning_rate * (1 - done if self.config.anneal else 1.0)

    def iterate(self) -> dict[str, Tensor]:
        config, progress = self.config, self.iteration / self.config.iterations
        self.explore()
        self.beta.fill_(config.beta + (1 - config.beta) * progress)
        updates = config.updates(self.iteration, self.empty_before)
        self.learning = self.learning or updates > 0
        metrics = self.graphed.run(self.learning_rate(), updates)
        self.iteration += 1
        if self.iteration % config.target_every == 0:
            self._follow()
        share = self.optimizer.steps / self.steps
        return metrics | {"epsilon": self.network.epsilon.clone(), "updates_per_step": share}

    def _iterate(self, learning_rate: float | Tensor, updates: int) -> dict[str, Tensor]:
        rollout = self.collect(self.config.num_steps)
        if self.network.normalizer is not None:
            self.network.normalizer.update(rollout.obs)
        if self.reward_scale:
            reward = self.reward_scale(rollout.reward, rollout.terminated | rollout.truncated)
            rollout = rollout._replace(reward=reward)
        self.replay.add(rollout)
        if updates:
            losses = self._learn(updates, learning_rate)
            self.metrics.copy_(torch.stack([losses.total.detach(), losses.q, losses.error.abs().mean()]))
        return Metrics(*self.metrics.clone())._asdict()

    def _learn(self, updates: int, learning_rate: float | Tensor) -> Losses:
        """The losses of the last update."""
        for batch in self._batches(updates):
            with torch.no_grad():
                choice = self.network.q_of(batch.next_obs) if self.config.double else None
                target = td_target(batch.returns, batch.discount, batch.next_q, choice)
            weight = self.replay.weights(batch.probability, self.beta) if self.config.prioritized else None
            losses = dqn_loss(self.config, self.network.q_of(batch.obs), batch.action, target, weight)
            self.optimizer.step(losses.total, learning_rate)
            if self.config.prioritized:
                self.replay.update_priority(batch.place, losses.error)
        return losses

    def _batches(self, updates: int) -> Iterator[Batch]:
        """One for each update; many are drawn at once, unless what one update learns changes what the next one draws."""
        size = self.config.batch_size
        several = 1 if self.config.prioritized else max(1, CELLS_AT_ONCE // (size * self.replay.form.cells))
        for start in range(0, updates, several):
            batches = min(several, updates - start)
            whole = self._prepared(self.replay.sample(size * batches, self.generator))
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
