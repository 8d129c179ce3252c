"""Environments that step on the host: equal to Gymnasium's own vector environment, and ended whatever happens."""

import importlib
import math
import multiprocessing
import os
import signal

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics

import gpusim
from gpusim.adapters import from_gymnasium, gymnasium_host
from gpusim.adapters.gymnasium_host import EnvPool
from gpusim.host import HostEnv, HostVectorEnv
from gpusim.testing import check_vector_env
from tests.envs import hosted

N = 3


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    assert multiprocessing.active_children() == []


def lander():
    pytest.importorskip("Box2D", reason='LunarLander-v3 needs box2d (pip install "gpusim[box2d]")')
    return "LunarLander-v3"


@pytest.mark.parametrize("engine", ["sync", "async"])
@pytest.mark.parametrize("id", ["CartPole-v1", "Pendulum-v1", "LunarLander-v3"])
def test_every_step_is_that_of_gymnasium(id, engine):
    id, steps = lander() if id == "LunarLander-v3" else id, 220
    env = from_gymnasium(id, N, device="cpu", engine=engine)
    make = lambda: RecordEpisodeStatistics(gymnasium.make(id))  # noqa: E731
    theirs = SyncVectorEnv([make] * N, autoreset_mode=AutoresetMode.SAME_STEP)
    expected, _ = theirs.reset(seed=7)
    obs, _ = env.reset(seed=7)
    np.testing.assert_array_equal(obs.numpy(), expected)
    theirs.action_space.seed(1)
    ended = 0
    for _ in range(steps):
        action = theirs.action_space.sample()
        expected = theirs.step(action)
        got = env.step(torch.from_numpy(action))
        for mine, other in zip(got[:4], expected[:4], strict=True):
            np.testing.assert_array_equal(mine.numpy(), other.astype(mine.numpy().dtype))
        for i in (expected[2] | expected[3]).nonzero()[0]:
            ended += 1
            info = expected[4]["final_info"]["episode"]
            np.testing.assert_array_equal(got[4]["final_obs"][i].numpy(), expected[4]["final_obs"][i])
            assert got[4]["episode"]["l"][i] == info["l"][i]
            assert got[4]["episode"]["r"][i] == np.float32(info["r"][i])
        assert torch.equal(got[4]["_episode"], got[2] | got[3])
    assert ended >= N
    env.close()
    theirs.close()


@pytest.mark.parametrize("engine", ["sync", "async"])
def test_it_keeps_the_contract_of_a_vector_environment(engine):
    env = from_gymnasium("Guess-v0", 4, device="cpu", engine=engine)
    check_vector_env(env)
    env.close()


def test_a_rollout_is_what_its_steps_are():
    one, other = (from_gymnasium("Guess-v0", N, device="cpu", engine="sync") for _ in range(2))
    one.reset(seed=3)
    obs, _ = other.reset(seed=3)
    rollout = one.rollout(10, lambda obs: obs.argmax(-1))
    for t in range(10):
        assert torch.equal(rollout.obs[t], obs)
        obs, reward, terminated, _, infos = other.step(obs.argmax(-1))
        assert torch.equal(rollout.reward[t], reward)
        assert torch.equal(rollout.terminated[t], terminated)
        assert torch.equal(rollout.next_obs[t], infos["final_obs"])
        assert torch.equal(rollout.episode_return[t], infos["episode"]["r"])
    assert torch.equal(rollout.last_obs, obs)
    assert (rollout.episodes, rollout.return_sum, rollout.length_sum) == (2 * N, 8.0 * N, 8.0 * N)
    assert rollout.valid.all()
    tally = one.rollout(12, transitions=False)
    assert (tally.obs, tally.episodes) == (None, 3 * N)


def test_spaces_become_those_that_learners_use():
    env = from_gymnasium("GuessOdd-v0", N, device="cpu", engine="async")
    assert env.single_observation_space == gymnasium.spaces.Box(0.0, 1.0, (3,), np.float32)
    assert env.single_action_space == gymnasium.spaces.Discrete(2)
    obs, _ = env.reset(seed=0)
    assert torch.equal(obs, torch.tensor([[1.0, 0.0, 0.0]] * N))
    _, reward, _, _, infos = env.step(torch.tensor([0, 1, 0]))
    assert reward.tolist() == [5.0, 6.0, 5.0]
    assert "noise" not in infos
    env.close()


def test_lives_are_told():
    env = from_gymnasium("GuessLives-v0", N, device="cpu", engine="sync")
    env.reset(seed=0)
    lost = env.rollout(12, lambda obs: torch.zeros(N, dtype=torch.int64)).extras["life_lost"]
    assert lost[:, 0].tolist() == [False, True, False, False, False, False] * 2  # the last one ends the game
    assert env.step(torch.zeros(N, dtype=torch.int64))[4]["lives"].tolist() == [3] * N
    env.reset(options={"reset_mask": torch.tensor([True, False, False])})
    assert env.step(torch.zeros(N, dtype=torch.int64))[4]["lives"].tolist() == [3, 2, 2]


@pytest.mark.parametrize("engine", ["sync", "async"])
def test_an_error_is_one_sentence(engine):
    env = from_gymnasium("GuessFails-v0", N, device="cpu", engine=engine)
    env.reset(seed=0)
    env.rollout(24)
    with pytest.raises(gpusim.InputError) as error:
        env.rollout(1)
    where = f"hosted.py, line {hosted.Fails.step.__code__.co_firstlineno + 3}"
    assert str(error.value) == f"GuessFails-v0 failed in step: ArithmeticError in {where}: the pole broke."
    assert env.closed
    with pytest.raises(gpusim.InputError, match="has been closed"):
        env.reset()


def test_a_process_that_is_killed_is_told_and_the_others_end():
    env = from_gymnasium("Guess-v0", N, device="cpu", engine="async")
    env.reset(seed=0)
    os.kill(env._engine.vector.processes[1].pid, signal.SIGKILL)
    with pytest.raises(gpusim.InputError, match="a process that steps Guess-v0 was ended from outside"):
        env.rollout(5)


def test_an_interrupt_ends_the_processes():
    env = from_gymnasium("Guess-v0", N, device="cpu", engine="async")
    env.reset(seed=0)

    def policy(obs):
        env._engine.vector.step_wait = lambda: signal.raise_signal(signal.SIGINT)
        return obs.argmax(-1)

    with pytest.raises(KeyboardInterrupt):
        env.rollout(5, policy)
    assert env.closed


def test_the_state_cannot_be_had():
    env = from_gymnasium("Guess-v0", 1, device="cpu", engine="sync")
    assert not hasattr(env, "get_state")
    with pytest.raises(AttributeError, match="Guess-v0 is stepped by this process, one after the other, and there its"):
        env.get_state()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("Guess-v0", 0), "num_envs must be a positive whole number"),
        (("Guessed-v0", 1), "Gymnasium has no environment 'Guessed-v0'"),
        (("Blackjack-v1", 1, "cpu", "threads"), "backend 'threads' is not known"),
        (("Guess-v0", 1, "cpu", "envpool"), "EnvPool"),
        (("Guess-v0", 1, "teapot"), "is not a device"),
    ],
)
def test_bad_input_is_a_sentence(args, sentence):
    if args[-1] == "envpool" and importlib.util.find_spec("envpool"):
        pytest.skip("EnvPool is installed, so its absence cannot be told")
    with pytest.raises(gpusim.InputError, match=sentence):
        from_gymnasium(*args[:2], **dict(zip(("device", "engine"), args[2:], strict=False)))


def test_a_missing_library_is_named(monkeypatch):
    def fails(name, *args, **kwargs):
        raise ImportError(name)

    monkeypatch.setattr(gymnasium_host, "import_module", fails)
    with pytest.raises(gpusim.InputError, match=r'ALE/Pong-v5 needs ale-py .*pip install "gpusim\[atari\]"'):
        from_gymnasium("ALE/Pong-v5", 1)
    monkeypatch.setattr(gymnasium, "make", fails)
    with pytest.raises(gpusim.InputError, match=r'LunarLander-v3 needs box2d, .* pip install "gpusim\[box2d\]"'):
        from_gymnasium("LunarLander-v3", 1)


class Pool:
    """As EnvPool: episodes of `i + 2` steps, the row after the last being a reset; an observation is (episode, time)."""

    def __init__(self, seed, num_envs=N):
        self.length = np.arange(num_envs) + 2
        self.at = np.zeros((num_envs, 2), np.float32)
        self.over = np.zeros(num_envs, bool)
        self.at[:, 0] = seed

    def reset(self, env_id=None):
        rows = np.arange(len(self.length)) if env_id is None else env_id
        self.at[rows] = self.at[rows] * [1, 0] + [1, 0]
        self.over[rows] = False
        return self.at[rows], {}

    def step(self, actions):
        filler, self.at[:, 1] = self.over.copy(), self.at[:, 1] + 1
        self.reset(filler.nonzero()[0])
        reward = np.where(filler, 0.0, actions).astype(np.float32)
        self.over = self.at[:, 1] == self.length
        late = np.arange(len(self.over)) == 1
        return self.at, reward, self.over & ~late, self.over & late, {}

    def close(self):
        pass


def test_rows_of_next_step_that_only_reset_are_no_transitions():
    made = HostEnv(
        "Pool-v0", gymnasium.spaces.Box(-math.inf, math.inf, (2,)), gymnasium.spaces.Discrete(9), None, None,
        {"envpool": lambda n: EnvPool(Pool, n, "by threads")},
    )  # fmt: skip
    env = HostVectorEnv(made, N, device="cpu")
    env.reset(seed=4)
    rollout = env.rollout(12, lambda obs: obs[:, 1].long() + 1)
    for i in range(N):
        length = i + 2
        time = torch.arange(12) % length
        episode = 5 + torch.arange(12) // length
        assert torch.equal(rollout.obs[:, i], torch.stack([episode, time], -1).float())
        assert torch.equal(rollout.next_obs[:, i], torch.stack([episode, time + 1], -1).float())
        assert torch.equal(rollout.reward[:, i], time + 1.0)
        ends = time == length - 1
        assert torch.equal(rollout.terminated[:, i], ends & (i != 1))
        assert torch.equal(rollout.truncated[:, i], ends & (i == 1))
        assert torch.equal(rollout.episode_return[ends, i], torch.full((12 // length,), length * (length + 1) / 2))


@pytest.mark.parametrize("engine", ["sync", "ale"])
def test_atari(engine):
    """The true last observation is the one that is shown where nothing resets at once."""
    pytest.importorskip("ale_py", reason='Atari needs ale-py (pip install "gpusim[atari]")')
    pytest.importorskip("cv2", reason='Atari needs opencv-python-headless (pip install "gpusim[atari]")')
    env = from_gymnasium("ALE/Breakout-v5", 2, device="cpu", engine=engine, max_num_frames_per_episode=120)
    assert (env.single_observation_space.shape, env.single_action_space.n) == ((84, 84, 4), 4)
    obs, _ = env.reset(seed=1)
    rollout = env.rollout(80, lambda obs: torch.ones(2, dtype=torch.int64))
    assert rollout.obs.dtype == torch.uint8
    assert rollout.truncated.sum() + rollout.terminated.sum() >= 4
    done = rollout.terminated | rollout.truncated
    assert torch.equal(rollout.next_obs[:-1][~done[:-1]], rollout.obs[1:][~done[:-1]])
    assert torch.equal(rollout.next_obs[..., :3], rollout.obs[..., 1:])  # one frame further, at the end too
    assert not torch.equal(rollout.next_obs[:-1][done[:-1]], rollout.obs[1:][done[:-1]])
    assert torch.equal(env.reset(seed=1)[0], obs)
    env.close()
