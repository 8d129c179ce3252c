"""Networks that remember, in learners: what is learned with a memory and cannot be without one."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

import gpusim
from gpusim import InputError
from gpusim.agents import a2c, dqn, ppo, pqn, reinforce
from gpusim.agents.train.evaluate import evaluate, played
from gpusim.kernels.distributions import Categorical
from gpusim.kernels.lang import Lane, Rng, uniform, where, zeros_like
from gpusim.policy import begin_anew
from gpusim.tree import tree_map
from tests.envs.test_vector import same

N, T, STEPS = 64, 16, 5


class State(NamedTuple):
    cue: Lane  # -1 or 1
    time: Lane


class Params(NamedTuple):
    steps: Lane = float(STEPS)


def init(rng: Rng, p: Params) -> State:
    cue = where(uniform(rng, 0, -1.0, 1.0) > 0.0, 1.0, -1.0)
    return State(cue, zeros_like(cue))


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    over = s.time > p.steps - 1.5
    right = where(action == 1, 1.0, -1.0) == s.cue
    return State(s.cue, s.time + 1.0), where(over, where(right, 1.0, -1.0), 0.0), over


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return where(s.time == 0.0, s.cue, 0.0), where(s.time > p.steps - 1.5, 1.0, 0.0)


CUE = gpusim.register(
    gpusim.Env(
        id="Cue-v0",
        init=init,
        step=step,
        observe=observe,
        params=Params(),
        observation_space=Box(-1.0, 1.0, (2,), np.float32),
        action_space=Discrete(2),
        max_episode_steps=None,
    )
)
"""What is shown at the first of five steps is to be done at the last."""


class Gated(nn.Module):
    """A GRU of eight units, an actor and a critic on it."""

    normalizer = None
    discrete = True

    def __init__(self, inputs, actions):
        super().__init__()
        self.cell, self.actor, self.critic = nn.GRUCell(inputs, 8), nn.Linear(8, actions), nn.Linear(8, 1)

    def initial_state(self, num_envs, device):
        return {"hidden": torch.zeros(num_envs, 8, device=device)}

    def unroll(self, obs, state, begun):
        states = []
        for seen, first in zip(obs, begun, strict=True):
            before = begin_anew(state, self.initial_state(len(seen), seen.device), first)
            state = {"hidden": self.cell(seen, before["hidden"])}
            states.append(state["hidden"])
        hidden = torch.stack(states)
        return Categorical(self.actor(hidden)), self.critic(hidden).squeeze(-1), {"hidden": hidden}

    def trained(self):
        return list(self.parameters())

    def env_action(self, sample):
        return sample


def remembering(learner, network=Gated):
    class Remembers(learner):
        @staticmethod
        def make_network(config, task, generator):
            with torch.random.fork_rng():
                torch.manual_seed(config.seed)
                return network(task.observation_space.shape[0], int(task.action_space.n))

    return Remembers


def config(algorithm=ppo, **changes):
    settings = {
        "env": "Cue-v0", "device": "cpu", "num_envs": N, "num_steps": T, "total_steps": N * T * 25, "learning_rate": 2e-2,
        "seed": 3, "anneal": False,
    }  # fmt: skip
    more = {
        ppo: {"epochs": 2, "minibatches": 2},
        a2c: {"num_steps": 10, "total_steps": N * 10 * 60},
        pqn: {"minibatches": 2, "learning_rate": 1e-2, "exploration": 0.5},
    }[algorithm]
    return algorithm.Config(**settings | more | changes)


class Windowed(nn.Module):
    """What a user may bring: attention over the last `W` observations of an episode, each with its age, of one head."""

    W, D = 6, 16
    normalizer, discrete = None, True

    def __init__(self, inputs, actions):
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(inputs, self.D) for _ in "kqv")
        self.age = nn.Parameter(torch.randn(self.W, self.D))
        self.actor, self.critic = nn.Linear(self.D, actions), nn.Linear(self.D, 1)

    def initial_state(self, num_envs, device):
        zeros = torch.zeros(num_envs, self.W - 1, self.key.in_features, device=device)
        return {"before": zeros, "count": torch.zeros(num_envs, dtype=torch.int64, device=device)}

    def unroll(self, obs, state, begun):
        """The windows of all steps first, then one product for all of them."""
        windows, counts, after = [], [], []
        for seen, first in zip(obs, begun, strict=True):
            state = begin_anew(state, self.initial_state(len(seen), seen.device), first)
            windows.append(torch.cat([state["before"], seen.unsqueeze(1)], 1))
            counts.append((state["count"] + 1).clamp(max=self.W))
            state = {"before": windows[-1][:, 1:], "count": counts[-1]}
            after.append(state)
        window, count = torch.stack(windows), torch.stack(counts)  # [T, N, W, inputs], [T, N]
        score = ((self.key(window) + self.age) @ self.query(obs).unsqueeze(-1)).squeeze(-1) / self.D**0.5
        unseen = torch.arange(self.W, 0, -1) > count.unsqueeze(-1)
        share = score.masked_fill(unseen, -torch.inf).softmax(-1)
        told = torch.tanh((share.unsqueeze(-2) @ self.value(window)).squeeze(-2))
        states = {name: torch.stack([each[name] for each in after]) for name in state}
        return Categorical(self.actor(told)), self.critic(told).squeeze(-1), states

    trained, env_action = Gated.trained, Gated.env_action


def mean_return(learner):
    while learner.iteration < learner.config.iterations:
        learner.iterate()
    return float(learner.window.mean()[0])


@pytest.mark.parametrize(("algorithm", "learner"), [(ppo, ppo.PPO), (a2c, a2c.A2C)], ids=["ppo", "a2c"])
def test_a_memory_learns_what_cannot_be_learned_without(algorithm, learner):
    assert mean_return(remembering(learner)(config(algorithm))) > 0.9
    assert mean_return(learner(config(algorithm))) < 0.4  # it guesses


@pytest.mark.parametrize(
    ("algorithm", "learner", "changes"),
    [
        (ppo, ppo.PPO, {"network": "gru"}),
        (ppo, ppo.PPO, {"network": "mingru", "shared_memory": True}),
        (a2c, a2c.A2C, {"network": "lstm"}),
        (pqn, pqn.PQN, {"network": "gru", "repeat": 0.1}),
        (ppo, remembering(ppo.PPO, Windowed), {"learning_rate": 1e-2, "total_steps": N * T * 40}),
    ],
    ids=["ppo-gru", "ppo-mingru-shared", "a2c-lstm", "pqn-gru", "attention"],
)
def test_networks_with_a_memory_learn_it_too(algorithm, learner, changes):
    found = learner(config(algorithm, hidden=(16,), memory_units=16, **changes))
    assert mean_return(found) > (0.7 if algorithm is pqn else 0.9)  # some of its actions are random
    scores = evaluate(played(found.network), "Cue-v0", 200, 1, "cpu")
    assert scores.mean() == 1.0


@pytest.mark.parametrize("network", ["gru", "lstm", "mingru", Windowed], ids=["gru", "lstm", "mingru", "attention"])
def test_what_is_unrolled_to_learn_from_is_what_acted(network):
    """Episodes of five steps go on from one rollout of sixteen to the next."""
    learner = remembering(ppo.PPO, network)(config()) if network is Windowed else ppo.PPO(config(network=network))
    for expected in (0, T % STEPS):
        assert learner.env.get_state().elapsed.eq(expected).all()
        rollout = learner.collect(T)
        output = learner.output(rollout.obs, rollout)
        torch.testing.assert_close(tree_map(lambda x: x[-1], output.state), rollout.last_policy_state)
        assert same(learner.memory.state, rollout.last_policy_state)
    some = torch.tensor([5, 2, 60])
    part = learner.output(*learner.part([rollout.obs], some), rollout, some)
    torch.testing.assert_close(part.value, output.value[:, some])
    torch.testing.assert_close(part.distribution.logits, output.distribution.logits[:, some])


def test_a_policy_that_hardly_changes_differs_nowhere_from_the_one_that_acted():
    learner = remembering(ppo.PPO)(config(learning_rate=1e-9, epochs=1, minibatches=8))
    for _ in range(3):
        losses = learner.iterate()
        assert losses["kl"].abs() < 1e-6
        assert losses["clipped"] == 0


def test_the_value_of_what_follows_a_step_knows_what_came_before():
    """Of the true next observation, by the state after the step; where the time limit cut an episode too."""
    cut = gpusim.make("Cue-v0", N, device="cpu", max_episode_steps=3)
    learner = remembering(ppo.PPO)(config(gamma=1.0, lam=0.0), cut)
    rollout = learner.collect(T)
    assert rollout.truncated.any()
    value, advantage = learner.estimate(rollout)
    network, hidden = learner.network, learner.output(rollout.obs, rollout).state["hidden"]
    for t in range(T):
        after = network.critic(network.cell(rollout.next_obs[t], hidden[t])).squeeze(-1)
        expected = rollout.reward[t] + after * ~rollout.terminated[t] - value[t]
        torch.testing.assert_close(advantage[t], expected.detach())


def test_a_run_is_taken_up_with_what_was_remembered():
    one, other = (remembering(ppo.PPO)(config()) for _ in "ab")
    memory = one.memory.state["hidden"]
    for _ in range(2):
        one.iterate()
    assert one.memory.state["hidden"] is memory
    assert memory.any()
    other.load(one.state())
    assert same(one.iterate(), other.iterate())
    assert same(one.memory.state, other.memory.state)
    assert same(one.env.get_state(), other.env.get_state())


@pytest.mark.parametrize(("num_envs", "minibatches"), [(4, 8), (10, 4)])
def test_minibatches_that_do_not_divide_the_environments_are_refused(num_envs, minibatches):
    sizes = {"num_envs": num_envs, "minibatches": minibatches}
    sentence = f"{minibatches} minibatches cannot be made of {num_envs} environments.*must be a multiple of minibatches"
    with pytest.raises(InputError, match=sentence):
        remembering(ppo.PPO)(config(**sizes))
    for algorithm in (ppo, pqn):
        with pytest.raises(InputError, match=sentence):
            algorithm.Config(env="Cue-v0", network="gru", **sizes).check()
    ppo.PPO(config(**sizes))


@pytest.mark.parametrize("algorithm", [dqn, reinforce])
def test_a_learner_that_cannot_hold_a_memory_says_so(algorithm):
    with pytest.raises(InputError) as error:
        algorithm.train(algorithm.Config(env="Cue-v0", network="lstm"))
    name = algorithm.__name__.rpartition(".")[2]
    assert str(error.value) == (
        f"{name} cannot hold a network that remembers, as lstm does: leave network as it is, or use ppo."
    )
