"""Iterations of PPO on torch against the same loop written out, step by step and sum by sum."""

import copy
from dataclasses import replace

import pytest
import torch

import gpusim
from gpusim.agents import a2c, ppo, pqn
from gpusim.agents.parts.optimizer import Adam
from gpusim.kernels.loss import Batch, ppo_loss

T, N, ITERATIONS = 12, 5, 3
TRUNCATED = replace(gpusim.spec("Pendulum-v1"), id="ShortPendulum-v1", max_episode_steps=7)
SIZES = {
    "device": "cpu", "backend": "eager", "num_envs": N, "num_steps": T, "total_steps": ITERATIONS * T * N,
    "hidden": (16,), "seed": 4, "normalize_obs": True, "normalize_reward": True,
}  # fmt: skip
SETTINGS = SIZES | {"epochs": 4, "minibatches": 3, "learning_rate": 5e-3, "gamma": 0.9, "lam": 0.8, "anneal": True}


class Plain:
    """PPO's iteration without any part of the learner's but network, optimizer and loss; all that was seen is kept."""

    def __init__(self, learner):
        self.config, self.network = learner.config, copy.deepcopy(learner.network)
        self.optimizer = Adam(self.network.parameters(), max_grad_norm=learner.config.max_grad_norm)
        self.generator = torch.Generator().manual_seed(gpusim.checks.later_seed(self.config.seed, 1))
        self.env = gpusim.make(self.config.env, N, device="cpu", backend="eager")
        self.obs, _ = self.env.reset(seed=self.config.seed)
        self.seen, self.returns, self.running = [], [], torch.zeros(N)
        self.updates = 0
        self.network.normalizer.mean.zero_()
        self.network.normalizer.var.fill_(1.0)
        self.collect()  # the first statistics, by a policy that has none yet

    def collect(self):
        steps = []
        for _ in range(T):
            with torch.no_grad():
                sample = self.network.distribution(self.obs).sample(self.generator)
            obs, reward, terminated, truncated, infos = self.env.step(self.network.env_action(sample))
            steps.append((self.obs, sample, reward, terminated, truncated, infos["final_obs"]))
            self.obs = obs
        rollout = [torch.stack(x) for x in zip(*steps, strict=True)]
        self.seen.append(rollout[0].reshape(T * N, -1))
        return rollout

    def normalized(self):
        """The network as it sees observations from now on: by the moments of all of them so far."""
        seen = torch.cat(self.seen).double()
        self.network.normalizer.mean.copy_(seen.mean(0))
        self.network.normalizer.var.copy_(seen.var(0, unbiased=False))

    def scaled(self, rewards, done):
        for reward, ended in zip(rewards, done, strict=True):
            self.running = self.config.gamma * self.running + reward
            self.returns.append(self.running)
            self.running = torch.where(ended, 0.0, self.running)
        return rewards / torch.cat(self.returns).double().var(unbiased=False).add(1e-8).sqrt().float()

    def iterate(self, number):
        config, network = self.config, self.network
        self.normalized()
        obs, sample, reward, terminated, truncated, next_obs = self.collect()
        done = terminated | truncated
        reward = self.scaled(reward, done)
        with torch.no_grad():
            distribution, value = network(obs)
            next_value, log_prob = network.value(next_obs), distribution.log_prob(sample)
        advantage, later = torch.zeros(T, N), torch.zeros(N)
        for t in reversed(range(T)):
            for n in range(N):
                bootstrap = 0.0 if terminated[t, n] else config.gamma * next_value[t, n]
                carried = 0.0 if done[t, n] else config.gamma * config.lam * later[n]
                advantage[t, n] = reward[t, n] + bootstrap - value[t, n] + carried
            later = advantage[t]
        fields = (obs, sample, log_prob, value, advantage, advantage + value)
        batch = Batch(*(x.flatten(0, 1) for x in fields))
        rate = config.learning_rate * (1 - number / ITERATIONS)
        for _ in range(config.epochs):
            for rows in torch.randperm(T * N, generator=self.generator).tensor_split(config.minibatches):
                part = Batch(*(x[rows] for x in batch))
                losses = ppo_loss(config.loss, part, *network(part.obs))
                self.optimizer.step(losses.total, rate)
                self.updates += 1
            if config.target_kl is not None and losses.kl > config.target_kl:
                return


@pytest.mark.parametrize(
    ("env", "changes"),
    [("CartPole-v1", {}), (TRUNCATED, {"clip_value": True}), ("CartPole-v1", {"target_kl": 2e-3})],
    ids=["discrete", "continuous", "target_kl"],
)
def test_iterations_of_ppo_are_the_loop_written_out(env, changes):
    config = ppo.Config(env=env, **SETTINGS | changes)
    learner = ppo.PPO(config)
    plain = Plain(learner)
    for number in range(ITERATIONS):
        learner.iterate()
        plain.iterate(number)
        for (name, ours), theirs in zip(learner.network.named_parameters(), plain.network.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
    plain.normalized()
    torch.testing.assert_close(learner.network.normalizer.mean, plain.network.normalizer.mean)
    torch.testing.assert_close(learner.network.normalizer.var, plain.network.normalizer.var)
    assert learner.optimizer.steps == plain.updates
    every = ITERATIONS * config.epochs * config.minibatches
    assert plain.updates < every if config.target_kl else plain.updates == every


def test_target_kl_stops_after_an_epoch_or_not_at_all():
    """No policy moves so little as the first, nor so far as the second allows."""

    def updates(target_kl):
        config = ppo.Config(env="CartPole-v1", **SETTINGS | {"target_kl": target_kl})
        learner = ppo.PPO(config)
        learner.iterate()
        return learner.optimizer.steps.item()

    assert updates(1e-12) == SETTINGS["minibatches"]
    assert updates(1e6) == updates(None) == SETTINGS["minibatches"] * SETTINGS["epochs"]


@pytest.mark.parametrize(("algorithm", "learner_class"), [(ppo, ppo.PPO), (a2c, a2c.A2C), (pqn, pqn.PQN)])
def test_every_rollout_adds_to_the_statistics_of_observations(algorithm, learner_class):
    learner = learner_class(algorithm.Config(env="CartPole-v1", **SIZES))
    statistics = learner.network.normalizer
    for rollouts in range(1, ITERATIONS + 1):
        assert statistics.count == rollouts * T * N
        before = statistics.mean.clone()
        learner.iterate()
        assert not torch.equal(statistics.mean, before)
