"""Tianshou: what the real `Collector` stored, beside the bare environment; PPO's training; and what is refused."""

import warnings

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded

import gpusim
from gpusim.wrappers import FrameStackObservation, NormalizeObservation, RecordEpisodeStatistics, TransformReward

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("tianshou", reason="tianshou is not installed in this environment: make trainers")
    from tianshou.data import Collector, CollectStats, VectorReplayBuffer

    from benchmarks.trainers import tianshou as driver
    from gpusim.adapters import to_tianshou

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
N = 8


def make(env="CartPole-v1", num_envs=N, **kwargs):
    return gpusim.make(env, num_envs, device="cpu", **{"autoreset_mode": "disabled"} | kwargs)


def test_an_environment_in_another_mode_is_refused():
    with pytest.raises(gpusim.InputError, match=r'Tianshou .* autoreset_mode="disabled", not "same_step"\.$'):
        to_tianshou(make(autoreset_mode="same_step"))


def test_the_buffer_holds_what_the_bare_environment_gives():
    steps = 60
    _, collector = driver.made(make(max_episode_steps=15), steps)
    collector.reset(gym_reset_kwargs={"seed": 3})
    stats = collector.collect(n_step=N * steps)
    stored = collector.buffer

    def rows(array):
        return torch.as_tensor(np.asarray(array)).unflatten(0, (N, steps)).transpose(0, 1)

    bare = make(max_episode_steps=15)
    obs, _ = bare.reset(seed=3)
    ends = cuts = 0
    for t in range(steps):
        assert torch.equal(rows(stored.obs)[t], obs)
        obs, reward, terminated, truncated, _ = bare.step(rows(stored.act)[t])
        assert torch.equal(rows(stored.obs_next)[t], obs)
        assert torch.equal(rows(stored.rew)[t].float(), reward)
        assert torch.equal(rows(stored.terminated)[t], terminated)
        assert torch.equal(rows(stored.truncated)[t], truncated)
        over = terminated | truncated
        ends, cuts = ends + int(over.sum()), cuts + int(truncated.sum())
        if over.any():
            obs, _ = bare.reset(options={"reset_mask": over})
    assert ends == stats.n_collected_episodes
    assert 0 < cuts < ends


def test_ppo_trains():
    assert driver.train(torch.device("cpu")) == ("PPO", 4096)


def test_episodes_are_collected_one_by_one():
    """Sooner or later `Collector` steps only a part of the environments, and then fewer and fewer."""
    _, collector = driver.made(make(), 600)
    collector.reset(gym_reset_kwargs={"seed": 1})
    stats = collector.collect(n_episode=N + 3)
    assert stats.n_collected_episodes == N + 3
    assert stats.lens.sum() == stats.n_collected_steps
    np.testing.assert_array_equal(stats.returns, stats.lens)


def test_environments_that_a_step_leaves_out_stay_as_they_are():
    some, whole = to_tianshou(make()), make()
    some.seed(5)
    first, _ = some.reset()
    assert torch.equal(torch.from_numpy(first), whole.reset(seed=5)[0])
    ids, ones = np.array([5, 0, 2]), np.ones(N, np.int64)
    for _ in range(3):
        part = some.step(ones[ids], ids)
        full = whole.step(torch.ones(N, dtype=torch.int64))
        for got, expected in zip(part[:4], full, strict=False):
            np.testing.assert_array_equal(got, expected.numpy()[ids])
        assert len(part[4]) == 3
    rest = np.array([1, 3, 4, 6, 7])
    later, again = to_tianshou(make()), some.step(ones[rest], rest)[0]
    later.reset(seed=5)
    np.testing.assert_array_equal(again, later.step(ones)[0][rest])


def test_actions_belong_to_the_numbers_beside_them():
    some, bare = to_tianshou(make()), make()
    some.seed(5)
    some.reset()
    bare.reset(seed=5)
    ids = np.arange(N)[::-1]
    actions = (np.arange(N) < 3).astype(np.int64)
    got = some.step(actions[ids], ids)[0]
    np.testing.assert_array_equal(got, bare.step(torch.from_numpy(actions))[0].numpy()[ids])


def test_a_step_that_fails_changes_nothing_of_what_it_leaves_out():
    def fail(_reward):
        raise ArithmeticError

    env = to_tianshou(TransformReward(make(), fail))
    env.reset(seed=0)
    with pytest.raises(ArithmeticError):
        env.step(np.ones(2, np.int64), [0, 1])
    assert not env.env.unwrapped.get_state().truncated.any()


def test_wrappers_count_nothing_of_what_a_step_leaves_out():
    frames, whole = (FrameStackObservation(make(), 3) for _ in range(2))
    moments = NormalizeObservation(make())
    counted = RecordEpisodeStatistics(make())
    ids, rest, ones = np.array([5, 0, 2]), np.array([1, 3, 4, 6, 7]), np.ones(N, np.int64)
    some = [to_tianshou(env) for env in (frames, moments, counted)]
    for env in some:
        env.seed(5)
        env.reset()
        env.step(ones[ids], ids)
    begun, _ = whole.reset(seed=5)
    assert torch.equal(frames.get_state().own.frames[rest], begun[rest])
    bare = make()
    rows = torch.cat([bare.reset(seed=5)[0], bare.step(torch.ones(N, dtype=torch.int64))[0][ids]]).double()
    assert moments.obs_rms.count == pytest.approx(N + 3 + 1e-4)
    assert torch.allclose(moments.obs_rms.mean, rows.mean(0), rtol=1e-4)
    assert counted.get_state().own.episode_length.tolist() == [1, 0, 1, 0, 0, 1, 0, 0]
    some[0].step(ones[rest], rest)
    whole.step(torch.ones(N, dtype=torch.int64))
    assert torch.equal(frames.get_state().own.frames, whole.get_state().own.frames)


def test_a_part_of_the_environments_is_stepped_while_others_are_over():
    env = to_tianshou(make(max_episode_steps=5))
    env.reset(seed=0)
    for _ in range(4):
        env.step(np.ones(N, np.int64))
    first, second = np.arange(4), np.arange(4, N)
    assert env.step(np.ones(4, np.int64), first)[3].all()
    assert env.step(np.ones(4, np.int64), second)[3].all()
    with pytest.raises(ResetNeeded, match=r"^environment 1 is over: reset it by reset\(env_id=\[1\]\)\.$"):
        env.step(np.ones(2, np.int64), [1, 2])
    env.reset(env_id=[2])
    with pytest.raises(gpusim.InputError, match="7"):
        env.step(np.array([7]), [2])
    env.step(np.array([1]), [2])
    assert env.env.get_state().elapsed.tolist() == [5, 5, 1, 5, 5, 5, 5, 5]
    assert env.env.validate


def test_every_environment_has_an_info_of_its_own():
    env = to_tianshou(make())
    _, infos = env.reset()
    for given in (infos, env.step(np.ones(N, np.int64))[4], env.step(np.ones(2, np.int64), [0, 1])[4]):
        assert list(given) == [{}] * len(given)
        given[0]["mine"] = 1
        assert "mine" not in given[1]


def test_a_reset_by_number_gives_those_alone():
    env = to_tianshou(make())
    env.reset(seed=2)
    before = env.step(np.ones(N, np.int64))[0]
    obs, infos = env.reset(env_id=[6, 1])
    assert obs.shape == (2, 4)
    assert len(infos) == 2
    bare = make()
    bare.reset(seed=2)
    bare.step(torch.ones(N, dtype=torch.int64))
    mask = torch.zeros(N, dtype=torch.bool)
    mask[[1, 6]] = True
    expected = bare.reset(options={"reset_mask": mask})[0].numpy()
    np.testing.assert_array_equal(obs, expected[[6, 1]])
    assert not np.array_equal(before[6], obs[0])


def test_continuous_actions_are_clipped():
    env = to_tianshou(make("Pendulum-v1", 2))
    env.reset(seed=0)
    bare = make("Pendulum-v1", 2)
    bare.reset(seed=0)
    got = env.step(np.array([[9.0], [-3.0]], np.float32))
    expected = bare.step(torch.tensor([[2.0], [-2.0]]))
    np.testing.assert_array_equal(got[0], expected[0].numpy())


def test_random_actions_are_drawn_for_each_environment():
    collector = Collector[CollectStats](driver.made(make(), 1)[0], to_tianshou(make()), VectorReplayBuffer(N * 9, N))
    collector.reset()
    collector.collect(n_step=N * 9, random=True)
    assert set(np.unique(collector.buffer.act)) == {0, 1}
