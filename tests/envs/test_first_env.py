"""`first_env=k`: rows k to k + n - 1 of a larger vector, bit for bit."""

from pathlib import Path

import pytest
import torch

import gpusim
from gpusim import InputError, Uniform
from gpusim.adapters import gymnasium_host
from gpusim.envs.classic import CLASSIC
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.envs.minatar import GAMES
from gpusim.host import HostVectorEnv
from gpusim.sim.stateful import SimulatorVectorEnv
from gpusim.tree import tree_map
from tests import interpreter
from tests.envs.slide import Slides
from tests.envs.test_vector import MODES, make, same
from tests.envs.toys import DRIFT, LOWERED, TOY
from tests.golden.cases import perceptron

FIRST, FEW, MANY = 5, 4, 11
RANDOM = {"CartPole-v1": {"gravity": Uniform(5.0, 20.0)}, "Drift-v0": {"edge": Uniform(0.6, 1.0)}}
each_mode = pytest.mark.parametrize("mode", MODES)


def rows(tree, dim):
    """Of `[MANY, ...]` or `[T, MANY, ...]`; what is one number for all stays."""
    return tree_map(lambda x: x.narrow(dim, FIRST, FEW) if x.ndim > dim else x, tree)


def transitions(rolled):
    """Of a rollout what is `[T, N, ...]`, and what is `[N, ...]`."""
    fields = rolled._asdict()
    last, extras = fields.pop("last_obs"), fields.pop("extras")
    return {k: v for k, v in fields.items() if v is not None and v.ndim > 0} | extras, last


def assert_rows(few, many):
    """After the same calls two vectors, the one a part of the other, have given the same."""
    for vec in (few, many):
        vec.reset(seed=3)
    vector = len(few.single_observation_space.shape) == 1
    for policy in (None, blind(few)) if vector else (None,):
        (part, last), (whole, all_last) = (transitions(vec.rollout(9, policy)) for vec in (few, many))
        assert same(part, rows(whole, 1))
        assert same(last, rows(all_last, 0))
    action = many.rollout(1).action[0]
    few.rollout(1)
    assert same(few.step(action.narrow(0, FIRST, FEW)), rows(many.step(action), 0))
    mask = torch.arange(MANY) % 2 == 0
    part, whole = (
        vec.reset(options={"reset_mask": m})[0] for vec, m in ((few, mask.narrow(0, FIRST, FEW)), (many, mask))
    )
    assert same(part, rows(whole, 0))
    assert same(few.get_state()._replace(clock=0), rows(many.get_state()._replace(clock=0), 0))


def blind(vec):
    """A policy whose draws alone decide: a product of matrices has other last bits with other numbers of rows."""
    policy = perceptron(vec)
    return policy._replace(flat=torch.zeros_like(policy.flat))


def pair(env, mode, **kwargs):
    kwargs |= {"autoreset_mode": mode, "max_episode_steps": 4, "params": RANDOM.get(env.id), "validate": False}
    return make(env, FEW, first_env=FIRST, **kwargs), make(env, MANY, **kwargs)


@each_mode
@pytest.mark.parametrize("env", [*CLASSIC, *GAMES, TOY, *LOWERED], ids=lambda e: e.id)
def test_it_is_a_part_of_a_larger_vector(env, mode):
    assert_rows(*pair(env, mode))


@each_mode
def test_a_simulators_are_too(mode):
    make = lambda n, first: SimulatorVectorEnv(Slides(n), autoreset_mode=mode, validate=False, first_env=first)  # noqa: E731
    assert_rows(make(FEW, FIRST), make(MANY, 0))


def test_natively_they_are_too():
    assert_rows(*pair(DRIFT, "same_step", backend="native"))


@pytest.mark.slow
def test_in_kernels_they_are_too():
    pytest.importorskip("triton")
    interpreter.passes(Path(__file__).with_name("first_env_in_interpreter.py"))


def test_without_it_two_vectors_are_one_and_with_it_they_are_not():
    env, twin, other = (make(PENDULUM, 3, first_env=first) for first in (0, 0, 3))
    seen = [vec.reset(seed=0)[0] for vec in (env, twin, other)]
    assert torch.equal(seen[0], seen[1])
    assert not torch.isclose(seen[0], seen[2]).any()


@pytest.mark.parametrize("first", [-1, 2**31 - 4, 1.0, True, None])
def test_what_is_no_number_of_an_environment_is_refused(first):
    with pytest.raises(InputError, match="first_env must be a whole number"):
        gpusim.make("CartPole-v1", 5, device="cpu", first_env=first)
    assert gpusim.make("CartPole-v1", 5, device="cpu", first_env=2**31 - 5).reset(seed=0)[0].shape == (5, 4)


def test_environments_on_the_host_are_too():
    task = gymnasium_host.host_env("CartPole-v1")
    few, many = HostVectorEnv(task, 3, device="cpu", first_env=2), HostVectorEnv(task, 6, device="cpu")
    for vec in (few, many):
        vec.reset(seed=7)
    some, whole = few.rollout(30), many.rollout(30)
    for name in ("obs", "action", "reward", "terminated", "next_obs"):
        assert torch.equal(getattr(some, name), getattr(whole, name)[:, 2:5]), name
