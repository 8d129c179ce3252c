"""`make` and `register` take one step of what they are given, and refuse what is wrong by a sentence."""

from pathlib import Path

import pytest
import torch

import gpusim
from gpusim import InputError
from gpusim.testing import check_vector_env
from gpusim.trial import Trial
from tests import interpreter
from tests.envs.numbers import LANES, NUMBERS, PAIRS
from tests.envs.test_vector import same
from tests.envs.wrong import ALL, PICTURE, RIGHT, wrong


def make(env, num_envs=4, **kwargs):
    return gpusim.make(env, num_envs, **({"device": "cpu", "backend": "eager"} | kwargs))


@pytest.mark.parametrize("name", ALL)
def test_a_wrong_definition_is_refused(name):
    env = wrong(name)
    for deed in (make, gpusim.register):
        with pytest.raises(InputError, match=ALL[name]) as refused:
            deed(env)
        sentence = str(refused.value)
        assert sentence.endswith(".")
        assert "\n" not in sentence
    assert env.id not in gpusim.env_ids()


def test_there_are_enough_of_them():
    assert len(ALL) >= 150


@pytest.mark.parametrize("env", [RIGHT, PICTURE], ids=["vector", "picture"])
def test_what_is_right_is_not_refused(env):
    check_vector_env(make(env, 6))


@pytest.mark.parametrize("id", gpusim.env_ids())
def test_ours_are_right(id):
    """They are not tried when they are made."""
    env = gpusim.spec(id)
    for lanes in ((), env.params._fields):
        assert not any(Trial(env, lanes).run()[2])


def rolled(env, **kwargs):
    vec = make(env, 7, **({"max_episode_steps": 3} | kwargs))
    obs, _ = vec.reset(seed=3)
    return obs, vec.rollout(8), vec.get_state()


@pytest.mark.parametrize("mode", ["same_step", "next_step"])
@pytest.mark.parametrize("env", PAIRS, ids=lambda e: e.id)
def test_numbers_are_as_good_as_lanes(env, mode):
    assert same(rolled(env, autoreset_mode=mode), rolled(PAIRS[env], autoreset_mode=mode))
    check_vector_env(make(env, 6), random=env is NUMBERS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler's own
@pytest.mark.xdist_group("compile")
def test_numbers_compiled():
    torch.testing.assert_close(rolled(NUMBERS, backend="compile"), rolled(LANES), rtol=1e-5, atol=1e-5)


def test_numbers_in_kernels():
    pytest.importorskip("triton")
    interpreter.passes(Path(__file__).parent / "numbers_in_interpreter.py")


def test_numbers_of_parameters_that_are_lanes():
    params = {"start": torch.linspace(0.0, 1.0, 7)}
    assert same(rolled(NUMBERS, params=params), rolled(LANES, params=params))
    drawn = {"start": gpusim.Uniform(0.0, 1.0)}
    assert same(rolled(NUMBERS, params=drawn), rolled(LANES, params=drawn))
