"""A simulator whose state is its own, as a vector environment: what it has to equal is the same task as an `Env`."""

import pytest
import torch
from gymnasium.error import ResetNeeded

from gpusim import InputError
from gpusim.agents import ppo
from gpusim.sim.stateful import SimulatorVectorEnv
from gpusim.testing import check_vector_env
from gpusim.wrappers import NormalizeObservation, TimeLimit
from tests.envs.slide import SLIDE, Slides
from tests.envs.test_vector import MODES, make, same

each_mode = pytest.mark.parametrize("mode", MODES)


def both(mode, num_envs=7, **kwargs):
    made = SimulatorVectorEnv(Slides(num_envs), autoreset_mode=mode, **kwargs)
    return made, make(SLIDE, num_envs, autoreset_mode=mode, **kwargs)


@each_mode
def test_it_keeps_the_contract(mode):
    check_vector_env(SimulatorVectorEnv(Slides(6), autoreset_mode=mode))
    check_vector_env(SimulatorVectorEnv(Slides(2), autoreset_mode=mode, max_episode_steps=1))
    check_vector_env(SimulatorVectorEnv(Slides(6), autoreset_mode=mode, copy=False))


@each_mode
def test_every_step_is_that_of_the_env(mode):
    one, other = both(mode, validate=False)
    assert same(one.reset(seed=3), other.reset(seed=3))
    every_third, ended = torch.arange(7) % 3 == 0, 0
    for t in range(80):
        action = (torch.arange(7) + t // 3) % 2
        got, expected = one.step(action), other.step(action)
        assert same(got, expected), t
        assert same(one.observe(), other.observe())
        ended += int(got[4]["_episode"].sum())
        if t % 9 == 8:
            options = {"reset_mask": every_third | (got[2] | got[3] if mode == "disabled" else every_third)}
            assert same(one.reset(options=options), other.reset(options=options))
    assert ended > 20
    assert same(one.episodes, other.episodes)
    assert same(one.reset(seed=4), other.reset(seed=4))


@each_mode
def test_rollouts_are_those_of_the_env(mode):
    one, other = both(mode, validate=False)
    for env in (one, other):
        env.reset(seed=5)
    assert same(one.rollout(40), other.rollout(40))
    policy = lambda obs: ((obs[:, 0] < 0).long(), {"x": obs[:, 0]})  # noqa: E731
    assert same(one.rollout(30, policy), other.rollout(30, policy))
    assert same(one.rollout(30, transitions=False), other.rollout(30, transitions=False))
    assert one.clock == other.clock == 100


@each_mode
def test_the_true_last_observation_is_seen_before_anything_begins(mode):
    env, _ = both(mode, max_episode_steps=3)
    env.reset(seed=0)
    for _ in range(3):
        obs, _, _, truncated, infos = env.step(torch.ones(7, dtype=torch.int64))
    assert truncated.all()
    assert (infos["final_obs"][:, 1] > 0.2).all()  # pushed three times, from -0.5 at least
    assert torch.equal(obs, infos["final_obs"]) == (mode != "same_step")


def test_a_state_is_put_back_elsewhere():
    env, other = SimulatorVectorEnv(Slides(5)), SimulatorVectorEnv(Slides(5))
    for each, seed in ((env, 1), (other, 2)):
        each.reset(seed=seed)
    env.rollout(13)
    other.set_state(env.get_state())
    assert same(env.rollout(30), other.rollout(30))
    with pytest.raises(InputError, match=r"obs of the state must be .* of shape \(5, 2\), not .*\(4, 2\)"):
        env.set_state(env.get_state()._replace(obs=torch.zeros(4, 2)))


def test_before_a_reset_and_after_closing_nothing_is_done():
    env = SimulatorVectorEnv(Slides(3))
    with pytest.raises(ResetNeeded):
        env.rollout(3)
    with pytest.raises(ResetNeeded):
        env.step(torch.zeros(3, dtype=torch.int64))
    env.close()
    with pytest.raises(InputError, match="has been closed"):
        env.reset(seed=0)
    with pytest.raises(InputError, match="has been closed"):
        env.step(torch.zeros(3, dtype=torch.int64))


def test_wrappers_go_around_it():
    one, other = (NormalizeObservation(TimeLimit(env, 9)) for env in both("same_step"))
    for env in (one, other):
        env.reset(seed=2)
    assert same(one.rollout(40), other.rollout(40))


def config(**kwargs):
    return ppo.Config(
        env="Slide-v0",
        num_envs=64,
        num_steps=16,
        total_steps=64 * 16 * 40,
        learning_rate=3e-3,
        epochs=4,
        seed=1,
        **kwargs,
    )


def test_ppo_learns_on_it():
    learner = ppo.PPO(config(), SimulatorVectorEnv(Slides(64)))
    first = learner.env.rollout(200)
    while learner.steps < learner.config.total_steps:
        learner.iterate()
    learner.env.reset(seed=9)
    last = learner.env.rollout(200, lambda obs: learner.network.act(obs, None))
    assert first.return_sum / first.episodes < 10
    assert last.return_sum / last.episodes > 16  # of 20: in the middle, at rest


@pytest.mark.parametrize("wrap", [lambda env: env, NormalizeObservation])
def test_a_learner_takes_up_where_another_has_stood(wrap):
    one, other = (ppo.PPO(config(), wrap(SimulatorVectorEnv(Slides(64)))) for _ in "ab")
    for _ in range(3):
        one.iterate()
    other.load(one.state())
    assert same(one.iterate(), other.iterate())
    assert same(one.env.get_state(), other.env.get_state())


def test_it_has_no_parameters_to_set():
    for env in (SimulatorVectorEnv(Slides(2)), NormalizeObservation(SimulatorVectorEnv(Slides(2)))):
        with pytest.raises(
            InputError, match=r"^SimulatorVectorEnv has no parameters, so that 'gravity' cannot be set\.$"
        ):
            env.set_attr("gravity", 5.0)
