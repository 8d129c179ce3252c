"""`make` and `register` take one step of what they are given, and refuse what is wrong by a sentence."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

import gpusim
from gpusim import InputError
from gpusim.envs.classic import CLASSIC
from gpusim.envs.minatar import MINATAR
from gpusim.kernels.lang import where, zeros_like
from gpusim.sim.cpu.eager import keeps_to_vocabulary
from gpusim.testing import check_vector_env
from gpusim.trial import Trial
from tests import interpreter
from tests.envs.numbers import LANES, NUMBERS, PAIRS
from tests.envs.test_vector import same
from tests.envs.wrong import ALL, PICTURE, RIGHT, State, init, step, wrong
from tests.envs.wrong import __file__ as wrong_py


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


@pytest.mark.parametrize("env", [*CLASSIC, *MINATAR], ids=lambda env: env.id)
def test_ours_are_right(env):
    """They are not tried when they are made."""
    assert keeps_to_vocabulary(env)
    for lanes in ((), env.params._fields):
        assert not any(Trial(env, lanes).run()[2])


def test_what_is_seen_outside_its_space_is_warned_of_once():
    env = dataclasses.replace(RIGHT, id="Outside-v0", observation_space=Box(-1.0, 1.0, (3,)), init=far_away)
    with pytest.warns(
        UserWarning, match=r"observe of Outside-v0 \(.*wrong.py:\d+\) gives 7 to 7 as entry 0 .* outside \[-1, 1\]"
    ):
        vec = make(env)
    make(env)
    with pytest.raises(AssertionError, match="the obs of reset lies outside Box"):
        check_vector_env(vec)


def far_away(rng, p):
    return RIGHT.init(rng, p)._replace(x=7.0)


def rare(rng, p):
    """NaN where a draw is below a hundredth."""
    s = RIGHT.init(rng, p)
    return s._replace(x=where(s.v < -0.49, float("nan"), s.x))


def late(s, action, rng, p):
    """From the fifth step on the reward is another environment's."""
    new, reward, terminated = RIGHT.step(s, action, rng, p)
    return new, where(new.n > 4, reward.flip(0), reward), terminated


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"init": rare}, "raised InputError while its functions were tried: the init of .* gives NaN as `x`"),
        ({"step": late}, "of an environment depends on the environments beside it"),
    ],
    ids=["NaN at some beginnings", "another's reward later on"],
)
def test_what_one_step_does_not_show_the_checker_finds(changes, sentence):
    vec = make(dataclasses.replace(RIGHT, id="Later-v0", **changes), 6)
    with pytest.raises(AssertionError, match=sentence):
        check_vector_env(vec)


@pytest.mark.parametrize("given", [{"edge": torch.linspace(0.5, 1.0, 4)}, {"edge": gpusim.Uniform(0.5, 1.0)}])
def test_a_parameter_that_cannot_be_a_lane(given):
    """As long as it is a number, Python's own functions take it."""
    env = dataclasses.replace(RIGHT, id="Bound-v0", observe=lambda s, p: (s.x, s.v, s.x * math.sqrt(p.edge)))
    vec = make(env)
    sentence = r"the observe of Bound-v0 \(.*\) looks at the values of lanes \(float\).* as sin\(x\), not math.sin\(x\)"
    with pytest.raises(InputError, match=sentence):
        make(env, params=given)
    vec.reset(seed=0)
    with pytest.raises(InputError, match=sentence):
        vec.set_attr("edge", given["edge"])
    vec.step(torch.zeros(4, dtype=torch.int64))


def test_the_place_is_the_authors():
    """Of an error inside of a word, the line that used the word."""
    with pytest.raises(InputError) as refused:
        make(wrong("a word of a number"))
    line = next(
        i for i, text in enumerate(Path(wrong_py).read_text().splitlines(), 1) if '"a word of a number"' in text
    )
    assert f"({wrong_py}:{line})" in str(refused.value)


def of_a_tensor(s, action, rng, p):
    x = s.x
    new, reward, terminated = step(s, action, rng, p)
    return new, reward + (1.0 if x.is_cuda else 2.0), terminated


def test_what_only_a_tensor_has():
    """NumPy's arrays stand for lanes where they can."""
    given = dataclasses.replace(RIGHT, id="Tensor-v0", step=of_a_tensor)
    torch.testing.assert_close(rolled(given)[1].reward, rolled(RIGHT)[1].reward + 2.0)
    assert keeps_to_vocabulary(RIGHT)
    assert not keeps_to_vocabulary(given)


def endless(x):
    return where(x > 9.0, x / zeros_like(x), x)


def far(rng, p):
    s = init(rng, p)
    return State(endless(s.x), s.v, s.n, s.near)


def see(s, p):
    return endless(s.x), s.v, s.v


def test_what_is_not_chosen_may_be_no_number():
    """NumPy would warn of it."""
    env = dataclasses.replace(RIGHT, id="Endless-v0", init=far, observe=see)
    plain = dataclasses.replace(RIGHT, id="Plain-v0", observe=lambda s, p: (s.x, s.v, s.v))
    assert same(rolled(env), rolled(plain))


def test_what_it_does_itself_it_may_write_to():
    """A tensor of one's own, made and filled in a step, is nobody else's."""

    def step(s, action, rng, p):
        own = zeros_like(s.near)
        own[:, 0] = s.x
        own += 1.0
        own[:, 1:].clamp_(max=0.5)
        return RIGHT.step(s._replace(near=own), action, rng, p)

    check_vector_env(make(dataclasses.replace(RIGHT, id="Own-v0", step=step), 6))


def rolled(env, **kwargs):
    vec = make(env, 7, **({"max_episode_steps": 3} | kwargs))
    obs, _ = vec.reset(seed=3)
    return obs, vec.rollout(8), vec.get_state()


@pytest.mark.parametrize("mode", ["same_step", "next_step"])
@pytest.mark.parametrize("env", PAIRS, ids=lambda e: e.id)
def test_numbers_are_as_good_as_lanes(env, mode):
    assert same(rolled(env, autoreset_mode=mode), rolled(PAIRS[env], autoreset_mode=mode))
    check_vector_env(make(env, 6), random=env is NUMBERS)


@pytest.mark.parametrize("over", [False, True])
def test_numbers_of_numpy(over):
    def numbers(state, number, end):
        def begin(rng, p):
            return RIGHT.init(rng, p)._replace(n=end(state), x=number(0.5))

        def go(s, action, rng, p):
            return s._replace(n=end(not state), x=number(0.25)), number(2.0), end(over)

        env = dataclasses.replace(RIGHT, id="Bools-v0", init=begin, step=go)
        return dataclasses.replace(env, observe=lambda s, p: (s.x, s.v, number(4.0)))

    for state in (False, True):
        assert same(rolled(numbers(state, np.float32, np.bool_)), rolled(numbers(state, float, bool)))


def test_cells_of_numpy():
    cells = [dataclasses.replace(PICTURE, observe=lambda s, cell, p, t=t: t(True)) for t in (np.bool_, bool)]
    assert same(*map(rolled, cells))
    assert rolled(cells[0])[0].all()


def test_numbers_natively():
    torch.testing.assert_close(rolled(NUMBERS, backend="native"), rolled(LANES), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_numbers_in_kernels():
    pytest.importorskip("triton")
    interpreter.passes(Path(__file__).parent / "numbers_in_interpreter.py")


def test_numbers_of_parameters_that_are_lanes():
    params = {"start": torch.linspace(0.0, 1.0, 7)}
    assert same(rolled(NUMBERS, params=params), rolled(LANES, params=params))
    drawn = {"start": gpusim.Uniform(0.0, 1.0)}
    assert same(rolled(NUMBERS, params=drawn), rolled(LANES, params=drawn))
