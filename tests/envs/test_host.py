"""Environments that step on the host: equal to Gymnasium's own vector environment, and ended whatever happens."""

import importlib
import math
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from torch.profiler import profile

import gpusim
from gpusim.adapters import from_gymnasium, libraries
from gpusim.adapters.engines.envpool import EnvPool
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


@pytest.mark.parametrize("engine", ["sync", "async"])
def test_writing_steps_down_late_changes_nothing(engine):
    """Rollouts, which write a step down while the next is made, are what single steps tell: lives, frames, last ones."""
    late, prompt = (from_gymnasium("GuessLives-v0", N, device="cpu", engine=engine) for _ in range(2))
    policy = lambda obs: (obs[:, 0, 0, 0] % 7 % 2).long()  # noqa: E731
    late.reset(seed=3)
    obs, _ = prompt.reset(seed=3)
    ended = 0
    for length in (1, 4, 8, 2):
        rollout = late.rollout(length, policy)
        for t in range(length):
            assert torch.equal(rollout.obs[t], obs)
            action = policy(obs)
            obs, reward, terminated, truncated, infos = prompt.step(action)
            told = (reward, terminated, truncated, infos["final_obs"], infos["episode"]["r"], infos["episode"]["l"])
            kept = (rollout.reward, rollout.terminated, rollout.truncated, rollout.next_obs)
            kept += (rollout.episode_return, rollout.episode_length)
            assert all(torch.equal(mine[t], other.to(mine.dtype)) for mine, other in zip(kept, told, strict=True))
            assert torch.equal(rollout.action[t], action)
            assert torch.equal(rollout.extras["life_lost"][t], infos["life_lost"])
            ended += int(terminated.sum())
        assert torch.equal(rollout.last_obs, obs)
        assert late.clock == prompt.clock
        mask = torch.tensor([length == 8, False, False])
        if mask.any():
            late.reset(options={"reset_mask": mask})
            obs, _ = prompt.reset(options={"reset_mask": mask})
    assert ended == 2 * N
    late.close()
    prompt.close()


def test_a_step_is_written_down_while_the_next_is_made(monkeypatch):
    env, order = from_gymnasium("Guess-v0", N, device="cpu", engine="sync"), []
    env.reset(seed=0)
    for owner, name in ((env._engine, "send"), (env._engine, "receive"), (env, "write_down")):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, real=real, name=name: order.append(name) or real(*a))
    env.rollout(3, lambda obs: obs.argmax(-1))
    assert order == ["send", "receive", *(["send", "write_down", "receive"] * 2), "write_down"]


def test_a_step_of_a_rollout_costs_four_operations_on_tensors():
    """Copies: of the observation to the device and for the policy, of the actions as checked and to the host."""
    env = from_gymnasium("Guess-v0", N, device="cpu", engine="sync", validate=False)
    env.reset(seed=0)
    action = torch.zeros(N, dtype=torch.int64)

    def made(num_steps):
        with profile() as profiled:
            env.rollout(num_steps, lambda obs: action)
        counts = {each.key: each.count for each in profiled.key_averages()}
        return sum(counts.get(name, 0) for name in ("aten::copy_", "aten::ne", "aten::bitwise_or", "aten::stack"))

    assert (made(20) - made(12)) / 8 == 4.0


def test_a_policy_that_fails_leaves_the_environments_where_they_are():
    failed, other = (from_gymnasium("Guess-v0", N, device="cpu", engine="sync") for _ in range(2))

    def policy(obs):
        if failed.clock == 3:
            raise ArithmeticError("no action")
        return obs.argmax(-1)

    failed.reset(seed=1)
    other.reset(seed=1)
    with pytest.raises(ArithmeticError):
        failed.rollout(5, policy)
    other.rollout(3, lambda obs: obs.argmax(-1))
    one, two = (env.rollout(2, lambda obs: obs.argmax(-1)) for env in (failed, other))
    assert torch.equal(one.episode_length, torch.tensor([[4.0] * N, [1.0] * N]))
    assert all(torch.equal(a, b) for a, b in zip(one[:9], two[:9], strict=True))


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


def test_one_that_calls_sys_exit_when_it_is_made_is_one_sentence(monkeypatch):
    monkeypatch.setattr(hosted.Guess, "__init__", lambda self: sys.exit("no display"))
    with pytest.raises(gpusim.InputError, match=r"Guess-v0 cannot be made: it called sys\.exit\(no display\)\.$"):
        from_gymnasium("Guess-v0", N)


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


def _interrupts_in_a_child(pipe):
    """How this process, a user's own, and those that step environments take Ctrl-C."""
    here = from_gymnasium("Guess-v0", 1, device="cpu", engine="sync")
    there = from_gymnasium("Guess-v0", 2, device="cpu", engine="async")
    there.reset(seed=0)
    statuses = [Path(f"/proc/{process.pid}/status").read_text() for process in there._engine.vector.processes]
    masks = [int(status.partition("SigIgn:")[2].split()[0], 16) for status in statuses]
    pipe.send((signal.getsignal(signal.SIGINT) == signal.SIG_IGN, [bool(m >> signal.SIGINT - 1 & 1) for m in masks]))
    here.close()
    there.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="how a process takes signals is read from /proc")
def test_only_our_processes_leave_ctrl_c_to_who_started_them():
    mine, its = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_interrupts_in_a_child, args=(its,))
    child.start()
    assert mine.poll(30)
    assert mine.recv() == (False, [True, True])
    child.join()


def test_the_state_cannot_be_had():
    env = from_gymnasium("Guess-v0", 1, device="cpu", engine="sync")
    assert not hasattr(env, "get_state")
    with pytest.raises(AttributeError, match="Guess-v0 is stepped by this process, one after the other, and there its"):
        env.get_state()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("Guess-v0", 0), "num_envs must be a positive whole number"),
        (("Guessed-v0", 1), r"Gymnasium has no environment 'Guessed-v0'; did you mean Guess-v0 or GuessOdd-v0\?"),
        (("nowhere:Guess-v0", 1), "nowhere cannot be imported: there is no module 'nowhere'"),
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

    monkeypatch.setattr(libraries, "import_module", fails)
    for id in ("ALE/Pong-v5", "PongNoFrameskip-v4"):
        with pytest.raises(gpusim.InputError, match=rf'{id} needs ale-py .*pip install "gpusim\[atari\]"'):
            from_gymnasium(id, 1)
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

    def send(self, actions):
        self.actions = actions

    def recv(self, reset, return_info):
        assert (reset, return_info) == (False, True)
        filler, self.at[:, 1] = self.over.copy(), self.at[:, 1] + 1
        self.reset(filler.nonzero()[0])
        reward = np.where(filler, 0.0, self.actions).astype(np.float32)
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


@pytest.mark.parametrize(
    ("id", "sticky", "engine"), [("PongNoFrameskip-v4", 0.0, "ale"), ("BreakoutNoFrameskip-v0", 0.25, "sync")]
)
@pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")
def test_ids_of_old_are_the_games_of_today_but_for_sticky_actions(id, sticky, engine):
    pytest.importorskip("ale_py", reason='Atari needs ale-py (pip install "gpusim[atari]")')
    pytest.importorskip("cv2", reason='Atari needs opencv-python-headless (pip install "gpusim[atari]")')
    today, rollouts = f"ALE/{id.partition('NoFrameskip')[0]}-v5", {}
    for chance, name, kwargs in (
        ("its own", id, {}),
        *((p, today, {"repeat_action_probability": p}) for p in (0.0, 0.25)),
    ):
        env = from_gymnasium(name, 2, device="cpu", engine=engine, **kwargs)
        env.reset(seed=5)
        rollouts[chance] = env.rollout(40, lambda obs, env=env: (torch.arange(2) + env.clock // 3) % 4)
        env.close()
    assert torch.equal(rollouts["its own"].obs, rollouts[sticky].obs)
    assert not torch.equal(rollouts["its own"].obs, rollouts[0.25 - sticky].obs)


def test_ids_of_random_length_actions_are_refused():
    pytest.importorskip("ale_py", reason='Atari needs ale-py (pip install "gpusim[atari]")')
    with pytest.raises(gpusim.InputError, match=r"of Pong-v4 lasts .* use PongNoFrameskip-v4 or ALE/Pong-v5\.$"):
        from_gymnasium("Pong-v4", 1)
