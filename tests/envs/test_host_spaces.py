"""What environments of the host show and take, of whatever shape and dtype, as learners show and take it."""

import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.wrappers import FrameStackObservation

import gpusim
from gpusim.adapters import from_gymnasium, to_numpy
from gpusim.adapters.engines.envpool import EnvPool
from gpusim.adapters.images import arranged, channels_first
from gpusim.agents import dqn, ppo
from gpusim.agents.train import environments
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.testing import check_vector_env
from gpusim.wrappers import ClipAction, NormalizeObservation, RescaleAction

GREATEST = np.finfo(np.float32).max
ENDLESS = np.finfo(np.float64).max


class Toy(gymnasium.Env):
    """Shows the number of the step, as its space has it; rewards with the action it was given."""

    def __init__(self, observation, action):
        self.observation_space, self.action_space = observation, action
        self.taken = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), {}

    def step(self, action):
        self.t += 1
        self.taken.append(action)
        assert self.action_space.contains(action), (action, self.action_space)
        return self.seen(), float(np.sum(action)), False, self.t == 5, {}

    def seen(self):
        space = self.observation_space
        if isinstance(space, Dict):
            return {name: np.full(part.shape, self.t, part.dtype) for name, part in space.items()}
        return np.arange(np.prod(space.shape)).reshape(space.shape).astype(space.dtype) + space.dtype.type(self.t)


VECTOR, TWO = Box(-1.0, 1.0, (3,)), Discrete(2)


@pytest.fixture
def toy():
    """Makes an id of an environment with those spaces, stacked if wished."""
    made = []

    def register(observation=VECTOR, action=TWO, stack=0):
        def entry():
            env = Toy(observation, action)
            return FrameStackObservation(env, stack) if stack else env

        made.append(f"HostToy{len(made)}-v0")
        gymnasium.register(made[-1], entry, disable_env_checker=True)
        return made[-1]

    yield register
    for id in made:
        gymnasium.registry.pop(id)
        environments._HOSTED.pop(id, None)


def test_observations_without_an_entry_are_refused(toy):
    with pytest.raises(gpusim.InputError, match=r"shows observations of shape \(0,\): there is nothing to learn from"):
        from_gymnasium(toy(Box(0.0, 1.0, (0,))), 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((1.0, None, False), "the terminated None, which is not a bool"),
        ((1.0, False, "no"), "the truncated 'no', which is not a bool"),
        (("1", False, False), "the reward '1', which is not a number"),
        ((np.ones(2), False, False), r"the reward array\(\[1., 1.\]\), which is not a number"),
        ((1j, False, False), r"the reward 1j, which is not a number"),
    ],
)
def test_what_a_step_gives_is_what_is_meant(toy, monkeypatch, given, words):
    env = from_gymnasium(toy(), 2, device="cpu", engine="sync")
    env.reset(seed=0)
    monkeypatch.setattr(Toy, "step", lambda self, action: (self.seen(), *given, {}))
    with pytest.raises(gpusim.InputError, match=f"TypeError in .*: step gives {words}"):
        env.step(torch.zeros(2, dtype=torch.int64))


def test_an_array_of_one_entry_is_that_entry(toy, monkeypatch):
    env = from_gymnasium(toy(), 2, device="cpu", engine="sync")
    env.reset(seed=0)
    monkeypatch.setattr(
        Toy, "step", lambda self, action: (self.seen(), np.full(1, 2.5), np.True_, np.zeros(1, bool), {})
    )
    _, reward, terminated, truncated, _ = env.step(torch.zeros(2, dtype=torch.int64))
    assert (reward.tolist(), terminated.tolist(), truncated.tolist()) == ([2.5, 2.5], [True, True], [False, False])


def bytes_of(*shape):
    return Box(0, 255, shape, np.uint8)


@pytest.mark.parametrize(
    ("shape", "first"),
    [((4, 84, 84), True), ((3, 210, 160), True), ((1, 36, 36), True), ((12, 15, 15), True), ((4, 7, 6), True),
     ((3, 4, 4), True), ((84, 84, 4), False), ((96, 96, 3), False), ((10, 10, 10), False), ((7, 7, 3), False),
     ((2, 5, 3), False), ((6, 7, 2), False), ((8, 8, 119), False), ((10, 4, 10), False)],
)  # fmt: skip
def test_where_channels_stand_is_told_by_the_shape(shape, first):
    assert channels_first(shape) is first
    image = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(arranged(image), np.moveaxis(image, 0, -1) if first else image)


@pytest.mark.parametrize("engine", ["sync", "async"])
@pytest.mark.parametrize(
    ("space", "stack", "shape"),
    [(bytes_of(40, 40), 4, (40, 40, 4)), (bytes_of(3, 40, 36), 0, (40, 36, 3)), (bytes_of(40, 36, 3), 2, (40, 36, 6)),
     (bytes_of(3, 40, 36), 2, (40, 36, 6)), (Box(0.0, 1.0, (1, 8, 8)), 0, (8, 8, 1)), (Box(0.0, 1.0, (3,)), 4, (4, 3)),
     (Box(0, 1, (9, 8), bool), 2, (9, 8, 2))],
)  # fmt: skip
def test_images_come_with_their_channels_last(space, stack, shape, engine, toy):
    id = toy(space, TWO, stack)
    env = from_gymnasium(id, 2, device="cpu", engine=engine)
    assert env.single_observation_space.shape == shape
    env.reset(seed=0)
    theirs = gymnasium.make(id, disable_env_checker=True)
    expected, _ = theirs.reset(seed=0)
    for _ in range(7):
        _, _, _, truncated, infos = env.step(torch.zeros(2, dtype=torch.int64))
        expected, _, _, ended, _ = theirs.step(0)
        if expected.ndim == 4:  # frame after frame, each with its own channels
            frames = [np.moveaxis(f, 0, -1) if len(f) == 3 else f for f in expected]
            expected = np.concatenate(frames, -1)
        elif expected.shape != shape:
            expected = np.moveaxis(expected, 0, -1)
        np.testing.assert_array_equal(infos["final_obs"][0].numpy(), expected)
        if ended:
            assert truncated.all()
            theirs.reset()
    env.close()


def test_a_convolution_runs_along_height_and_width(toy):
    config = {"num_envs": 2, "hidden": (8,), "device": "cpu", "total_steps": 16}
    learner = ppo.PPO(ppo.Config(env=toy(bytes_of(40, 40), TWO, 4), num_steps=8, minibatches=1, **config))
    assert learner.network.body[0].convolution.in_channels == 4
    learner.iterate()
    tiny = ppo.PPO(ppo.Config(env=toy(Box(0, 1, (2, 5, 3), bool)), num_steps=8, minibatches=1, **config))
    assert tiny.network.flat  # too small for one
    tiny.iterate()
    with pytest.raises(gpusim.InputError, match="network cnn is for images of 3 × 3 and more"):
        ppo.Config(env=toy(Box(0, 1, (2, 5, 3), bool)), network="cnn").check()


@pytest.mark.parametrize(("shape", "shown"), [((4, 84, 84), (84, 84, 4)), ((96, 96, 3), (96, 96, 3))])
def test_of_envpool_too(shape, shown):
    class Pool:
        def reset(self, rows=None):
            return np.zeros((2, *shape), np.uint8), {}

    pool = EnvPool(lambda seed: Pool(), 2, "by threads")
    assert pool.reset(0, None)[0].shape == (2, *shown)


@pytest.mark.parametrize(
    ("space", "given", "taken"),
    [(Box(-3, 7, (2,), np.int32), [2.4, -3.0], [2, -3]), (Box(0, 255, (2,), np.uint8), [254.6, 0.4], [255, 0]),
     (Box(-5, 5, (2,), np.int64), [-4.5001, 4.9], [-5, 5]), (Box(-1, 1, (2,), np.float64), [0.25, -1.0], [0.25, -1.0]),
     (Box(-1, 1, (2,), np.float16), [0.25, 1.0], [0.25, 1.0]), (Box(-2, 2, (2,)), [0.1, 2.0], [np.float32(0.1), 2.0])],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["sync", "async"])
def test_actions_arrive_in_the_dtype_that_is_declared(space, given, taken, engine, toy):
    env = from_gymnasium(toy(VECTOR, space), 2, device="cpu", engine=engine)
    assert env.single_action_space.dtype == np.float32
    env.reset(seed=0)
    reward = env.step(torch.tensor([given, given]))[1]
    assert reward.tolist() == [float(np.float32(sum(taken)))] * 2
    if engine == "sync":
        (action,) = env._engine.vector.envs[0].unwrapped.taken
        assert action.dtype == space.dtype
        assert action.tolist() == taken
    env.close()


def test_whole_numbers_are_learned(toy):
    id = toy(VECTOR, Box(0, 9, (1,), np.int32))  # which asserts that its space contains them
    ppo.train(ppo.Config(env=id, num_envs=2, num_steps=8, minibatches=1, total_steps=16, device="cpu"))


@pytest.mark.parametrize(
    "space",
    [Box(-np.inf, np.inf, (1,)), Box(0.0, np.inf, (2,)), Box(-GREATEST, GREATEST, (1,)),
     Box(-ENDLESS, ENDLESS, (1,), np.float64), Box(-np.inf, 1.0, (1,), np.float64), Box(0, np.inf, (1,), np.int64)],
    ids=str,
)  # fmt: skip
def test_actions_without_bounds_are_refused_before_training(space, toy):
    id = toy(VECTOR, space)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for config in (ppo.Config(env=id, num_envs=2, device="cpu"),):
            with pytest.raises(
                gpusim.InputError, match=rf"^the actions of {id} have no bounds that learners could stretch"
            ):
                ppo.train(config)
        env = from_gymnasium(id, 2, device="cpu")
        env.reset(seed=0)
        with pytest.raises(gpusim.InputError, match="has no bounds to draw random actions between: give a policy"):
            env.rollout(3)
        env.step(torch.zeros(2, *space.shape))  # to whoever says what to do it is of use


@pytest.mark.parametrize(
    "space",
    [Box(-GREATEST, GREATEST, (3,)), Box(-ENDLESS, ENDLESS, (3,), np.float64), Box(-np.inf, np.inf, (3,), np.float64),
     Box(np.float64([-1, -ENDLESS, 0]), np.float64([1, ENDLESS, ENDLESS]), dtype=np.float64),
     Dict(a=Box(-ENDLESS, ENDLESS, (2,), np.float64), b=Box(-GREATEST, GREATEST, (1,)))],
    ids=str,
)  # fmt: skip
def test_bounds_as_wide_as_numbers_go_need_no_warning(space, toy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sizes = {"num_envs": 2, "total_steps": 64, "learning_starts": 32, "batch_size": 16, "n_step": 1}
        config = dqn.Config(env=toy(space), device="cpu", **sizes)
        dqn.train(config)
        shown = environments.describe(config.env).observation_space
        assert (shown.dtype, shown.shape) == (np.float32, (3,))


def test_such_bounds_of_gpusims_own():
    wide = replace(PENDULUM, id="WidePendulum-v0", observation_space=Box(-GREATEST, GREATEST, (3,)))
    reckless = replace(wide, action_space=Box(-GREATEST, GREATEST, (1,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for env in (wide, reckless):
            check_vector_env(gpusim.make(env, 3, device="cpu", max_episode_steps=20))
            made = gpusim.make(env, 2, device="cpu")
            numbers = to_numpy(NormalizeObservation(ClipAction(made)))
            numbers.reset(seed=0)
            numbers.step(numbers.action_space.sample())
        with pytest.raises(gpusim.InputError, match="has no bounds to draw random actions between"):
            made.rollout(2)
        with pytest.raises(gpusim.InputError, match="RescaleAction needs bounds"):
            RescaleAction(made, -1.0, 1.0)
        with pytest.raises(
            gpusim.InputError, match="WidePendulum-v0 have no bounds that learners could stretch theirs to"
        ):
            environments.make(reckless, 2, "cpu")
