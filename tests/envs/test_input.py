"""Bad input: one sentence that says what was wrong and what is allowed, and everything as it was before."""

import dataclasses
from collections import namedtuple

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Dict, Discrete

import gpusim
from gpusim import InputError, Uniform
from gpusim.envs.classic.cartpole import CARTPOLE
from tests.envs.wrong import RIGHT


def make(env="CartPole-v1", **kwargs):
    return gpusim.make(env, **({"num_envs": 4, "device": "cpu", "backend": "eager"} | kwargs))


ARGUMENTS = [
    ({"env": "CartPoel-v1"}, "no environment has the id 'CartPoel-v1'; did you mean CartPole-v1"),
    ({"env": "gpusim/cartpole"}, "did you mean CartPole-v1"),
    ({"env": "zzz"}, r"no environment has the id 'zzz'; gpusim envs, or gpusim.env_ids\(\), lists those there are\.$"),
    ({"num_envs": 0}, "num_envs must be a positive whole number, not 0"),
    ({"num_envs": 2.5}, "num_envs must be a positive whole number, not 2.5"),
    ({"num_envs": True}, "num_envs must be a positive whole number, not True"),
    ({"device": "gpu"}, "device 'gpu' is not a device"),
    ({"device": 1.5}, "device 1.5 is not a device"),
    ({"device": "cpu:1"}, 'device "cpu:1" is not there; all CPUs are one device, "cpu"'),
    ({"device": "meta"}, 'device "meta" is not supported; use "cpu" or "cuda"'),
    ({"backend": "jax"}, "backend 'jax' is not known"),
    ({"backend": "triton"}, 'backend "triton" cannot run on device "cpu": it needs a CUDA GPU'),
    ({"autoreset_mode": "never"}, "autoreset_mode 'never' is not known"),
    ({"autoreset_mode": None}, "autoreset_mode None is not known"),
    ({"max_episode_steps": 0}, "max_episode_steps must be a positive whole number, not 0"),
    ({"max_episode_steps": -2}, "max_episode_steps must be a positive whole number, not -2"),
    ({"max_episode_steps": 1.0}, "max_episode_steps must be a positive whole number"),
    ({"max_episode_steps": 2**25}, "must be at most 16777216, or -1 for no limit"),
    ({"params": {"mass": 1.0}}, "CartPole-v1 has no parameter 'mass'; it has gravity, mass_cart"),
    ({"params": 3}, "params must be a dict of changed parameters by name, not int"),
    ({"params": {"force": "big"}}, "parameter 'force' must be a number, a tensor of shape"),
    ({"params": {"force": None}}, "parameter 'force' must be a number"),
    ({"params": {"force": torch.ones(3)}}, r"a tensor of shape \(4,\) or a gpusim.Uniform"),
    ({"params": {"force": Uniform(2.0, 1.0)}}, "needs finite Uniform"),
    ({"params": {"force": Uniform(0.0, float("inf"))}}, "needs finite Uniform"),
    ({"params": {"force": Uniform(-3e38, 3e38)}}, r"needs a Uniform\(low, high\) within the 3.4e\+38 of float32"),
    ({"params": {"force": Uniform(1.0, 1e300)}}, r"needs a Uniform\(low, high\) within the 3.4e\+38 of float32"),
    ({"params": {"force": Uniform(10**400, 10**401)}}, r"needs a Uniform\(low, high\) within the 3.4e\+38 of float32"),
    ({"params": {"force": Uniform(False, True)}}, "needs finite Uniform"),
    ({"params": {"force": 1e300}}, r"parameter 'force' must lie within the 3.4e\+38 of float32, not be 1e\+300"),
    ({"params": {"force": 10**400}}, r"parameter 'force' must lie within the 3.4e\+38 of float32, not be 1000"),
    ({"params": {"force": float("inf")}}, r"parameter 'force' must lie within the 3.4e\+38 of float32, not be inf"),
    ({"params": {"force": [1.0, 2.0, 3.0, 1e300]}}, r"parameter 'force' must lie within the 3.4e\+38 of float32"),
    ({"params": {"force": torch.ones(4).to_sparse()}}, r"parameter 'force' must be a number, a tensor of shape"),
    ({"render_mode": "human"}, "render_mode must be None"),
]


@pytest.mark.parametrize(("kwargs", "sentence"), ARGUMENTS, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_arguments(kwargs, sentence):
    with pytest.raises(InputError, match=sentence):
        make(**kwargs)


def test_more_ranges_than_blocks_to_draw_from():
    params = namedtuple("Params", [f"a{i}" for i in range(257)])(*[0.0] * 257)  # type: ignore[misc]
    env = dataclasses.replace(RIGHT, id="Ranges-v0", params=params, step=lambda s, a, rng, p: (s, p.a0, False))
    drawn = dict.fromkeys(params._fields[1:], Uniform(0.0, 1.0))
    gpusim.make(env, 2, device="cpu", params=drawn)
    with pytest.raises(InputError, match="at most 256 parameters can be drawn from ranges, not 257"):
        gpusim.make(env, 2, device="cpu", params=drawn | {"a0": Uniform(0.0, 1.0)})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu():
    with pytest.raises(InputError, match=r'device "cuda" is not available: .*; use device="cpu"'):
        make(device="cuda")
    assert make(device="auto").device.type == "cpu"


def test_a_missing_compiler(monkeypatch):
    """Nothing is lost: what is not asked for by name steps eagerly."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match='"native" cannot run on device "cpu": it needs a C\\+\\+ compiler'):
        make(backend="native")
    with pytest.warns(UserWarning, match="it needs a C\\+\\+ compiler"):
        assert make(backend="compile").backend == "eager"
    assert make(num_envs=64, backend="auto").backend == "eager"


def test_gymnasium_hands_the_sentence_on():
    with pytest.raises(InputError, match="num_envs must be a positive"):
        gymnasium.make_vec("gpusim/CartPole-v1", num_envs=-1, device="cpu")


ACTIONS = [
    ("CartPole-v1", [0, 1, 0, 1], 'actions must be a torch tensor on device "cpu", not list'),
    ("CartPole-v1", 1, "actions must be a torch tensor"),
    ("CartPole-v1", np.array(["a", "b", "a", "b"]), "actions must be a torch tensor .*, not ndarray"),
    ("CartPole-v1", torch.zeros(4, 1, dtype=torch.int64), r"actions must have shape \(4,\), not \(4, 1\)"),
    ("CartPole-v1", torch.zeros(3, dtype=torch.int64), r"actions must have shape \(4,\), not \(3,\)"),
    ("CartPole-v1", torch.zeros(4), r"actions must be int64 or int32 for Discrete\(2\), not float32"),
    ("CartPole-v1", torch.zeros(4, dtype=torch.bool), "actions must be int64 or int32"),
    ("CartPole-v1", torch.tensor([0, 1, 2, 1]), "actions must lie in 0 to 1; these reach from 0 to 2"),
    ("CartPole-v1", torch.tensor([0, -1, 0, 1]), "actions must lie in 0 to 1; these reach from -1 to 1"),
    (
        "CartPole-v1",
        torch.zeros(4, dtype=torch.int64, device="meta"),
        'on device "meta" but the environment is on "cpu"',
    ),
    ("Pendulum-v1", torch.zeros(4), r"actions must have shape \(4, 1\), not \(4,\)"),
    ("Pendulum-v1", torch.zeros(4, 1, dtype=torch.float64), r"actions must be float32 for Box.*, not float64"),
    ("Pendulum-v1", torch.full((4, 1), 2.1), "actions must lie in Box.* clamp them first"),
    ("Pendulum-v1", torch.full((4, 1), float("nan")), "actions must lie in Box"),
]


@pytest.mark.parametrize(("env", "bad", "sentence"), ACTIONS, ids=lambda v: v if isinstance(v, str) else "")
def test_actions(env, bad, sentence):
    vec, twin = make(env), make(env)
    vec.reset(seed=0)
    twin.reset(seed=0)
    with pytest.raises(InputError, match=sentence):
        vec.step(bad)
    with pytest.raises(InputError, match=sentence):
        vec.rollout(3, lambda obs: bad)
    assert torch.equal(vec.rollout(5).obs, twin.rollout(5).obs)


def test_values_are_not_looked_at_unless_asked():
    """On a GPU it would mean to wait for it."""
    vec = make(validate=False)
    vec.reset(seed=0)
    vec.step(torch.full((4,), 7))
    vec.reset(options={"reset_mask": torch.zeros(4, dtype=torch.bool)})


RESETS = [
    ({"seed": -1}, "seed must be one whole number"),
    ({"seed": 2**63}, "seed must be one whole number"),
    ({"seed": 1.0}, "seed must be one whole number"),
    ({"seed": True}, "seed must be one whole number"),
    ({"seed": [1, 2, 3, 4]}, "seed must be one whole number"),
    ({"options": {"low": 1}}, "reset knows the option \"reset_mask\" and no other, not \\['low'\\]"),
    ({"options": {"reset_mask": [True] * 4}}, "reset_mask must be a bool tensor or array of shape .*, not list"),
    ({"options": {"reset_mask": torch.ones(4)}}, "not torch.float32 of shape"),
    ({"options": {"reset_mask": torch.ones(3, dtype=torch.bool)}}, r"of shape \(4,\), not torch.bool of shape \(3,\)"),
    ({"options": {"reset_mask": np.ones(4, "U1")}}, "not ndarray"),
    ({"options": {"reset_mask": torch.zeros(4, dtype=torch.bool)}}, "reset_mask is all False"),
    ({"seed": 1, "options": {"reset_mask": torch.ones(4, dtype=torch.bool)}}, "a seed belongs to all environments"),
    ({"options": 3}, "options must be a dict, not int"),
]


@pytest.mark.parametrize(("kwargs", "sentence"), RESETS, ids=lambda v: v if isinstance(v, str) else "")
def test_resets(kwargs, sentence):
    vec, twin = make(), make()
    vec.reset(seed=0)
    twin.reset(seed=0)
    with pytest.raises(InputError, match=sentence):
        vec.reset(**kwargs)
    assert torch.equal(vec.rollout(5).obs, twin.rollout(5).obs)


def test_before_the_first_reset():
    for deed in (
        lambda e: e.step(torch.zeros(4, dtype=torch.int64)),
        lambda e: e.rollout(3),
        lambda e: e.get_state(),
        lambda e: e.reset(options={"reset_mask": torch.ones(4, dtype=torch.bool)}),
    ):
        vec = make()
        with pytest.raises(ResetNeeded, match=r"call reset\(\) before anything else"):
            deed(vec)
        vec.reset(seed=0)
        vec.rollout(1)


def test_after_close():
    vec = make()
    vec.reset(seed=0)
    state = vec.get_state()
    vec.close()
    for deed in (
        lambda: vec.reset(),
        lambda: vec.reset(seed=1),
        lambda: vec.step(torch.zeros(4, dtype=torch.int64)),
        lambda: vec.rollout(3),
        lambda: vec.get_state(),
        lambda: vec.set_state(state),
    ):
        with pytest.raises(InputError, match="has been closed"):
            deed()


def test_a_finished_environment_must_be_reset_when_that_is_left_to_the_caller():
    vec = make(autoreset_mode="disabled", max_episode_steps=1)
    vec.reset(seed=0)
    action = torch.zeros(4, dtype=torch.int64)
    vec.step(action)
    with pytest.raises(ResetNeeded, match="environment 0 is over: reset it by reset"):
        vec.step(action)
    vec.reset(options={"reset_mask": torch.tensor([True, True, False, True])})
    with pytest.raises(ResetNeeded, match="environment 2 is over"):
        vec.step(action)
    vec.reset(options={"reset_mask": torch.tensor([False, False, True, False])})
    vec.step(action)


def test_rollouts():
    vec, twin = make(), make()
    vec.reset(seed=0)
    twin.reset(seed=0)
    for steps in (0, -1, 2.0, True, None):
        with pytest.raises(InputError, match="num_steps must be a positive whole number"):
            vec.rollout(steps)
    with pytest.raises(InputError, match="names that a rollout has already: obs, reward"):
        vec.rollout(2, lambda obs: (torch.zeros(4, dtype=torch.int64), {"obs": obs, "reward": obs, "other": obs}))
    assert torch.equal(vec.rollout(5).obs, twin.rollout(5).obs)


def test_transitions_that_do_not_fit_into_memory_are_refused():
    env = gpusim.make("CartPole-v1", 4, device="cpu")
    env.reset(seed=0)
    with pytest.raises(
        InputError, match=r"^4,000,000,000,000 transitions, of 1,000,000,000,000 steps take at least .* free on cpu"
    ):
        env.rollout(10**12)
    assert env.clock == 0


def test_random_actions_need_bounds():
    env = dataclasses.replace(gpusim.spec("Pendulum-v1"), id="Wide-v0", action_space=Box(-np.inf, np.inf, (1,)))
    vec = make(env)
    vec.reset(seed=0)
    with pytest.raises(InputError, match="has no bounds"):
        vec.rollout(3)
    vec.step(torch.full((4, 1), 1e6))


def test_states():
    vec, twin = make(), make()
    vec.reset(seed=0)
    twin.reset(seed=0)
    state = vec.get_state()
    lacking = state._asdict()
    del lacking["elapsed"]
    other = make("Pendulum-v1")
    other.reset(seed=0)
    for bad, sentence in [
        (lacking, "the state lacks 'elapsed'"),
        (other.get_state(), "the state lacks 'state.x'"),
        (make(num_envs=4), "must be what get_state gives, not VectorEnv"),
        (None, "must be what get_state gives, not NoneType"),
        (state._replace(elapsed=torch.zeros(3)), r"elapsed of the state must be torch.float32 of shape \(4,\)"),
        (state._replace(episode=state.episode.int()), "episode of the state must be torch.int64"),
        (
            state._replace(state=state.state._replace(x=state.state.x.double())),
            "state.x of the state must be torch.float32",
        ),
        (state._replace(state=state.state._replace(x="left")), "state.x of the state must be torch.float32"),
        (state._replace(state=None), "the state lacks 'state.x'"),
        (state._replace(params=state.params._replace(force=torch.ones(2))), "parameter 'force' must be a number"),
        (state._replace(clock=-1), "clock of the state must be a whole number"),
        (state._replace(clock="noon"), "clock of the state must be a whole number"),
    ]:
        with pytest.raises(InputError, match=sentence):
            vec.set_state(bad)
    assert torch.equal(vec.rollout(5).obs, twin.rollout(5).obs)


def test_attributes():
    vec, twin = make(), make()
    vec.reset(seed=0)
    twin.reset(seed=0)
    with pytest.raises(InputError, match="CartPole-v1 has no parameter 'mass'"):
        vec.set_attr("mass", 1.0)
    with pytest.raises(InputError, match="parameter 'force' must be"):
        vec.set_attr("force", [1.0, 2.0])
    with pytest.raises(AttributeError, match="nothing_like_that"):
        vec.get_attr("nothing_like_that")
    assert torch.equal(vec.rollout(5).obs, twin.rollout(5).obs)


DEFINITIONS = [
    ({"observation_space": Discrete(3)}, "observation_space of Pole-v7 must be a flat float32 Box"),
    ({"observation_space": Box(-1, 1, (2, 2, 2, 2))}, "must be a flat float32 Box or an image's"),
    ({"observation_space": Box(-1, 1, (4,), np.float64)}, "observation_space of Pole-v7 must be a flat float32 Box"),
    (
        {"action_space": Discrete(2, start=1)},
        "action_space of Pole-v7 must be a Discrete that starts at 0 or a flat float32 Box",
    ),
    (
        {"action_space": Box(-1, 1, ())},
        "action_space of Pole-v7 must be a Discrete that starts at 0 or a flat float32 Box",
    ),
    ({"action_space": Dict({"a": Discrete(2)})}, "action_space of Pole-v7 must be a Discrete"),
    ({"params": {"gravity": 9.8}}, "params of Pole-v7 must be a NamedTuple of numbers"),
    ({"params": CARTPOLE.params._replace(force="big")}, "params of Pole-v7 must be a NamedTuple of numbers"),
    ({"max_episode_steps": 0}, "max_episode_steps must be a positive whole number"),
]


@pytest.mark.parametrize(("changes", "sentence"), DEFINITIONS, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_environments(changes, sentence):
    wrong = dataclasses.replace(CARTPOLE, **{"id": "Pole-v7"} | changes)
    with pytest.raises(InputError, match=sentence):
        gpusim.register(wrong)
    with pytest.raises(InputError, match=sentence):
        make(wrong)
    assert "Pole-v7" not in gpusim.env_ids()
    assert "gpusim/Pole-v7" not in gymnasium.registry


@pytest.mark.parametrize("name", ["Cart Pole", "gpusim/Pole-v1", "", 3, "Pole:v1"])
def test_ids(name):
    with pytest.raises(InputError, match="is no id"):
        gpusim.register(dataclasses.replace(CARTPOLE, id=name))
    assert name not in gpusim.env_ids()


@pytest.fixture
def registries(monkeypatch):
    """Both, to be written to."""
    monkeypatch.setattr(gpusim.registry, "_ENVS", dict(gpusim.registry._ENVS))
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)


def test_registering(registries):
    mine = dataclasses.replace(CARTPOLE, id="Mine-v0", max_episode_steps=None)
    assert gpusim.register(mine) is gpusim.register(mine) is mine
    assert gpusim.env_ids()[-1] == "Mine-v0"
    assert make("Mine-v0").max_episode_steps is None
    assert gymnasium.make_vec("gpusim/Mine-v0", num_envs=2, device="cpu").task is mine


def again(env):
    with pytest.warns(
        UserWarning, match="'Mine-v0' is registered again: what is made of that id from now on is the new"
    ):
        return gpusim.register(env)


def test_registering_again_replaces(registries):
    """As where a notebook's cell is run twice, or a module is loaded again."""
    old = gpusim.register(dataclasses.replace(CARTPOLE, id="Mine-v0"))
    kept = make("Mine-v0")
    new = again(dataclasses.replace(old, max_episode_steps=7, reward_threshold=5.0))
    assert gpusim.spec("Mine-v0") is make("Mine-v0").task is new
    assert kept.task is old
    theirs = gymnasium.spec("gpusim/Mine-v0")
    assert (theirs.max_episode_steps, theirs.reward_threshold) == (7, 5.0)
    assert gymnasium.make_vec("gpusim/Mine-v0", num_envs=2, device="cpu").max_episode_steps == 7
    with pytest.raises(InputError, match="max_episode_steps must be"):
        gpusim.register(dataclasses.replace(new, max_episode_steps=0))
    assert gpusim.spec("Mine-v0") is new
    assert gpusim.env_ids().count("Mine-v0") == 1


def test_registering_what_is_taken(registries):
    with pytest.raises(InputError, match="own with the id 'CartPole-v1' is registered already; choose another id"):
        gpusim.register(dataclasses.replace(CARTPOLE))
    with pytest.raises(InputError, match="'MinAtar-Breakout-v1' and 'MinAtar/Breakout-v1' would be one in Gymnasium"):
        gpusim.register(dataclasses.replace(CARTPOLE, id="MinAtar-Breakout-v1"))
    with pytest.raises(InputError, match=r"register takes a gpusim\.Env or a gpusim\.PhysicsEnv, not 'CartPole-v1'"):
        gpusim.register("CartPole-v1")
    assert gpusim.register(CARTPOLE) is CARTPOLE
