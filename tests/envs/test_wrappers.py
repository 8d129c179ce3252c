"""Wrappers against Gymnasium's own on NumPy arrays, and against plain arithmetic where Gymnasium has none or errs."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as theirs
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

import gpusim
from gpusim import InputError
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.policy import MlpPolicy
from gpusim.sim import functional
from gpusim.testing import check_vector_env
from gpusim.wrappers import (
    ClipAction,
    FrameStackObservation,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    RescaleAction,
    TimeLimit,
    TransformObservation,
    TransformReward,
    Wrapper,
)
from gpusim.wrappers.normalize import Moments
from gpusim.wrappers.wrapper import Returned
from tests.envs.toys import DRIFT, TOY

N, SEED = 3, 7
MODES = ["same_step", "next_step", "disabled"]
each_mode = pytest.mark.parametrize("mode", MODES)
each_env = pytest.mark.parametrize("env", [CARTPOLE, PENDULUM], ids=lambda e: e.id)


def make(env=CARTPOLE, num_envs=N, **kwargs):
    return gpusim.make(env, num_envs, **({"device": "cpu", "backend": "eager"} | kwargs))


class Row(gymnasium.Env):
    """One of N environments, for Gymnasium's own vectorization: the same numbers, in NumPy."""

    def __init__(self, env, index, limit):
        self.vec = make(env, autoreset_mode="disabled", max_episode_steps=limit, validate=False)
        self.index, self.mask = index, torch.arange(N) == index
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            obs, _ = self.vec.reset(seed=seed - self.index)  # Gymnasium counts them up
        else:
            obs, _ = self.vec.reset(options={"reset_mask": self.mask})
        return obs[self.index].numpy(), {}

    def step(self, action):
        space = self.vec.action_space
        actions = np.zeros(space.shape, space.dtype)
        actions[self.index] = action
        obs, *rest, _ = self.vec.step(torch.from_numpy(actions))
        reward, terminated, truncated = (x[self.index].item() for x in rest)
        return obs[self.index].numpy(), reward, terminated, truncated, {}


def arrays(env, mode, limit, wrap=lambda env: env):
    """The same environments as a NumPy vector environment of Gymnasium's."""
    rows = [lambda i=i: wrap(Row(env, i, limit)) for i in range(N)]
    return SyncVectorEnv(rows, autoreset_mode=AutoresetMode[mode.upper()])


def walk(ours, others, steps=200, scale=1.0):
    """What both give, step after step, for the same actions; the first time (obs, obs), then five values each."""
    space = ours.unwrapped.action_space
    space.seed(0)
    ends = 0
    yield ours.reset(seed=SEED)[0], torch.from_numpy(others.reset(seed=SEED)[0])
    for _ in range(steps):
        action = space.sample()
        action = action if action.dtype.kind == "i" else np.float32(scale) * action
        mine, other = ours.step(torch.from_numpy(action.copy())), others.step(action)
        yield mine, (*map(torch.from_numpy, other[:4]), other[4])
        over = mine[2] | mine[3]
        ends += int(over.sum())
        if ours.autoreset_mode is AutoresetMode.DISABLED and over.any():
            obs, _ = others.reset(options={"reset_mask": over.numpy()})
            assert torch.equal(ours.reset(options={"reset_mask": over})[0][over], torch.from_numpy(obs)[over])
    assert ends >= 10


def same_flags(mine, other):
    assert torch.equal(mine[2], other[2])
    assert torch.equal(mine[3], other[3])


def close(x, y, tolerance=1e-4):
    torch.testing.assert_close(x.double(), torch.as_tensor(y).double(), rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------------ against Gymnasium


@pytest.mark.parametrize("mode", MODES[:2])  # disabled, Gymnasium's forgets all rows when one is reset
@each_env
@pytest.mark.parametrize("buffer_length", [2, 100])
def test_statistics_are_gymnasiums(env, mode, buffer_length):
    ours = RecordEpisodeStatistics(make(env, autoreset_mode=mode, max_episode_steps=12), buffer_length)
    others = theirs.RecordEpisodeStatistics(arrays(env, mode, 12), buffer_length)
    _, *steps = walk(ours, others)
    for mine, other in steps:
        done = mine[2] | mine[3]
        assert torch.equal(mine[4]["_episode"], done)
        if done.any():
            assert mine[4]["_episode"].tolist() == other[4]["_episode"].tolist()
            close(mine[4]["episode"]["r"][done], other[4]["episode"]["r"][done.numpy()])
            assert mine[4]["episode"]["l"][done].tolist() == other[4]["episode"]["l"][done.numpy()].tolist()
    assert int(ours.episode_count) == others.episode_count
    close(ours.return_queue, np.array(others.return_queue))
    assert ours.length_queue.tolist() == list(others.length_queue)


@each_env
def test_normalized_observations_are_gymnasiums(env):
    """Gymnasium's knows NEXT_STEP alone, and sums in float32."""
    ours = NormalizeObservation(make(env, autoreset_mode="next_step", max_episode_steps=12), epsilon=1e-4)
    others = theirs.NormalizeObservation(arrays(env, "next_step", 12), epsilon=1e-4)
    assert ours.observation_space == others.observation_space
    for number, (mine, other) in enumerate(walk(ours, others)):
        if number == 0:
            close(mine, other)
            continue
        close(mine[0], other[0], 1e-3)
        close(mine[4]["final_obs"], other[0], 1e-3)
        if number == 150:
            ours.update_running_mean = others.update_running_mean = False
            count = float(ours.obs_rms.count)
    assert count == float(ours.obs_rms.count) == pytest.approx(151 * N + 1e-4)
    close(ours.obs_rms.mean, others.obs_rms.mean, 1e-3)
    close(ours.obs_rms.var, others.obs_rms.var, 1e-3)


def test_normalized_rewards_are_gymnasiums():
    """Where episodes are truncated and reset at once. Gymnasium's leaves the past out of a step that terminates, and in
    NEXT_STEP carries a return into the next episode."""
    ours = NormalizeReward(make(PENDULUM, max_episode_steps=12), gamma=0.9)
    others = theirs.NormalizeReward(arrays(PENDULUM, "same_step", 12), gamma=0.9)
    _, *steps = walk(ours, others)
    for number, (mine, other) in enumerate(steps):
        close(mine[1], other[1])
        if number == 150:
            ours.update_running_mean = others.update_running_mean = False
    close(ours.return_rms.mean, others.return_rms.mean)
    close(ours.return_rms.var, others.return_rms.var)


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize("env", [PENDULUM, TOY], ids=lambda e: e.id)
@pytest.mark.parametrize("name", ["clip", "rescale", "rescale each"])
def test_actions_are_gymnasiums(env, mode, name):
    width = env.action_space.shape[0]
    low, high = (np.linspace(-1, -3, width), np.linspace(1, 2, width)) if "each" in name else (-0.5, 1.5)
    low, high = (np.float32(x) for x in (low, high))
    ours, others = make(env, autoreset_mode=mode, max_episode_steps=12), arrays(env, mode, 12)
    if name == "clip":
        ours, others, scale = ClipAction(ours), theirs.ClipAction(others), 3.0
    else:
        ours, others = RescaleAction(ours, low, high), theirs.RescaleAction(others, low, high)
        scale = 0.25
    assert ours.single_action_space == others.single_action_space
    assert ours.action_space == others.action_space
    _, *steps = walk(ours, others, 60, scale)
    for mine, other in steps:
        same_flags(mine, other)
        close(mine[0], other[0], 1e-3)
        close(mine[1], other[1], 1e-3)


def test_actions_are_stretched_to_the_very_bounds():
    """The third is at most 3, and 5.9 * (3 / 5.9) is more in float32."""
    env = RescaleAction(make(DRIFT), -3.0, 2.9)
    env.reset(seed=0)
    for value, expected in [(-3.0, [-1.0, -2.0, 0.0]), (2.9, [1.0, 2.0, 3.0]), (-0.05, [0.0, 0.0, 1.5])]:
        actions = torch.full((N, 3), value)
        close(env._act(actions), torch.tensor([expected] * N), 1e-6)
        env.step(actions)


@each_mode
@each_env
@pytest.mark.parametrize(("size", "padding"), [(1, "reset"), (3, "reset"), (4, "zero")])
def test_stacks_are_gymnasiums(env, mode, size, padding):
    """Gymnasium has none for vectors: its own for one environment, in its own vectorization. Bit for bit."""
    ours = FrameStackObservation(make(env, autoreset_mode=mode, max_episode_steps=12), size, padding_type=padding)
    stack = gymnasium.wrappers.FrameStackObservation
    others = arrays(env, mode, 12, lambda row: stack(row, size, padding_type=padding))
    assert ours.single_observation_space == others.single_observation_space
    assert ours.observation_space == others.observation_space
    first, *steps = walk(ours, others, 100)
    assert torch.equal(*first)
    for mine, other in steps:
        assert torch.equal(mine[0], other[0])
        same_flags(mine, other)
        final = mine[0].clone()
        for row in mine[4]["_final_obs"].nonzero()[:, 0] if mode == "same_step" else ():
            final[row] = torch.from_numpy(other[4]["final_obs"][row])
        assert torch.equal(mine[4]["final_obs"], final)


@each_mode
@each_env
def test_time_limits_are_gymnasiums(env, mode):
    """Likewise, the rows having no limit of their own."""
    ours = TimeLimit(make(env, autoreset_mode=mode), 7)
    others = arrays(env, mode, -1, lambda row: gymnasium.wrappers.TimeLimit(row, 7))
    first, *steps = walk(ours, others, 100)
    assert torch.equal(*first)
    for mine, other in steps:
        assert torch.equal(mine[0], other[0])
        assert torch.equal(mine[1], other[1].float())
        same_flags(mine, other)


@each_env
def test_transformed_observations_are_gymnasiums(env):
    space = Box(-np.inf, np.inf, (2, env.observation_space.shape[0]))
    ours = make(env, autoreset_mode="next_step", max_episode_steps=12)
    ours = TransformObservation(ours, lambda x: torch.stack([x, 2 * x], 1), single_observation_space=space)
    others = arrays(env, "next_step", 12)
    others = theirs.TransformObservation(others, lambda x: np.stack([x, 2 * x], 1), single_observation_space=space)
    assert ours.observation_space == others.observation_space
    first, *steps = walk(ours, others, 100)
    assert torch.equal(*first)
    for mine, other in steps:
        assert torch.equal(mine[0], other[0])
        assert torch.equal(mine[4]["final_obs"], other[0])


@pytest.mark.parametrize("mode", MODES[:2])
@each_env
def test_transformed_rewards_are_gymnasiums(env, mode):
    """But for rows that are reset, which keep their 0: Gymnasium's gives them the function of 0."""
    ours = TransformReward(make(env, autoreset_mode=mode, max_episode_steps=12), lambda r: (r - 1.0) * 2.0)
    others = theirs.TransformReward(arrays(env, mode, 12), lambda r: (r - 1.0) * 2.0)
    _, *steps = walk(ours, others, 100)
    for mine, other in steps:
        idle = mine[4]["reset"] & (mode == "next_step")
        assert (mine[1][idle] == 0).all()
        close(mine[1][~idle], other[1][~idle], 1e-5)


# ------------------------------------------------------------------------------------------------ by plain arithmetic


def raw(env, mode, steps=120, limit=12):
    """The environment bare, and the steps of a walk in which it was reset wherever it has to be."""
    vec = make(env, autoreset_mode=mode, max_episode_steps=limit, validate=False)
    vec.action_space.seed(0)
    obs, _ = vec.reset(seed=SEED)
    taken, over = [], torch.zeros(N, dtype=torch.bool)
    for number in range(steps):
        mask = over & (number % 5 == 0)  # some rows have to wait
        begun = vec.reset(options={"reset_mask": mask})[0] if mode == "disabled" and mask.any() else None
        action = torch.from_numpy(vec.action_space.sample())
        step = vec.step(action)
        taken.append((None if begun is None else (mask, begun), action, step))
        over = step[2] | step[3]
    return obs, taken


def follow(env, taken):
    """The same walk by a wrapped environment."""
    env.reset(seed=SEED)
    for begun, action, step in taken:
        seen = None if begun is None else env.reset(options={"reset_mask": begun[0]})[0]
        yield begun, seen, step, env.step(action)


def moments(rows):
    """Of rows and of 1e-4 of a row of mean 0 and variance 1."""
    rows = np.array(rows, np.float64)
    total = len(rows) + 1e-4
    mean = rows.sum(0) / total
    return mean, (np.square(rows - mean).sum(0) + 1e-4 * (1 + np.square(mean))) / total


@each_mode
@each_env
def test_every_observation_counts_once(env, mode):
    first, taken = raw(env, mode)
    seen = list(first.numpy())
    ours = NormalizeObservation(make(env, autoreset_mode=mode, max_episode_steps=12, validate=False), epsilon=1e-6)
    waiting = 0
    for begun, normal, (obs, _, terminated, truncated, infos), mine in follow(ours, taken):
        if begun is not None:
            seen += list(begun[1][begun[0]].numpy())
            mean, var = moments(seen)
            close(normal[begun[0]], (begun[1][begun[0]].numpy() - mean) / np.sqrt(var + 1e-6), 1e-3)
        for row in range(N):
            ended = bool(infos["_final_obs"][row])
            idle = bool(terminated[row] | truncated[row]) and not ended
            waiting += idle
            if not idle:
                seen.append(infos["final_obs"][row].numpy())
            if mode == "same_step" and ended:
                seen.append(obs[row].numpy())
        mean, var = moments(seen)
        close(mine[0], (obs.numpy() - mean) / np.sqrt(var + 1e-6), 1e-3)
        close(mine[4]["final_obs"], (infos["final_obs"].numpy() - mean) / np.sqrt(var + 1e-6), 1e-3)
    assert (waiting > 5) == (mode == "disabled")
    close(ours.obs_rms.mean, mean, 1e-6)
    close(ours.obs_rms.var, var, 1e-6)


@each_mode
@each_env
def test_discounted_returns_begin_with_the_episode(env, mode):
    _, taken = raw(env, mode)
    ours = NormalizeReward(
        make(env, autoreset_mode=mode, max_episode_steps=12, validate=False), gamma=0.8, epsilon=1e-6
    )
    running, returns = np.zeros(N), []
    for _, _, (_, reward, terminated, truncated, infos), mine in follow(ours, taken):
        for row in range(N):
            ended = bool(infos["_final_obs"][row])
            if ended or not (terminated[row] or truncated[row] or infos["reset"][row]):
                running[row] = 0.8 * running[row] + reward[row].item()
                returns.append(running[row])
            if ended:
                running[row] = 0.0
        close(mine[1], reward.numpy() / np.sqrt(moments(returns)[1] + 1e-6))
        assert torch.equal(mine[4]["episode"]["r"], infos["episode"]["r"])
    close(ours.return_rms.mean, moments(returns)[0], 1e-5)


@each_mode
@each_env
def test_statistics_are_the_environments_own(env, mode):
    """Bit for bit, at every step, rows that idle or are reset included."""
    _, taken = raw(env, mode)
    ours = make(env, autoreset_mode=mode, max_episode_steps=12, validate=False)
    ours = RecordEpisodeStatistics(ours, stats_key="counted")
    ended = []
    for _, _, (*_, infos), mine in follow(ours, taken):
        for key in ("r", "l"):
            assert torch.equal(mine[4]["counted"][key], infos["episode"][key])
        assert torch.equal(mine[4]["_counted"], infos["_episode"])
        assert torch.equal(mine[4]["episode"]["r"], infos["episode"]["r"])
        ended += infos["episode"]["r"][infos["_episode"]].tolist()
    assert ours.return_queue.tolist() == ended[-100:]


def test_statistics_are_of_the_rewards_that_arrive():
    env = RecordEpisodeStatistics(
        TransformReward(make(max_episode_steps=5, params={"x_limit": 100.0}), lambda r: r * 3)
    )
    env.reset(seed=0)
    for step in range(1, 8):
        infos = env.step(torch.arange(N) % 2)[4]
        assert infos["episode"]["r"].tolist() == [3.0 * (step if step <= 5 else step - 5)] * N
    assert env.return_queue.tolist() == [15.0] * N
    assert env.length_queue.tolist() == [5] * N


def test_a_masked_reset_restarts_what_wrappers_remember():
    env = make(PENDULUM)
    statistics = RecordEpisodeStatistics(env)
    rewards = NormalizeReward(statistics, gamma=1.0)
    frames = FrameStackObservation(rewards, 3)
    frames.reset(seed=0)
    total = torch.zeros(N)
    for _ in range(4):
        before, *_, infos = frames.step(torch.ones(N, 1))
        total = infos["episode"]["r"]
    mask = torch.tensor([False, True, False])
    obs, _ = frames.reset(options={"reset_mask": mask.numpy()})
    assert torch.equal(obs[~mask], before[~mask])
    assert torch.equal(obs[1], obs[1, -1].expand(3, -1))
    assert torch.equal(rewards.own.running, total * ~mask)
    _, _, _, _, infos = frames.step(torch.ones(N, 1))
    assert infos["episode"]["l"].tolist() == [5, 1, 5]
    frames.reset()
    assert rewards.own.running.tolist() == [0.0] * N


def test_rows_left_out_of_a_reset_look_as_they_did():
    env = NormalizeObservation(make(PENDULUM))
    env.reset(seed=0)
    before, *_ = env.step(torch.ones(N, 1))
    obs, _ = env.reset(options={"reset_mask": torch.tensor([False, True, False])})
    assert torch.equal(obs[0], before[0])
    assert float(env.obs_rms.count) == pytest.approx(2 * N + 1 + 1e-4)


def test_a_time_limit_only_shortens():
    env = TimeLimit(make(max_episode_steps=5), 9)
    assert env.max_episode_steps == 5
    assert TimeLimit(FrameStackObservation(env, 2), 4).max_episode_steps == 4
    running = make(PENDULUM)
    running.reset(seed=0)
    for _ in range(3):
        running.step(torch.ones(N, 1))
    state = running.get_state()
    limited = TimeLimit(running, 4)
    assert torch.equal(running.get_state().elapsed, state.elapsed)
    _, _, _, truncated, infos = limited.step(torch.ones(N, 1))
    assert truncated.all()
    assert infos["episode"]["l"].tolist() == [4] * N


# ------------------------------------------------------------------------------------------------ the contract


def doubled(env):
    space = Box(-np.inf, np.inf, (2 * env.single_observation_space.shape[0],))
    return TransformObservation(env, lambda x: torch.cat([x, x * x], -1), single_observation_space=space)


def frozen(wrapper):
    """Seen something, and no longer learning: its statistics would outlive a seed."""
    wrapper.reset(seed=0)
    for _ in range(3):
        wrapper.step(torch.ones(wrapper.num_envs, 1))
    wrapper.update_running_mean = False
    return wrapper


WRAPPERS = {
    "none": Wrapper,
    "statistics": RecordEpisodeStatistics,
    "observation": lambda env: frozen(NormalizeObservation(env)),
    "reward": lambda env: RecordEpisodeStatistics(frozen(NormalizeReward(env))),
    "clip": ClipAction,
    "rescale": lambda env: RescaleAction(env, -1.0, 0.5),
    "stack": lambda env: FrameStackObservation(env, 3),
    "limit": lambda env: TimeLimit(env, 3),
    "transformed observation": doubled,
    "transformed reward": lambda env: RecordEpisodeStatistics(TransformReward(env, lambda r: r > -1.0)),
}


def every(env):
    """All of them, one around the other."""
    env = ClipAction(RescaleAction(env, -1.0, 1.0))
    env = TransformReward(TransformObservation(TimeLimit(env, 6), torch.neg), lambda r: r + 1.0)
    env = FrameStackObservation(NormalizeReward(NormalizeObservation(env)), 3)
    return RecordEpisodeStatistics(env, 5)


@each_mode
@pytest.mark.parametrize("name", WRAPPERS)
def test_the_contract(name, mode):
    check_vector_env(WRAPPERS[name](make(PENDULUM, 4, autoreset_mode=mode, max_episode_steps=5)))


def test_the_contract_of_buffers():
    check_vector_env(FrameStackObservation(RecordEpisodeStatistics(make(copy=False, max_episode_steps=5)), 2))


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return a.dtype == b.dtype and torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@each_mode
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("policy", [None, lambda obs: obs[:, :1].clamp(-1, 1)], ids=["random", "policy"])
def test_a_rollout_through_a_wrapper_is_the_environments(mode, policy, copy):
    kwargs = {"autoreset_mode": mode, "max_episode_steps": 6, "validate": False}
    bare, wrapped = make(PENDULUM, **kwargs), Wrapper(make(PENDULUM, **kwargs, copy=copy))
    bare.reset(seed=1)
    wrapped.reset(seed=1)
    for transitions in (True, False):
        ours, whole = (e.rollout(20, policy, transitions=transitions) for e in (wrapped, bare))
        for name, x, y in zip(ours._fields, ours, whole, strict=True):
            if name.endswith("_sum"):
                close(x, y)
            else:
                assert same(x, y), name
    assert same(wrapped.get_state().env, bare.get_state())


def test_a_policy_of_the_kernels_acts_on_what_wrappers_give():
    """A network of 8 inputs on CartPole's 4 entries and their squares."""
    shape = MlpShape(8, 16, 16, 2, "tanh", False)
    policy = MlpPolicy(0.3 * torch.randn(shape.size, generator=torch.Generator().manual_seed(0)), shape)
    env = doubled(make())
    env.reset(seed=0)
    rolled = env.rollout(60, policy)
    assert rolled.terminated.any()
    close(rolled.extras["value"], policy.value(rolled.obs))
    close(rolled.extras["next_value"], policy.value(rolled.next_obs) * ~rolled.terminated)


@each_mode
def test_a_rollout_is_its_steps(mode):
    ours, twin = (every(make(PENDULUM, autoreset_mode=mode, validate=False)) for _ in range(2))
    ours.reset(seed=1)
    obs, _ = twin.reset(seed=1)
    policy = lambda obs: obs[:, -1, :1] * 2  # noqa: E731
    ended = 0
    for rolled in (ours.rollout(9, policy), ours.rollout(9, policy)):
        for t in range(9):
            assert torch.equal(rolled.obs[t], obs)
            obs, *flags, infos = twin.step(rolled.action[t])
            assert same([rolled.reward[t], rolled.terminated[t], rolled.truncated[t]], flags)
            assert torch.equal(rolled.next_obs[t], infos["final_obs"])
            assert torch.equal(rolled.episode_return[t], infos["episode"]["r"])
        ended += rolled.episodes
    assert torch.equal(rolled.last_obs, obs)
    assert ended > 0
    assert same(ours.get_state(), twin.get_state())


def test_random_actions_come_from_the_wrappers_space():
    env = RescaleAction(make(PENDULUM, 50), 3.0, 5.0)
    env.reset(seed=0)
    action = env.rollout(20).action
    assert 3.0 <= action.min() < 3.1
    assert 4.9 < action.max() <= 5.0


@each_mode
def test_state_of_all_wrappers(mode):
    env, other = (every(make(PENDULUM, autoreset_mode=mode, validate=False)) for _ in range(2))
    env.reset(seed=3)
    policy = lambda obs: obs[:, -1, :1] * 2  # noqa: E731
    env.rollout(15, policy)
    state = env.get_state()
    first = env.rollout(15, policy), env.return_queue
    for given in (state, state._asdict()):
        other.set_state(given)
        assert same((other.rollout(15, policy), other.return_queue), first)
    assert same(env.get_state(), other.get_state())


def test_a_state_of_something_else_is_refused_and_changes_nothing():
    env = FrameStackObservation(NormalizeReward(make()), 3)
    env.reset(seed=0)
    env.rollout(4)
    before = env.get_state()
    elsewhere = FrameStackObservation(make(), 3)
    elsewhere.reset(seed=0)
    for state, sentence in [
        (3, "a state must be what FrameStackObservation.get_state gives, not int"),
        (before.env, "frames"),
        (
            before._replace(env=elsewhere.get_state().env),
            "must be what NormalizeReward.get_state gives, not VectorState",
        ),
        (before._replace(own={"frames": torch.zeros(N, 2, 4)}), r"frames of the state must be .* \(3, 3, 4\), not"),
        (before._replace(env=before.env._replace(own=()), own={"frames": torch.zeros(N, 3, 4)}), "lacks 'running'"),
    ]:
        with pytest.raises(InputError, match=sentence):
            env.set_state(state)
        assert same(env.get_state(), before)


@each_mode
def test_a_step_through_all_wrappers_looks_at_no_value(mode, monkeypatch):
    """Fake tensors have none: a synchronization or a shape that depends on data would raise. The step is the GPU's."""
    base = make(PENDULUM, autoreset_mode=mode, validate=False, max_episode_steps=3)
    monkeypatch.setattr(
        base, "_make_stepper", lambda: functional.SyncFree(base.task, base._mode(), base.index, compiled=False)
    )
    whole = env = every(base)
    env.reset(seed=0)
    for _ in range(4):
        env.step(torch.ones(N, 1))
    with FakeTensorMode() as fake:
        convert = lambda tree: torch.utils._pytree.tree_map_only(torch.Tensor, fake.from_tensor, tree)  # noqa: E731
        while True:
            vars(env).update({name: convert(value) for name, value in vars(env).items()})
            if env is base:
                break
            env = env.env
        base._stepper.index = base.index
        action, mask = torch.ones(N, 1), torch.ones(N, dtype=torch.bool)
        for _ in range(2):
            obs, reward, *_, infos = whole.step(action)
            whole.reset(options={"reset_mask": mask})
        with pytest.raises(DataDependentOutputException):
            bool(infos["_final_obs"].any())
    assert obs.shape == infos["final_obs"].shape == (N, 3, 3)
    assert reward.shape == (N,)


@each_mode
def test_what_wrappers_do_is_one_graph(mode):
    """Nothing in it makes `torch.compile` break off."""
    env = make(PENDULUM, autoreset_mode=mode, max_episode_steps=4, validate=False)
    wrappers = [
        RecordEpisodeStatistics(env, 4),
        NormalizeReward(env),
        NormalizeObservation(env),
        FrameStackObservation(env, 3),
    ]
    env.reset(seed=0)

    def stepped(owns, returned):
        for wrapper, own in zip(wrappers, owns, strict=True):
            wrapper.own = own
            returned = wrapper._stepped(returned)
        return tuple(returned), [wrapper.own for wrapper in wrappers]

    torch._dynamo.reset()
    graph = torch.compile(stepped, fullgraph=True, backend="eager")
    owns = [wrapper.own for wrapper in wrappers]
    for _ in range(9):
        returned = Returned(*env.step(torch.ones(N, 1)))
        expected, after = stepped(owns, returned)
        assert same(graph(owns, returned), (expected, after))
        owns = after


def test_attributes():
    env = every(gymnasium.make_vec("gpusim/Pendulum-v1", num_envs=N, device="cpu"))
    assert env.unwrapped.task is PENDULUM
    assert env.spec.id == "gpusim/Pendulum-v1"
    assert env.autoreset_mode is env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.device == torch.device("cpu")
    assert env.call("render") == (None,) * N
    assert env.call("params")[0].gravity == 10.0
    assert env.get_attr("num_envs") == (N,) * N
    env.set_attr("gravity", 9.0)
    assert env.get_attr("gravity") == (9.0,) * N
    assert "FrameStackObservation" in repr(env)
    env.close()
    assert env.closed
    with pytest.raises(InputError, match="has been closed"):
        env.reset()


def test_images_are_stacked_and_made_floats():
    game = make("MinAtar/Breakout-v1", 2)
    env = FrameStackObservation(game, 2)
    obs, _ = env.reset(seed=0)
    assert obs.dtype == torch.bool
    assert obs.shape == (2, 2, *game.single_observation_space.shape)
    space = Box(0.0, 1.0, obs.shape[1:])
    floats = NormalizeObservation(TransformObservation(env, torch.Tensor.float, single_observation_space=space))
    assert floats.reset(seed=0)[0].dtype == torch.float32


def test_importing_gpusim_imports_no_wrapper():
    code = "import sys, gpusim; assert not [m for m in sys.modules if m.startswith('gpusim.wrappers')]"
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------------------------------------ bad input


REFUSED = [
    (lambda: FrameStackObservation(make(), 0), "stack_size must be a positive whole number, not 0"),
    (lambda: FrameStackObservation(make(), 2.0), "stack_size must be a positive whole number, not 2.0"),
    (lambda: FrameStackObservation(make(), 2, padding_type="last"), 'padding_type must be "reset" or "zero"'),
    (lambda: RescaleAction(make(), -1, 1), "RescaleAction needs continuous actions, a Box, .*Discrete"),
    (lambda: ClipAction(make()), r"ClipAction needs continuous actions, a Box, .* are Discrete\(2\)"),
    (lambda: RescaleAction(ClipAction(make(PENDULUM)), -1, 1), "needs bounds to rescale to"),
    (lambda: RescaleAction(make(PENDULUM), 1, 1), "min_action must be below max_action"),
    (lambda: RescaleAction(make(PENDULUM), -np.inf, 1), "min_action must be below max_action"),
    (lambda: RescaleAction(make(PENDULUM), "low", 1), "min_action must be below max_action"),
    (lambda: RescaleAction(make(PENDULUM), np.zeros(2), 1), r"arrays of shape \(1,\)"),
    (lambda: Wrapper(gymnasium.make("CartPole-v1")), "Wrapper wraps what gpusim.make gives, .* not TimeLimit"),
    (lambda: TimeLimit(arrays(CARTPOLE, "same_step", 5), 3), "TimeLimit wraps what gpusim.make gives, .* not SyncVectorEnv"),
    (lambda: NormalizeReward("CartPole-v1"), "NormalizeReward wraps what gpusim.make gives, .* not str"),
    (lambda: TimeLimit(make(), 0), "max_episode_steps must be a positive whole number, not 0"),
    (lambda: TimeLimit(make(), 2**25), "max_episode_steps must be at most 16777216"),
    (lambda: NormalizeObservation(make("MinAtar/Breakout-v1")), "for float32 observations, not for an image, Box.*bool"),
    (lambda: NormalizeObservation(make(), epsilon=0.0), "epsilon must be a positive number, not 0.0"),
    (lambda: NormalizeReward(make(), gamma=1.1), "gamma must be a number from 0 to 1, not 1.1"),
    (lambda: NormalizeReward(make(), epsilon="tiny"), "epsilon must be a positive number, not 'tiny'"),
    (lambda: RecordEpisodeStatistics(make(), 0), "buffer_length must be a positive whole number"),
    (lambda: RecordEpisodeStatistics(make(), stats_key="reset"), "stats_key must be a name .* not 'reset'"),
    (lambda: TransformReward(make(), 2.0), "func must be a function of a tensor, not 2.0"),
    (lambda: TransformObservation(make(), None), "func must be a function of a tensor, not None"),
    (lambda: TransformObservation(make(), torch.abs, single_observation_space=3), "single_observation_space must be a Box"),
    (lambda: TransformObservation(make(), lambda x: x[:, :2]).reset(), r"gives torch.float32 of shape \(3, 2\).*not"),
    (lambda: TransformObservation(make(), torch.Tensor.numpy).reset(), "gives ndarray, not torch.float32"),
    (lambda: stepped(TransformReward(make(), torch.sum)), r"gives torch.float32 of shape \(\).*, not one number for each"),
    (lambda: ClipAction(make(PENDULUM)).step(None), "call reset"),
    (lambda: stepped(ClipAction(make(PENDULUM)), None), "actions must be a torch tensor"),
    (lambda: stepped(ClipAction(make(PENDULUM)), torch.zeros(N, 2)), r"actions must have shape \(3, 1\)"),
    (lambda: stepped(RescaleAction(make(PENDULUM), 0, 1), torch.ones(N, 1) * 2), "actions must lie in Box"),
    (lambda: begun(ClipAction(make(PENDULUM))).rollout(3), "has no bounds to draw random actions between: give a policy"),
]  # fmt: skip


def begun(env):
    env.reset(seed=0)
    return env


def stepped(env, *actions):
    return begun(env).step(*(actions or (torch.zeros(N, dtype=torch.int64),)))


@pytest.mark.parametrize(("act", "sentence"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_bad_input(act, sentence):
    with pytest.raises((InputError, gymnasium.error.ResetNeeded), match=sentence):
        act()


def test_a_refused_action_changes_nothing():
    env = every(make(PENDULUM))
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(InputError):
        env.step(torch.full((N, 1), torch.nan))
    assert same(env.get_state(), before)


def test_statistics_pass_over_what_is_not_finite():
    """A row with such an entry is left out as a whole; a reward counts as 0 in its return, and is given as it is."""
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    spoiled, mask = rows.clone(), torch.ones(9, dtype=torch.bool)
    mask[7] = False
    spoiled[2, 1], spoiled[5, 0], spoiled[7, 2] = torch.nan, torch.inf, torch.nan
    kept = mask.clone()
    kept[[2, 5]] = False
    none = Moments.none((3,), torch.device("cpu"))
    for got, want in zip(none.plus(spoiled, mask), none.plus(rows, kept), strict=True):
        assert torch.equal(got, want)

    def once(reward):
        once.calls += 1
        return torch.where((torch.arange(4) == 1) & (once.calls == 3), torch.nan, reward)

    once.calls = 0
    env = NormalizeReward(TransformReward(gpusim.make("CartPole-v1", 4, device="cpu"), once))
    env.reset(seed=0)
    given = [env.step(torch.zeros(4, dtype=torch.int64))[1] for _ in range(30)]
    assert given[2].isnan().tolist() == [False, True, False, False]
    assert all(reward.isfinite().all() for step, reward in enumerate(given) if step != 2)
    assert all(x.isfinite().all() for x in env.return_rms)
