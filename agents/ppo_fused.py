"""PPO's iteration made of kernels alone: the rollout in one launch, the advantages, and three launches for every minibatch.

The same algorithm as `gpusim.agents.ppo` on torch, which is its specification; what differs is where random numbers come
from: Philox, not a generator.
"""

from typing import Any

import torch
from torch import Tensor

from gpusim import checks
from gpusim.agents.on_policy import OnPolicy, explained_variance
from gpusim.agents.parts.graph import Captured
from gpusim.kernels.adam import adam_step, sum_parts
from gpusim.kernels.gae import gae
from gpusim.kernels.mlp import MlpShape, mlp_problem
from gpusim.kernels.moments import discounted_returns, minibatch_moments, update_moments
from gpusim.kernels.policy import MlpPolicy
from gpusim.kernels.rollout_triton import collected
from gpusim.kernels.shuffle import shuffle
from gpusim.kernels.update import Data, make_workspace, ppo_gradient
from gpusim.pin import Pin
from gpusim.vector import VectorEnv

LOSSES = ("total", "policy", "value", "entropy", "kl", "clipped")


def mlp_shape(learner: OnPolicy) -> MlpShape | None:
    """The learner's network as kernels know it; None where it has not two hidden layers."""
    config, env = learner.config, learner.env
    if len(config.hidden) != 2:
        return None
    return MlpShape.of(env.single_observation_space, env.single_action_space, config.hidden, config.activation)


def fused_problem(learner: OnPolicy) -> str | None:
    """Why the kernels cannot run the iteration of this learner, a `gpusim.agents.ppo.PPO`, or None."""
    config: Any = learner.config
    if learner.env.backend != "triton":
        return f'environments step by backend "{learner.env.backend}"'
    if learner.recurrent:
        return "the network remembers"
    if learner.config.precision == "fp16":
        return "they do not multiply in fp16"
    if len(learner.env.single_observation_space.shape or ()) != 1:
        return "an observation is an image"
    shape = mlp_shape(learner)
    if shape is None:
        return f"the network has {len(learner.config.hidden)} hidden layers; kernels take 2"
    if learner.config.steps_per_iteration >= 2**31:
        return "an iteration has 2**31 steps or more"
    if learner.config.clip_reward:
        return "rewards are clipped"
    shards, minibatches = config.shards or 1, config.minibatches
    if shards > 1 and config.steps_per_iteration % (shards * minibatches):
        return f"the steps of each of {shards} shards are no multiple of minibatches"
    if learner.host_decides:
        return "target_kl has the host decide after every epoch"
    made: Any = learner.env
    return mlp_problem(shape) or checks.policy_problem(made.task)


class FusedIteration:
    """All tensors that an iteration reads and writes stay where they are, so that it can be captured and replayed."""

    path = "fused kernels"

    def __init__(self, learner: OnPolicy):
        shape = mlp_shape(learner)
        assert shape
        network, env = learner.network, learner.env
        assert isinstance(env, VectorEnv)
        config: Any = learner.config  # PPO's
        self.config, self.env = config, env
        self.learner, self.shape, self.pin = learner, shape, Pin()
        self.world = learner.world
        device, size = env.device, env.num_envs * config.num_steps

        def scalar(dtype: torch.dtype) -> Tensor:
            return torch.zeros((), dtype=dtype, device=device)

        self.clock, self.epoch, self.learning_rate = scalar(torch.int64), scalar(torch.int64), scalar(torch.float32)
        self.normalizer = None if network.normalizer is None else torch.zeros(2, shape.inputs, device=device)
        mean, scale = (None, None) if self.normalizer is None else self.normalizer
        centre, half = (None, None) if network.discrete else (network.action_centre, network.action_half)
        self.policy = MlpPolicy(learner.optimizer.flat, shape, mean, scale, centre, half, config.precision)
        self.out = collected(config.num_steps, env.num_envs, self.policy)
        self.order = torch.empty(size, dtype=torch.int32, device=device)
        self.workspace = make_workspace(shape, -(-size // config.minibatches), device)
        self.losses, self.explained = torch.zeros(8, device=device), torch.zeros((), device=device)
        self.captured = Captured(self._iterate, device)

    def begin(self) -> None:
        """A rollout for the first statistics of observations, where there are such; nothing is learned by it."""
        self._follow()
        if self.normalizer is not None:
            self.collect()
            self._observe()
            self.env.clock += self.config.num_steps

    def run(self, learning_rate: float) -> dict[str, Tensor]:
        """One iteration; the metrics as scalars on the device."""
        learner, config = self.learner, self.config
        self._follow()
        self.epoch.fill_(learner.iteration * config.epochs)
        self.learning_rate.fill_(learning_rate)
        self.captured()
        self.env.clock += config.num_steps
        return dict(zip(LOSSES, self.losses.clone(), strict=False)) | {"explained_variance": self.explained.clone()}

    def _follow(self) -> None:
        """Takes up the environments where they are, should anybody else have moved them."""
        if not self.env.hold(self.pin):
            self.captured = Captured(self._iterate, self.env.device)
        self.clock.fill_(self.env.clock)

    @torch.no_grad()
    def _iterate(self) -> None:
        """Nothing here looks at a value on the host."""
        learner, config, out = self.learner, self.config, self.out
        self.collect()
        done = out.terminated | out.truncated
        seen = out.obs.movedim(1, -1), out.next_value, out.reward
        learner.watch.note(*seen, out.episode_length, done, out.value)
        learner.window.add(out.episode_return, out.episode_length, done)
        reward = self._scaled(out.reward, done)
        advantage = gae(reward, out.value, out.next_value, out.terminated, done, config.gamma, config.lam)
        self.explained.copy_(explained_variance(out.value, advantage))
        data = Data(out.obs, out.sample, out.log_prob, out.value, advantage)
        for _ in range(config.epochs):
            self._shuffle()
            self._pass(data)
        self._observe()

    def _shuffle(self) -> None:
        """The next order of this rank's steps, of which every minibatch is a slice; it has a part of each of its shards."""
        shards, size, envs = self.config.shards or 1, len(self.order), self.env.num_envs
        own = shards // self.world.size
        if shards == 1:
            shuffle(size, self.env.seed, self.epoch, out=self.order)
        else:
            first, each = self.epoch * shards + self.world.rank * own, envs // own
            orders = torch.stack([shuffle(size // own, self.env.seed, first + i) for i in range(own)])
            begins = torch.arange(0, envs, each, device=orders.device, dtype=orders.dtype).unsqueeze(1)
            rows = orders // each * envs + orders % each + begins
            self.order.copy_(rows.unflatten(1, (self.config.minibatches, -1)).movedim(1, 0).flatten())
        self.epoch.add_(1)

    def _moments(self, advantage: Tensor) -> Tensor:
        """Mean and deviation of the advantages of each minibatch, on all ranks, `[minibatches, 2]`."""
        found = minibatch_moments(advantage, self.order, self.config.minibatches)
        if self.world.alone:
            return found
        own, deviation = found.double().unbind(1)
        mean = self.world.mean(own)
        var = self.world.mean_(deviation.square() + (own - mean).square())
        return torch.stack([mean, var.sqrt()], 1).float()

    def _pass(self, data: Data) -> None:
        """One pass over the data in minibatches."""
        config, adam, start = self.config, self.learner.optimizer, 0
        moments = self._moments(data.advantage)
        across = None if self.world.alone else self.world.mean_
        mean, scale = self.policy.mean, self.policy.scale
        normalizer = None if mean is None or scale is None else (mean, scale)
        for m, rows in enumerate(self.order.tensor_split(config.minibatches)):
            ppo_gradient(
                adam.flat, self.shape, data, self.order, start, len(rows), config.loss, self.workspace, moments[m],
                normalizer, config.precision,
            )  # fmt: skip
            sum_parts(self.workspace, across)
            adam_step(
                self.workspace, adam.flat, adam.moment1, adam.moment2, adam.steps, self.learning_rate,
                adam.max_grad_norm, adam.eps, self.losses,
            )  # fmt: skip
            start += len(rows)

    @torch.no_grad()
    def collect(self) -> None:
        """The rollout alone, in one launch, into `out`."""
        self._normalize()
        self.env.rollout_into(self.out, self.policy, self.clock)

    def _observe(self) -> None:
        """Adds what was acted on to the statistics."""
        if (statistics := self.learner.network.normalizer) is not None:
            statistics.take(lambda mean, var, count: update_moments(mean, var, count, self.out.obs))

    def _normalize(self) -> None:
        """The statistics as the kernels take them."""
        statistics = self.learner.network.normalizer
        if statistics is not None and self.normalizer is not None:
            self.normalizer[0].copy_(statistics.mean)
            self.normalizer[1].copy_(statistics.scale())

    def _scaled(self, reward: Tensor, done: Tensor) -> Tensor:
        scale = self.learner.reward_scale
        if scale is None:
            return reward
        returns, statistics = discounted_returns(reward, done, scale.running, scale.gamma), scale.statistics
        rows = returns.unsqueeze(1)
        statistics.take(lambda mean, var, count: update_moments(mean.view(1), var.view(1), count, rows))
        return reward * statistics.scale()
