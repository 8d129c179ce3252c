"""Tasks that need a memory: what they show is what it should be, and what they hide is what it takes."""

import numpy as np
import pytest
import torch

import gpusim
from gpusim.envs.classic import CLASSIC, STATELESS
from gpusim.envs.classic.cartpole import CARTPOLE, STATELESS_CARTPOLE
from gpusim.envs.classic.pendulum import PENDULUM, STATELESS_PENDULUM
from gpusim.envs.memory.memory_chain import MEMORY_CHAIN
from gpusim.policy import begin_anew
from tests.envs.beside import oracle
from tests.envs.test_vector import MODES

BACKENDS = ("eager", pytest.param("native", marks=pytest.mark.xdist_group("compile")))
each_backend = pytest.mark.parametrize("backend", BACKENDS)
LESS = [(STATELESS_CARTPOLE, CARTPOLE, [0, 2]), (STATELESS_PENDULUM, PENDULUM, [0, 1])]


def rolled(env, backend, steps=60, n=67, policy=None, **kwargs):
    made = gpusim.make(env, n, device="cpu", backend=backend, **kwargs)
    made.reset(seed=3)
    return made.rollout(steps, policy)


@each_backend
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("env", "whole", "shown"), LESS, ids=lambda x: getattr(x, "id", ""))
def test_velocities_are_all_that_is_missing(env, whole, shown, mode, backend):
    less, more = (rolled(e, backend, autoreset_mode=mode, max_episode_steps=25) for e in (env, whole))
    for name in ("obs", "next_obs", "last_obs"):
        assert torch.equal(getattr(less, name), getattr(more, name)[..., shown]), name
    for name in ("action", "reward", "terminated", "truncated", "episode_return"):
        assert torch.equal(getattr(less, name), getattr(more, name)), name
    space = whole.observation_space
    assert env.observation_space == type(space)(space.low[shown], space.high[shown])
    assert (env.max_episode_steps, env.reward_threshold) == (whole.max_episode_steps, whole.reward_threshold)


def test_those_without_velocities_are_apart_from_those_of_gymnasium():
    assert tuple(env for env, *_ in LESS) == STATELESS
    assert not set(CLASSIC) & set(STATELESS)


@each_backend
@pytest.mark.parametrize("delay", [1, 2, 10])
def test_the_chain_is_that_of_the_reference(delay, backend):
    rollout = rolled(MEMORY_CHAIN, backend, steps=45, params={"delay": delay})
    for i in range(67):
        cues = (rollout.obs[rollout.begun[:, i], i, 1] > 0).int().tolist()
        seen, rewards, ends = oracle(MEMORY_CHAIN).played(cues, delay, rollout.action[:, i].numpy())
        np.testing.assert_allclose(rollout.obs[:, i], seen, atol=1e-6)
        assert rollout.reward[:, i].tolist() == rewards.tolist()
        assert rollout.terminated[:, i].tolist() == ends.tolist()
    assert rollout.reward.abs().sum() == 67 * (45 // (delay + 1))


def test_either_cue_comes_as_often():
    cues = rolled(MEMORY_CHAIN, "eager", steps=1, n=4000).obs[0, :, 1]
    assert set(cues.tolist()) == {-1.0, 1.0}
    assert abs(cues.mean()) < 0.06


class Keeps:
    """Repeats the cue."""

    def initial_state(self, num_envs, device):
        return torch.zeros(num_envs)

    def act(self, obs, state, begun):
        state = begin_anew(state, self.initial_state(len(obs), obs.device), begun) + obs[:, 1]
        return (state > 0).long(), {}, state


def test_a_memory_solves_the_chain_and_nothing_else_can():
    """When the cue is asked for, what is shown is the same for both."""
    rollout = rolled(MEMORY_CHAIN, "eager", steps=33, policy=Keeps())
    assert rollout.return_sum == rollout.episodes == 67 * 3
    asked = rollout.obs[rollout.terminated]
    assert torch.equal(asked, torch.zeros_like(asked))
    right = rollout.action[rollout.terminated]
    assert 0.3 < right.float().mean() < 0.7
