"""What PPO, A2C and PQN have in common: they learn from a rollout by the policy that they are about to improve."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from gpusim.agents.parts.graph import GraphedIteration
from gpusim.agents.parts.networks import ActorCritic
from gpusim.agents.parts.normalize import ReturnScale
from gpusim.agents.parts.world import here
from gpusim.agents.rollouts import OnPolicyConfig, check_columns
from gpusim.agents.train.environments import Given
from gpusim.agents.train.learner import Learner
from gpusim.kernels.gae import gae
from gpusim.rollout import TRANSITION, Rollout
from gpusim.tree import tree_map


def explained_variance(value: Tensor, advantage: Tensor) -> Tensor:
    """1 − Var(λ-return − value) / Var(λ-return): 1 where values tell returns, 0 where a constant would do as well.

    Where all returns are alike it is 0. The variances are those of all ranks.
    """
    if here().alone:
        returns, rest = (value + advantage).var(unbiased=False), advantage.var(unbiased=False)
    else:
        (_, returns), (_, rest) = here().moments(value + advantage, advantage)
    return torch.where(returns > 0, 1 - rest / returns, 0.0)


class Output(NamedTuple):
    """What a network makes of observations: of `[B]`, or of `[T, N]` where it remembers."""

    distribution: Any
    value: Tensor
    state: Any = None  # [T, N, ...] after every step; None where nothing is remembered


class Told(NamedTuple):
    """What a network says of a rollout, `[T, N]` each."""

    value: Tensor
    next_value: Tensor  # of the true next observation
    log_prob: Tensor | None = None  # of what the policy drew; None where it was not asked for


Chosen = Tensor | slice
"""Numbers of rows, or of environments, of what is learned from; or all of them."""
L = TypeVar("L", bound=tuple)


def equal_slices(size: int, parts: int) -> list[slice]:
    """`size` rows in so many parts, whose sizes differ by one at most."""
    edges = [size * i // parts for i in range(parts + 1)]
    return [slice(*pair) for pair in itertools.pairwise(edges)]


def columns(rollout: Rollout, some: slice) -> Rollout:
    """The steps of some environments of a rollout that holds transitions."""
    steps = {name: tree_map(lambda x: x[:, some], getattr(rollout, name)) for name in (*TRANSITION, "extras")}
    return rollout._replace(**steps, policy_state=tree_map(lambda x: x[some], rollout.policy_state))


class Fused(Protocol):
    """A learner's iterations by other means than torch operations."""

    path: str

    def begin(self) -> None:
        """As `OnPolicy.begin`."""

    def run(self, learning_rate: float) -> dict[str, Tensor]:
        """One iteration; the metrics as scalars on the device."""


class OnPolicy(Learner):
    """One iteration: a rollout, then what `learn` makes of it."""

    config: OnPolicyConfig
    network: ActorCritic

    def __init__(self, config: OnPolicyConfig, env: Given | None = None):
        super().__init__(config, env)
        if self.recurrent:
            check_columns(config)
        scale = ReturnScale(self.env.num_envs, config.gamma).to(self.env.device)
        self.reward_scale = scale if config.normalize_reward else None
        wanted = not self.host_decides
        self.graphed = GraphedIteration(self.env, self.generator, config.num_steps, self._iterate, wanted)
        self.fused = self.make_fused()
        self.begin()

    def make_fused(self) -> Fused | None:
        """What makes the iterations; None: torch operations do."""
        return None

    @property
    def path(self) -> str:
        return self.fused.path if self.fused else super().path

    @property
    def host_decides(self) -> bool:
        """Whether `learn` looks at values on the host, so that no graph can hold it."""
        return False

    def begin(self) -> None:
        """A rollout for the first statistics of observations, where there are such; nothing is learned by it."""
        if self.fused:
            self.fused.begin()
        elif self.network.normalizer is not None:
            self.network.normalizer.update(self.collect(self.config.num_steps).obs)

    def modules(self) -> dict[str, torch.nn.Module]:
        return super().modules() | ({"reward_scale": self.reward_scale} if self.reward_scale else {})

    def cut(self) -> None:
        if self.reward_scale:
            self.reward_scale.cut()

    def iterate(self) -> dict[str, Tensor]:
        losses = (self.fused or self.graphed).run(self.learning_rate())
        self.iteration += 1
        return losses

    def learning_rate(self) -> float:
        done = self.iteration / self.config.iterations
        return self.config.learning_rate * (1 - done if self.config.anneal else 1.0)

    def _iterate(self, learning_rate: float | Tensor) -> dict[str, Tensor]:
        rollout = self.collect(self.config.num_steps)
        losses = self.learn(rollout, learning_rate)
        if self.network.normalizer is not None:
            self.network.normalizer.update(rollout.obs)
        return losses._asdict() | {"explained_variance": self.explained} | self.optimizer.metrics()

    def learn(self, rollout: Rollout, learning_rate: float | Tensor) -> Any:
        """Updates the network, and returns the losses, a `NamedTuple` of scalars."""
        raise NotImplementedError

    def shuffled(self, minibatches: int) -> tuple[Tensor, ...]:
        """The numbers of this rank's steps, int64 from 0 on, in a random order, in so many parts; where the network
        remembers, whose steps stay together, of its environments.

        With those of other ranks they are the same minibatches whatever the number of ranks, in which every shard of the
        environments has the same part.
        """
        steps = self.config.num_steps if self.recurrent is None else 1
        shards = getattr(self.config, "shards", 0) or 1
        envs = self.config.num_envs // shards
        size, device = steps * envs, self.env.device
        orders = [torch.randperm(size, generator=self.generator, device=device) for _ in range(shards)]
        if shards == 1:
            return orders[0].tensor_split(minibatches)
        own = orders[self.world.rank * shards // self.world.size :][: shards // self.world.size]
        rows = [order // envs * self.env.num_envs + order % envs + i * envs for i, order in enumerate(own)]
        return tuple(torch.cat(part) for part in zip(*(x.tensor_split(minibatches) for x in rows), strict=True))

    def arranged(self, steps: Sequence[Tensor]) -> list[Tensor]:
        """Of tensors `[T, N, ...]` what is learned from: rows `[T * N, ...]`, or the same where the network remembers."""
        return [x if self.recurrent else x.flatten(0, 1) for x in steps]

    def part(self, steps: Sequence[Tensor], chosen: Chosen) -> list[Tensor]:
        """A minibatch of what is `arranged`: some rows, or the columns `[T, n, ...]` of some environments."""
        return [x[:, chosen] if self.recurrent else x[chosen] for x in steps]

    def output(self, obs: Tensor, rollout: Rollout, chosen: Chosen | None = None) -> Output:
        """The network's, of observations of a rollout: all of them, or the part of the environments `chosen`."""
        if self.recurrent is None:
            return Output(*self.network(obs))
        state, begun = rollout.policy_state, rollout.begun
        if chosen is not None:
            state, begun = tree_map(lambda x: x[chosen], state), begun[:, chosen]
        return Output(*self.recurrent.unroll(obs, state, begun))

    def descend(
        self, chosen: Chosen, losses: Callable[[Chosen], L], learning_rate: float | Tensor, size: int | None = None
    ) -> L:
        """One step down the gradient of a minibatch, made in as many parts as `accumulate` says.

        Args:
            chosen: the minibatch, as for `part`; a slice is everything, `size` rows or columns.
            losses: of rows or columns, each a mean over them; the first is descended.

        Returns:
            the losses of the minibatch, detached.
        """
        if self.config.accumulate == 1:
            found = losses(chosen)
            self.optimizer.step(found[0], learning_rate)
            return type(found)(*(x.detach() for x in found))
        if isinstance(chosen, slice):
            chosen = torch.arange(size or 0, device=self.env.device)
        shares = list[L]()

        def each() -> Iterator[Tensor]:
            for part in chosen.tensor_split(self.config.accumulate):
                share, found = len(part) / len(chosen), losses(part)
                shares.append(type(found)(*(x.detach() * share for x in found)))
                yield found[0] * share

        self.optimizer.step_of(each(), learning_rate)
        return type(shares[0])(*(torch.stack(x).sum(0) for x in zip(*shares, strict=True)))

    def whole_moments(self, advantage: Tensor, chosen: Sequence[Chosen]) -> Sequence[Tensor | None]:
        """Mean and deviation of the advantages of each minibatch, on all ranks, where what is at hand at a time does not
        tell them."""
        if self.config.accumulate == 1 and self.world.alone:
            return [None] * len(chosen)
        parts = [self.part((advantage,), each)[0] for each in chosen]
        if self.world.alone:
            return [torch.stack([part.mean(), part.std(unbiased=False)]) for part in parts]
        return [torch.stack([mean, var.sqrt()]).to(advantage.dtype) for mean, var in self.world.moments(*parts)]

    @torch.no_grad()
    def told(self, rollout: Rollout, acted: bool = False) -> Told:
        """What the network says of a rollout; `acted`: of the actions too. By columns, where updates are made in parts, so
        that it takes no more memory than these."""
        num_envs = self.env.num_envs
        parts = 1 if self.config.accumulate == 1 else min(num_envs, self.config.updates_in_parts)
        some = [self._told(columns(rollout, part), acted) for part in equal_slices(num_envs, parts)]
        if parts == 1:
            return some[0]
        whole: list[Any] = [None if x[0] is None else torch.cat(x, 1) for x in zip(*some, strict=True)]
        return Told(*whole)

    def _told(self, rollout: Rollout, acted: bool) -> Told:
        output = self.output(rollout.obs, rollout) if acted or self.recurrent else None
        log_prob = output.distribution.log_prob(rollout.extras["sample"]) if acted and output else None
        value = self.network.value(rollout.obs) if output is None else output.value
        next_value = rollout.extras.get("next_value")
        if next_value is None:
            done = rollout.terminated | rollout.truncated
            next_value = self._next_value(rollout.next_obs, done, value, output)
        return Told(value, next_value, log_prob)

    @torch.no_grad()
    def estimate(self, rollout: Rollout, told: Told | None = None) -> tuple[Tensor, Tensor]:
        """The values of a rollout's observations and their advantages (GAE), `[T, N]` each; the λ-return is their sum."""
        config, done = self.config, rollout.terminated | rollout.truncated
        reward = self.reward_scale(rollout.reward, done) if self.reward_scale else rollout.reward
        value, next_value, _ = told or self.told(rollout)
        advantage = gae(reward, value, next_value, rollout.terminated, done, config.gamma, config.lam)
        self.explained = explained_variance(value, advantage)
        return value, advantage

    def _next_value(self, next_obs: Tensor, done: Tensor, value: Tensor, known: Output | None = None) -> Tensor:
        """Of images on the CPU, where they are dear, only those values are computed that are not the next row's. A network
        that remembers sees each observation by the state after the step before it."""
        if self.recurrent and known:
            state = tree_map(lambda x: x.flatten(0, 1), known.state)
            obs = next_obs.flatten(0, 1).unsqueeze(0)
            return self.recurrent.unroll(obs, state, torch.zeros_like(done).view(1, -1))[1].view_as(value)
        if self.network.flat or value.is_cuda:
            return self.network.value(next_obs)
        last = done.clone()
        last[-1] = True
        return value.roll(-1, 0).masked_scatter(last, self.network.value(next_obs[last]))
