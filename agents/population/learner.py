"""A population of PPO agents: the iteration of `gpusim.agents.ppo`, made for all of them at once.

Each agent has weights, environments, a seed and settings of its own, and is what a run of its own with these would be, to
rounding. Networks, statistics and the window of episodes are the modules of a run, called for all by `torch.func.vmap`; the
loss and the estimates are those of a run; environments draw by the agent's own seed (`gpusim.make(..., vectors=P)`), and so
do actions; the order of steps comes from where a run on the same device has it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from gymnasium.spaces import Discrete
from torch import Tensor
from torch.func import vmap

import gpusim
from gpusim.agents import ppo
from gpusim.agents.on_policy import explained_variance
from gpusim.agents.parts.episodes import EpisodeWindow
from gpusim.agents.parts.graph import GraphedIteration
from gpusim.agents.parts.normalize import ReturnScale
from gpusim.agents.population.members import OWN, column
from gpusim.agents.population.optimizer import StackedAdam
from gpusim.agents.population.stacked import Stacked, StackedNetwork
from gpusim.agents.train.environments import describe
from gpusim.checks import later_seed
from gpusim.kernels.distributions import HALF_LOG_TAU, LOG_STD_RANGE
from gpusim.kernels.gae import gae_torch
from gpusim.kernels.loss import Batch, Loss, Losses, ppo_loss
from gpusim.kernels.sampling import categorical, gaussian
from gpusim.kernels.shuffle import shuffle
from gpusim.precision import float32
from gpusim.rollout import Rollout
from gpusim.tree import tree_map


class Population:
    """Agents that learn beside each other.

    Args:
        members: the settings of each, alike but for `seed` and those of `OWN`.
        config: what they have in common.

    Attributes:
        members: as they are now.
        iteration: how many were made.
    """

    @float32
    def __init__(self, config: ppo.Config, members: Sequence[ppo.Config]):
        self.config, self.members, self.task = config, list(members), describe(config.env)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.env = self._environments()
        seeds = [member.seed for member in members]
        self.env.reset(seed=seeds if len(seeds) > 1 else seeds[0])
        self.device = device = self.env.device
        networks = [
            ppo.PPO.make_network(member, self.task, torch.Generator().manual_seed(member.seed)) for member in members
        ]
        self.network = StackedNetwork(networks, device)
        self.example: Any = networks[0].to(device)
        self.window = Stacked([EpisodeWindow(max(100, config.num_envs))] * len(members), device)
        scales = [Scale(config.num_envs, 0.0)] * len(members)
        self.reward_scale = Stacked(scales, device) if config.normalize_reward else None
        self._settle()
        self.adam = StackedAdam(self.network.flat, self.own["max_grad_norm"])
        self.orders = Orders(self.seeds, device)
        self.clock, self.passes = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(2))
        self.iteration = 0
        self._capturable()
        if config.normalize_obs:
            self._begin()

    def __len__(self) -> int:
        return len(self.members)

    def _environments(self) -> gpusim.VectorEnv:
        size, config = len(self.members), self.config
        assert isinstance(self.task, gpusim.Env)  # as was checked
        kwargs = {"device": config.device, "backend": config.backend, "validate": False}
        return gpusim.make(self.task, size * config.num_envs, vectors=size, **kwargs)

    def _settle(self) -> None:
        """What the settings of each are as tensors `[P]`."""
        self.own = {name: column(self.members, name, self.device) for name in OWN}
        self.seeds = torch.tensor([member.seed for member in self.members], device=self.device)

    def _capturable(self) -> None:
        """On a GPU the iteration is captured anew, as it finds its tensors elsewhere."""
        nothing = torch.Generator(self.device)
        self.graphed = GraphedIteration(self.env, nothing, self.config.num_steps, self._iterate)

    @property
    def steps(self) -> int:
        """Environment steps of each so far."""
        return self.iteration * self.config.steps_per_iteration

    def learning_rate(self) -> Tensor:
        """Of the next iteration, `[P]`."""
        return self.own["learning_rate"] * self._left()

    def _left(self) -> float:
        return 1.0 - self.iteration / self.config.iterations if self.config.anneal else 1.0

    @float32
    def iterate(self) -> dict[str, Tensor]:
        """One iteration of all; the metrics of each, `[P]`."""
        self.clock.fill_(self.env.clock)
        self.passes.fill_(self.iteration * self.config.epochs)
        metrics = self.graphed.run(self._left())
        self.iteration += 1
        return metrics

    def _begin(self) -> None:
        """A rollout for the first statistics of observations, of which nothing is learned."""
        self.clock.fill_(self.env.clock)
        self.network("normalizer.update", self.rows(self.collect().obs))

    def _iterate(self, left: float | Tensor) -> dict[str, Tensor]:
        rollout = self.collect()
        batch, explained = self.estimated(rollout)
        losses = self.learn(batch, self.own["learning_rate"] * left)
        if self.config.normalize_obs:
            self.network("normalizer.update", batch.obs)
        return losses._asdict() | {"explained_variance": explained}

    # --------------------------------------------------------------------------------------------------- rollout

    @torch.no_grad()
    def collect(self) -> Rollout:
        """The steps of all agents' environments, `[T, P * N]`."""
        rollout = self.env.rollout(self.config.num_steps, self._policy)
        done = rollout.terminated | rollout.truncated
        self.window("add", *map(self.apart, (rollout.episode_return, rollout.episode_length, done)))
        return rollout._replace(reward=rollout.reward.sign()) if self.config.clip_reward else rollout

    def _policy(self, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Actions for `obs` `[P * N, *obs]`, each agent's by its own network and its own seed."""
        distribution = self.network.ask("distribution", obs.unflatten(0, (len(self), -1)))
        output = distribution[0].flatten(0, 1)
        who = self.env.seed, self.env.index, self.clock
        if isinstance(self.task.action_space, Discrete):
            drawn = categorical(output, *who)
            sample, log_prob = drawn.sample, drawn.log_prob
        else:
            noise = gaussian(torch.zeros_like(output), torch.zeros_like(output[0]), *who).sample
            log_std = distribution.log_std.clamp(*LOG_STD_RANGE).repeat_interleave(self.config.num_envs, 0)
            sample = output + noise * log_std.exp()
            log_prob = (-0.5 * noise * noise - log_std - HALF_LOG_TAU).sum(-1)
        self.clock.add_(1)
        return self.example.env_action(sample), {"sample": sample, "log_prob": log_prob}

    def apart(self, x: Tensor) -> Tensor:
        """`[T, P * N, ...]` → `[P, T, N, ...]`."""
        return x.unflatten(1, (len(self), -1)).movedim(1, 0)

    def rows(self, x: Tensor) -> Tensor:
        """`[T, P * N, ...]` → `[P, T * N, ...]`, in the order in which a run has its steps."""
        return self.apart(x).flatten(1, 2)

    # ------------------------------------------------------------------------------------------------- estimates

    @torch.no_grad()
    def estimated(self, rollout: Rollout) -> tuple[Batch, Tensor]:
        """What is learned from, `[P, T * N, ...]`, and how well values told returns, `[P]`."""
        obs = self.rows(rollout.obs)
        value, next_value = (self.network.ask("value", x) for x in (obs, self.rows(rollout.next_obs)))
        done, steps = rollout.terminated | rollout.truncated, self.config.num_steps
        value_then, next_then = (x.unflatten(1, (steps, -1)).movedim(0, 1).flatten(1) for x in (value, next_value))
        gamma, lam = (self.own[name].repeat_interleave(self.config.num_envs) for name in ("gamma", "lam"))
        reward = self._scaled(rollout.reward, done)
        advantage = self.rows(gae_torch(reward, value_then, next_then, rollout.terminated, done, gamma, lam))
        sample, log_prob = (self.rows(rollout.extras[name]) for name in ("sample", "log_prob"))
        explained = vmap(explained_variance)(value, advantage)
        return Batch(obs, sample, log_prob, value, advantage, advantage + value), explained

    def _scaled(self, reward: Tensor, done: Tensor) -> Tensor:
        if self.reward_scale is None:
            return reward
        scaled = self.reward_scale("by", self.own["gamma"], self.apart(reward), self.apart(done))
        return scaled.movedim(0, 1).flatten(1)

    # --------------------------------------------------------------------------------------------------- updates

    def learn(self, batch: Batch, learning_rate: Tensor) -> Losses:
        """`epochs` passes of `minibatches` updates; the losses of the last one, `[P]` each."""
        for _ in range(self.config.epochs):
            for chosen in self._minibatches(batch.value.shape[1]):
                losses = self._update(Batch(*(self._chosen(x, chosen) for x in batch)), learning_rate)
        return losses

    def _minibatches(self, size: int) -> Iterator[Tensor]:
        order = self.orders(size, self.passes)
        self.passes.add_(1)
        yield from order.tensor_split(self.config.minibatches, 1)

    def _chosen(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Of `[P, T * N, ...]` the rows `[P, B]`."""
        first = torch.arange(len(self), device=self.device).unsqueeze(1) * x.shape[1]
        return x.flatten(0, 1)[(first + chosen).flatten()].unflatten(0, chosen.shape)

    def _update(self, batch: Batch, learning_rate: Tensor) -> Losses:
        """As it is for one agent, so it is for each: their losses have nothing in common, so one gradient is that of all."""
        flat, config = self.network.flat.detach().requires_grad_(), self.config
        outputs = self.network.ask("forward", batch.obs, flat=flat)

        def losses(own: Any, batch: Batch, output: Any) -> Losses:
            clip, value, entropy = own
            loss = Loss(clip, value, entropy, config.clip_value, config.normalize_advantage)
            return ppo_loss(loss, batch, *output)

        own = tuple(self.own[name] for name in ("clip", "value_coef", "entropy_coef"))
        found = vmap(losses)(own, batch, outputs)
        (grad,) = torch.autograd.grad(found.total.sum(), flat)
        self.adam.step(grad, learning_rate)
        return Losses(*(x.detach() for x in found))

    # --------------------------------------------------------------------------------------------------- members

    @torch.no_grad()
    def returns(self) -> Tensor:
        """`[P]`, mean of each one's last episodes; NaN where there was none, or its weights are no numbers any more."""
        mean = self.window("mean")[0]
        return mean.masked_fill(~self.network.flat.isfinite().all(1), torch.nan)

    def become(self, rows: Tensor, members: Sequence[ppo.Config]) -> None:
        """Number i goes on with what number `rows[i]` has learned, by the settings `members[i]`; its seed, its environments
        and what these have gathered stay its own."""
        self.members = [dataclasses.replace(m, seed=mine.seed) for m, mine in zip(members, self.members, strict=True)]
        self._learned_of(rows)
        if self.reward_scale:
            self.reward_scale.take(rows, but=("running",))
        self._settle()
        self._capturable()

    def keep(self, rows: Tensor) -> None:
        """Number i from now on is what was number `rows[i]`; the others are gone."""
        states = [self.env_states()[p] for p in rows.tolist()]
        self.members = [self.members[p] for p in rows.tolist()]
        self.env = self._environments()
        self.env.set_state(_joined(states) if len(states) > 1 else states[0])
        self._learned_of(rows)
        if self.reward_scale:
            self.reward_scale.take(rows)
        self.orders.take(rows)
        self._settle()
        self._capturable()

    def env_states(self) -> list[Any]:
        """Of each the state of its environments, as a vector of their own would have it."""
        whole, size = self.env.get_state(), self.config.num_envs

        def own(p: int) -> Any:
            state = tree_map(lambda x: x[p * size : (p + 1) * size].clone() if x.ndim else x, whole)
            return state._replace(seed=state.seed.flatten()[0].clone())

        return [own(p) for p in range(len(self))]

    def _learned_of(self, rows: Tensor) -> None:
        self.network.take(rows)
        self.adam.take(rows, self.network.flat)
        self.window.take(rows)


def _joined(states: Sequence[Any]) -> Any:
    """The state of vectors side by side, of those of each."""
    size = len(states[0].elapsed)
    wide = [state._replace(seed=state.seed.repeat(size)) for state in states]
    return tree_map(lambda *each: torch.cat(each), wide[0], *wide[1:])


class Scale(ReturnScale):
    """That of a run, whose discount is told at every call."""

    def by(self, gamma: Any, reward: Tensor, done: Tensor) -> Tensor:
        self.gamma = gamma
        return self(reward, done)


class Orders:
    """In which order each agent learns from its steps: on a CPU as its run's generator draws it, on a GPU as kernels do.

    Args:
        seeds: `[P]` int64.
    """

    def __init__(self, seeds: Tensor, device: torch.device):
        self.seeds, self.device = seeds, device
        self.generators = [torch.Generator(device).manual_seed(later_seed(seed, 1)) for seed in seeds.tolist()]

    def __call__(self, size: int, passed: Tensor) -> Tensor:
        """`[P, size]`, a permutation for each, of pass number `passed`."""
        if self.device.type == "cpu":
            return torch.stack([torch.randperm(size, generator=generator) for generator in self.generators])
        return shuffle(size, self.seeds, passed).long()

    def take(self, rows: Tensor) -> None:
        """Number i is what was number `rows[i]`."""
        self.seeds, self.generators = self.seeds[rows], [self.generators[p] for p in rows.tolist()]
