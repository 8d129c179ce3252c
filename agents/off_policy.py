"""What DQN, SAC and TD3 have in common: they learn from a replay of what was done, so many updates for each step of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from gpusim.agents.parts.graph import GraphedIteration
from gpusim.agents.parts.normalize import ReturnScale
from gpusim.agents.parts.replay import Replay
from gpusim.agents.parts.world import World
from gpusim.agents.train import budget
from gpusim.agents.train.budget import Part
from gpusim.agents.train.config import RunConfig, check_divides
from gpusim.agents.train.environments import Given, Task
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.ranges import Count, Number, Positive, Range, Rate, Share
from gpusim.errors import InputError
from gpusim.kernels.replay import Sample

CELLS_AT_ONCE = 2**24  # of observations drawn at once, and made features in one go


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig(RunConfig):
    """Settings of a replay and of the updates made from it."""

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
    atoms: Count = 1
    """Numbers between `v_min` and `v_max` over which it is learned how returns are distributed (C51); 1 learns the mean."""
    v_min: Number = -10.0
    """The least return that such a distribution knows."""
    v_max: Number = 10.0
    """The greatest."""
    layer_norm: bool = False
    """Normalize each hidden layer before its activation."""
    tau: Annotated[float, Range(0.0, 1.0, above=True)] = 1.0
    """How far a target network moves towards the trained one each time: 1 copies it, less is a Polyak average."""
    prioritized: bool = False
    """Draw transitions in proportion to |δ|^alpha instead of uniformly."""
    alpha: Share = 0.6
    """Exponent of the priorities; 0 would be uniform."""
    beta: Share = 0.4
    """Exponent of the importance weights at the start; it rises linearly to 1 over `total_steps`."""
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
    def least_held(self) -> int:
        """The fewest transitions that a replay can hold."""
        return max(self.batch_size, self.num_envs * (self.num_steps + self.n_step - 1))

    def takes(self, task: Task) -> list[Part]:
        network, batches = self.network_part(task), budget.batches(self, task, CELLS_AT_ONCE)
        return [budget.replay(self, task), budget.rollout(self, task, 0), network, batches]

    def network_part(self, task: Task) -> Part:
        """The memory of networks, target networks and optimizers."""
        return budget.network(self, task, targets=1)

    def due(self, iteration: int) -> int:
        """Updates that the steps before iteration number `iteration`, from 0, are worth, whether they were made or not."""
        return int(self.replay_ratio * self.steps_per_iteration * iteration)

    def first(self, empty_before: int = 0) -> int:
        """The first iteration with updates, of a replay that was empty before number `empty_before`."""
        return empty_before - (-self.learning_starts // self.steps_per_iteration) - 1

    def updates(self, iteration: int, empty_before: int = 0) -> int:
        """In iteration number `iteration`."""
        return self.due(iteration + 1) - self.due(iteration) if iteration >= self.first(empty_before) else 0

    @property
    def idle(self) -> str | None:
        """Why nothing is learned in all of `total_steps`; None where something is."""
        if self.first() >= self.iterations:
            return (
                f"nothing will be learned: total_steps, {self.total_steps:,}, end before learning_starts, "
                f"{self.learning_starts:,}."
            )
        if self.due(self.first()) == self.due(self.iterations):
            return f"nothing will be learned: a replay_ratio of {self.replay_ratio:g} makes no update in so few steps."
        return None

    def together(self, world: World, env: object = None) -> Self:
        config = super().together(world, env)
        check_divides(world, "batch_size", self.batch_size)
        return config

    def share(self, world: World) -> Self:
        """Of one rank: a replay of its own environments' steps, and its part of every batch."""
        if world.alone:
            return self
        return replace(super().share(world), capacity=self.held // world.size, batch_size=self.batch_size // world.size)

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        if self.atoms > 1 and self.v_min >= self.v_max:
            raise InputError(f"v_min, {self.v_min:g}, must be less than v_max, {self.v_max:g}.")
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


class Batch(NamedTuple):
    """Samples to learn from, `[B]`; observations are what the network makes of them first, normalized or not."""

    place: Tensor  # in the replay
    obs: Tensor  # [B, *obs]
    action: Tensor  # int64, or float32 [B, d]
    returns: Tensor  # of n steps
    discount: Tensor  # of the value of next_obs, 0 after a termination
    next_obs: Tensor  # [B, *obs]
    probability: Tensor  # with which each was drawn


class OffPolicy(Learner):
    """One iteration: `num_steps` steps of every environment into the replay, then updates from it, each what `learn` makes
    of a batch.

    All numbers that change lie on the device, and the host waits for none: it counts the updates alone, and for each number
    of them that there is, a GPU has a graph.
    """

    config: OffPolicyConfig
    told: tuple[str, ...] = ()
    """The names of the scalars that `learn` gives."""

    def __init__(self, config: OffPolicyConfig, env: Given | None = None):
        super().__init__(config, env)
        task, device = self.task, self.env.device
        alpha, spaces = config.alpha if config.prioritized else None, (task.observation_space, task.action_space)
        own = config.share(self.world)
        self.replay = Replay(own.capacity, own.num_envs, *spaces, config.n_step, config.gamma, alpha, device)
        scale = ReturnScale(own.num_envs, config.gamma).to(device)
        self.reward_scale = scale if config.normalize_reward else None
        self.empty_before = 0  # the iteration that began with an empty replay
        self.beta = torch.zeros((), device=device)
        self.metrics = torch.full((len(self.told),), torch.nan, device=device)  # of the last update
        self.graphed = GraphedIteration(self.env, self.generator, config.num_steps, self._iterate)

    @property
    def cycle(self) -> int:
        """After so many updates `learn` does the same again."""
        return 1

    @property
    def path(self) -> str:
        ratio, size = self.config.replay_ratio, self.config.batch_size
        return f"torch operations, {ratio:g} updates of {size} samples for one environment step"

    def modules(self) -> dict[str, nn.Module]:
        kept: dict[str, nn.Module] = {"replay": self.replay} if self.config.keep_replay else {}
        scale = {"reward_scale": self.reward_scale} if self.reward_scale else {}
        return super().modules() | kept | scale

    def state(self) -> dict[str, Any]:
        return super().state() | {"metrics": self.metrics, "empty_before": self.empty_before}

    def load(self, state: dict[str, Any]) -> None:
        """Raises InputError where the replay of `state` has another capacity."""
        if self.config.keep_replay and (held := len(state["replay"]["reward"])) != self.config.held:
            raise InputError(
                f"the checkpoint's replay holds {held} transitions and this one {self.config.held}: resume with the "
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
        config = self.config
        self.schedule()
        updates = config.updates(self.iteration, self.empty_before)
        self.learning = self.learning or updates > 0
        metrics = self.graphed.run(self.learning_rate(), *self._counts(updates))
        self.iteration += 1
        return metrics | {"updates_per_step": self.optimizer.steps / self.steps} | self.optimizer.metrics()

    def schedule(self) -> None:
        """Lets go on what changes from iteration to iteration; it is done outside of what a graph holds."""
        config, done = self.config, self.iteration / self.config.iterations
        self.beta.fill_(config.beta + (1 - config.beta) * done)

    def _counts(self, updates: int) -> tuple[int, ...]:
        """How many updates there are in this iteration and, where they are not alike, the first one's place in the cycle."""
        if self.cycle == 1:
            return (updates,)
        made = self.config.due(self.iteration) - self.config.due(self.config.first(self.empty_before))
        return updates, made % self.cycle if updates else 0

    def _iterate(self, learning_rate: float | Tensor, updates: int, first: int = 0) -> dict[str, Tensor]:
        rollout = self.collect(self.config.num_steps)
        if self.network.normalizer is not None:
            self.network.normalizer.update(rollout.obs)
        if self.reward_scale:
            reward = self.reward_scale(rollout.reward, rollout.terminated | rollout.truncated)
            rollout = rollout._replace(reward=reward)
        self.replay.add(rollout)
        told: dict[str, Tensor] = {}
        for number, batch in enumerate(self._batches(updates), first):
            told |= self.learn(batch, learning_rate, number % self.cycle)
        for name, value in told.items():
            self.metrics[self.told.index(name)].copy_(value)
        return dict(zip(self.told, self.metrics.clone(), strict=True))

    def learn(self, batch: Any, learning_rate: float | Tensor, number: int) -> dict[str, Tensor]:
        """One update.

        Args:
            batch: what `prepared` gave, of `batch_size` rows on all ranks.
            number: of the update in the cycle, from 0; number 0 tells all that there is to tell.

        Returns:
            Scalars, by names in `told`.
        """
        raise NotImplementedError

    def _batches(self, updates: int) -> Iterator[Any]:
        """One for each update; many are drawn at once, unless what one update learns changes what the next one draws."""
        size = self.config.share(self.world).batch_size
        several = 1 if self.config.prioritized else max(1, CELLS_AT_ONCE // (size * self.replay.form.cells))
        for start in range(0, updates, several):
            batches = min(several, updates - start)
            whole = self.prepared(self.replay.sample(size * batches, self.generator))
            yield from (type(whole)(*part) for part in zip(*(x.split(size) for x in whole), strict=True))

    @torch.no_grad()
    def prepared(self, sample: Sample) -> Any:
        """What does not change within an iteration, as the statistics of observations do not: a `NamedTuple` of tensors of
        as many rows."""
        obs, next_obs = self.network.features(sample.obs), self.network.features(sample.next_obs)
        return Batch(*sample._replace(obs=obs, next_obs=next_obs))

    def weights_of(self, batch: Any) -> Tensor | None:
        """Importance weights `[B]`; None where all are 1."""
        return self.replay.weights(batch.probability, self.beta) if self.config.prioritized else None

    def learned(self, batch: Any, error: Tensor) -> None:
        """What was drawn has been learned from, and misses its targets by `error` `[B]`."""
        if self.config.prioritized:
            self.replay.update_priority(batch.place, error)


@torch.no_grad()
def follow(targets: Iterable[Tensor], trained: Iterable[Tensor], tau: float) -> None:
    """Target parameters move towards the trained ones by the share τ of the way; 1 copies them."""
    theirs, ours = tuple(targets), tuple(trained)
    if tau == 1.0:
        torch._foreach_copy_(theirs, ours)
    else:
        torch._foreach_lerp_(theirs, ours, tau)
