"""What is usual elsewhere works here: other default dtypes and devices, gradients, pickles, and many environments."""

import dataclasses
import gc
import pickle
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import gpusim
from gpusim import InputError
from gpusim.envs.classic import CLASSIC
from gpusim.envs.classic.acrobot import ACROBOT
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.kernels.lang import absolute
from gpusim.wrappers import NormalizeObservation, NormalizeReward, RecordEpisodeStatistics
from tests.envs.numbers import NUMBERS
from tests.envs.test_vector import same
from tests.envs.toys import SWARM, TOY


def make(env, num_envs=5, **kwargs):
    return gpusim.make(env, num_envs, **({"device": "cpu", "backend": "eager", "max_episode_steps": 4} | kwargs))


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() is dtype
    finally:
        torch.set_default_dtype(torch.float32)


def walked(env, mode="same_step"):
    vec = make(env, autoreset_mode=mode)
    wrapped = RecordEpisodeStatistics(NormalizeReward(NormalizeObservation(vec)))
    obs, _ = wrapped.reset(seed=2)
    space = vec.single_action_space
    action = torch.ones((5, *space.shape), dtype=torch.float32 if space.shape else torch.int64)
    steps = [wrapped.step(action) for _ in range(3)]
    whole = wrapped.rollout(6), vec.rollout(4), vec.rollout(9, transitions=False)
    return obs, steps, whole, wrapped.get_state(), wrapped.return_queue


@pytest.mark.parametrize("env", [*CLASSIC, TOY, SWARM, NUMBERS], ids=lambda e: e.id)
def test_under_another_default_dtype(env):
    """An int beside a float is float32 here, which torch calls the default."""
    expected = walked(env)
    with default_dtype(torch.float64):
        again = dataclasses.replace(env, id="Again-v0")
        assert same(walked(again), expected)


def test_a_default_dtype_survives_what_is_refused():
    with default_dtype(torch.float64):
        vec = make(CARTPOLE)
        vec.reset(seed=0)
        with pytest.raises(InputError, match="actions must be"):
            vec.step(torch.zeros(5))
        with pytest.raises(InputError, match="fails by"):
            make(dataclasses.replace(CARTPOLE, id="Fails-v0", observe=lambda s, p: 1 / 0))


def test_under_another_default_device():
    """What is meant for a GPU by default leaves environments where they were asked for."""
    torch.set_default_device("meta")
    try:
        again = dataclasses.replace(ACROBOT, id="Again-v0")
        vec = make(again)
        obs, _ = vec.reset(seed=2)
        got = vec.step(torch.ones(5, dtype=torch.int64, device="cpu"))
        vec.rollout(5)
        vec.rollout(9, transitions=False)
    finally:
        torch.set_default_device(None)
    plain = make(ACROBOT)
    assert same(obs, plain.reset(seed=2)[0])
    assert same(got, plain.step(torch.ones(5, dtype=torch.int64)))


@pytest.mark.parametrize("device", ["cpu:0", torch.device("cpu:0"), torch.device("cpu", 0)])
def test_the_cpu_by_number(device):
    vec = make(CARTPOLE, device=device)
    assert vec.device == torch.device("cpu")
    vec.reset(seed=0)
    vec.step(torch.zeros(5, dtype=torch.int64, device=device))
    vec.rollout(2, lambda obs: torch.zeros(5, dtype=torch.int64, device=device))


def test_actions_that_require_grad():
    vec, plain = make(PENDULUM), make(PENDULUM)
    wanted = torch.linspace(-1, 1, 5)[:, None]
    action = wanted.clone().requires_grad_()
    for each in (vec, plain):
        each.reset(seed=0)
    got = vec.step(action)
    assert same(got, plain.step(wanted))
    assert not got[0].requires_grad
    assert not got[1].requires_grad
    assert same(vec.rollout(3, lambda obs: action).obs, plain.rollout(3, lambda obs: wanted).obs)
    params = {"gravity": torch.linspace(5.0, 12.0, 5, requires_grad=True)}
    vec = make(PENDULUM, params=params)
    vec.reset(seed=0)
    assert not vec.step(action)[0].requires_grad
    vec.set_state(tuple_map(lambda x: x.requires_grad_() if x.is_floating_point() else x, vec.get_state()))
    assert not vec.step(action)[0].requires_grad


def tuple_map(function, tree):
    if isinstance(tree, tuple):
        return type(tree)(*(tuple_map(function, x) for x in tree))
    return function(tree) if isinstance(tree, torch.Tensor) else tree


ARRAYS = [
    np.array([0, 1, 0, 1, 1]),
    np.array([0, 1, 0, 1, 1], np.int32),
    np.array([0, 9, 1, 9, 0, 9, 1, 9, 1, 9])[::2],
    np.array([1, 1, 0, 1, 0])[::-1],
    np.frombuffer(np.array([0, 1, 0, 1, 1]).tobytes(), np.int64),  # which is read-only
    np.array([0, 1, 0, 1, 1], ">i8"),
]


@pytest.mark.parametrize("actions", ARRAYS, ids=["int64", "int32", "strided", "backwards", "read-only", "big-endian"])
def test_arrays_as_actions(actions):
    vec, plain = make(CARTPOLE), make(CARTPOLE)
    for each in (vec, plain):
        each.reset(seed=0)
    assert same(vec.step(actions), plain.step(torch.tensor([0, 1, 0, 1, 1])))


NO_ACTIONS = [
    True, np.float64(1.0), np.int64(1), np.bool_(True), None, "left", [0, 1, 0, 1, 1], {"a": 1}, torch.tensor(1),
    np.array(1), np.zeros(5), np.ones(5, bool), np.zeros((5, 1), int), np.array([0, 1, 0, 1, None]),
    *(torch.zeros(5, dtype=dtype) for dtype in (torch.complex64, torch.uint8, torch.bool, torch.float32)),
    torch.zeros(5, dtype=torch.int64).to_sparse(),
]  # fmt: skip


@pytest.mark.parametrize("actions", NO_ACTIONS, ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}")
def test_what_is_no_action_is_refused_by_a_sentence(actions):
    vec, plain = make(CARTPOLE), make(CARTPOLE)
    for each in (vec, plain):
        each.reset(seed=0)
    with pytest.raises(InputError, match=r"^actions (must|are) .*\.$"):
        vec.step(actions)
    assert same(vec.rollout(5), plain.rollout(5))


def test_statistics_of_the_training_for_an_evaluation():
    train, test = NormalizeObservation(make(PENDULUM)), NormalizeObservation(make(PENDULUM, 3))
    for each in (train, test):
        each.reset(seed=0)
    train.rollout(9)
    test.obs_rms, test.update_running_mean = train.obs_rms, False
    assert same(test.obs_rms, train.obs_rms)
    before = tuple_map(torch.clone, test.obs_rms)
    train.rollout(3)
    test.rollout(3)
    assert same(test.obs_rms, before)
    assert not same(train.obs_rms, before)
    gymnasiums = type("RunningMeanStd", (), {"mean": np.zeros(3), "var": np.ones(3, np.float32), "count": 7})
    test.obs_rms = gymnasiums
    assert [x.dtype for x in test.obs_rms] == [torch.float64] * 3
    reward = NormalizeReward(test)
    other = NormalizeReward(train)
    other.reset(seed=1)
    other.rollout(5)
    reward.return_rms = other.return_rms
    assert same(reward.return_rms, other.return_rms)
    for bad in (None, 3.0, other.return_rms, {"mean": 0.0}):
        with pytest.raises(InputError, match="obs_rms must have a mean, a var and a count, as another"):
            test.obs_rms = bad
    assert float(test.obs_rms.count) == 7


def test_statistics_are_set_through_other_wrappers():
    inner = NormalizeObservation(make(PENDULUM))
    outer = RecordEpisodeStatistics(NormalizeReward(inner))
    other = NormalizeObservation(make(PENDULUM))
    other.reset(seed=0)
    other.rollout(5)
    outer.obs_rms = other.obs_rms
    assert same(inner.obs_rms, other.obs_rms)


def climb(s, action, new, reward, terminated, p):
    return reward - p.weight * absolute(new.x)


def double(s, action, new, reward, terminated, p):
    return 2.0 * reward


SHAPED = CARTPOLE.with_reward(climb, params={"weight": 0.5}, id="Climb-v0")
PICKLED = {
    "plain": CARTPOLE,
    "shaped": SHAPED,
    "shaped twice": SHAPED.with_reward(double, params={"more": 1.0}),
    "numbers": NUMBERS,
    "numbers made lanes": make(NUMBERS).task,
    "numbers, shaped": NUMBERS.with_reward(climb, params={"weight": 0.5}),
}


@pytest.mark.parametrize("name", PICKLED)
def test_pickles(name):
    env = PICKLED[name]
    vec = make(env)
    vec.reset(seed=1)
    vec.rollout(3)
    again = pickle.loads(pickle.dumps(env))
    assert (again.id, again.params, again.params._fields) == (env.id, env.params, env.params._fields)
    other = make(again)
    other.reset(seed=5)
    other.set_state(pickle.loads(pickle.dumps(vec.get_state())))
    third = pickle.loads(pickle.dumps(vec))
    expected = vec.rollout(6)
    assert same(other.rollout(6), expected)
    assert same(third.rollout(6), expected)


def test_nothing_is_kept_of_environments_that_are_gone():
    """What was made for one, eagerly, for kernels and by hand, goes with it."""
    gone = []

    def one(i):
        env = dataclasses.replace(CARTPOLE if i % 2 else NUMBERS, id=f"Gone-v{i}")
        if i % 4 == 0:
            env = env.with_reward(lambda s, a, n, r, t, p: r + i)
        vec = make(env, 2)
        vec.reset(seed=0)
        vec.step(torch.zeros(2, dtype=torch.int64))
        vec.rollout(1)
        vec.rollout(1, transitions=False)
        gone.extend(map(weakref.ref, (vec, vec.task, env, env.step if i % 4 == 0 else env)))

    for i in range(12):
        one(i)
    gc.collect()
    assert [ref() for ref in gone if ref() is not None] == []


def test_what_is_registered_again_is_let_go(monkeypatch):
    monkeypatch.setattr(gpusim.registry, "_ENVS", dict(gpusim.registry._ENVS))
    old = weakref.ref(gpusim.register(dataclasses.replace(CARTPOLE, id="Again-v0")))
    with pytest.warns(UserWarning, match="registered again"):
        gpusim.register(dataclasses.replace(CARTPOLE, id="Again-v0"))
    gc.collect()
    assert old() is None
