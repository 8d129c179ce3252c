"""`backend="compile"`: the same episodes as eagerly, bit for bit where only whole numbers and draws are concerned.

Compilation takes seconds, so the cases are few, and CartPole stands for the others; that every environment and mode is
one graph without a look at a value is held in test_vector.py.
"""

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

import gpusim
from gpusim import Uniform, stepper
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.envs.minatar.breakout import BREAKOUT
from gpusim.kernels.lang import STREAM_STEP, Lane, uniform
from gpusim.stepper import DrawsAhead, blocks
from gpusim.testing import check_vector_env
from tests.envs.toys import DRIFT, SWARM, TOY, TRAIL

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's compiler's own
    pytest.mark.xdist_group("compile"),
]
WITHIN = {"rtol": 1e-5, "atol": 1e-5}  # float32, other instructions for sine and cosine, sums in another order


def make(env=CARTPOLE, num_envs=7, **kwargs):
    return gpusim.make(env, num_envs, **({"device": "cpu", "backend": "compile", "max_episode_steps": 9} | kwargs))


def pair(env=CARTPOLE, **kwargs):
    """The same compiled and eagerly, at the same beginning."""
    both = make(env, **kwargs), make(env, backend="eager", **kwargs)
    for vec in both:
        vec.reset(seed=11)
    return both


def close(a, b, **within):
    torch.testing.assert_close(a, b, **(within or WITHIN))


@pytest.mark.parametrize("mode", ["same_step", "next_step", "disabled"])
def test_compiled_is_eager(mode):
    compiled, eager = pair(autoreset_mode=mode, validate=False)
    ours, theirs = compiled.rollout(30), eager.rollout(30)
    close(ours[:9], theirs[:9])
    assert torch.equal(ours.action, theirs.action)
    for field in ("terminated", "truncated", "valid", "episode_length", "episodes"):
        assert torch.equal(getattr(ours, field), getattr(theirs, field)), field
    assert ours.episodes >= 7
    close(compiled.get_state()[:-1], eager.get_state()[:-1])


def test_beginnings_are_the_same_bit_for_bit():
    compiled, eager = pair(max_episode_steps=1)
    for _ in range(3):
        action = torch.zeros(7, dtype=torch.int64)
        assert torch.equal(compiled.step(action)[0], eager.step(action)[0])


def test_an_environment_of_every_kind_of_field():
    """Draws in the step, ints, entities, two actions, parameters that are drawn or lanes."""
    params = {"edge": Uniform(0.6, 1.0), "noise": torch.linspace(0.1, 0.3, 7)}
    compiled, eager = pair(TOY, params=params)
    close(compiled.rollout(20), eager.rollout(20))
    assert compiled.get_state().state.count.dtype == torch.int64


@pytest.mark.parametrize("env", [CARTPOLE, PENDULUM], ids=lambda e: e.id)
def test_it_keeps_the_contract(env):
    """To the last bit of a sine: after a masked reset the observations of the others are what they were."""
    check_vector_env(make(env))


def test_the_number_of_environments_does_not_matter():
    """Bit for bit, but for a single one: for that the compiler writes scalar code, with another sine."""
    walks = {}
    for n in (1, 2, 7, 4096):
        vec = make(num_envs=n)
        obs = [vec.reset(seed=3)[0]]
        obs += [vec.step(torch.arange(n) % 2)[0] for _ in range(12)]
        walks[n] = torch.stack(obs)
    assert torch.equal(walks[2], walks[7][:, :2])
    assert torch.equal(walks[7], walks[4096][:, :7])
    close(walks[1], walks[7][:, :1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunks", [(1,) * 27, (8, 16, 3), (5, 22)], ids=str)
def test_chunks_do_not_matter(chunks):
    """Eight steps are one compiled function where only statistics are wanted; bit for bit the same as one by one."""
    vec, twin = make(), make()
    vec.reset(seed=1)
    twin.reset(seed=1)
    whole = vec.rollout(27)
    parts = [twin.rollout(count, transitions=False) for count in chunks]
    for field in ("episodes", "return_sum", "length_sum"):
        assert torch.equal(getattr(whole, field), sum(getattr(p, field) for p in parts)), field
    assert torch.equal(whole.last_obs, parts[-1].last_obs)
    for a, b in zip(vec.get_state().state, twin.get_state().state, strict=True):
        assert torch.equal(a, b)


def test_the_blocks_of_words_that_a_step_uses_are_known():
    assert [blocks(env)[STREAM_STEP] for env in (TOY, DRIFT, BREAKOUT)] == [(0,), (0, 1), (0,)]


@pytest.mark.slow
def test_words_drawn_ahead_for_a_span_are_those_of_each_step():
    """Over steps in which one episode ends and never a second, with entities `[N, 8]` too."""
    compiled, eager = pair(SWARM, num_envs=300, max_episode_steps=SWARM.max_episode_steps)
    ours, theirs = compiled.rollout(43, transitions=False), eager.rollout(43, transitions=False)
    assert ours.episodes > 900
    close(ours[-4:], theirs[-4:])
    close(compiled.get_state(), eager.get_state())


def blink(s, action, rng, p):
    x = uniform(rng, 0, 0.0, 1.0)
    return Blinking(x), x, x < 0.5


class Blinking(NamedTuple):
    x: Lane


def blink_init(rng, p):
    return Blinking(uniform(rng, 0, 0.0, 1.0))


def test_a_second_beginning_within_a_span(monkeypatch):
    """Every other step ends an episode, so that some spans are taken at once and others step by step; run uncompiled."""
    monkeypatch.setattr(stepper, "Compiled", lambda function, **_: function)
    env = replace(CARTPOLE, id="Blink-v0", init=blink_init, step=blink, observe=lambda s, p: (0.1 * s.x,) * 4)
    compiled, eager = pair(env, num_envs=2, max_episode_steps=None)
    take, clashes = DrawsAhead._take, []

    def watched(self, c, actions, *rest):
        result = take(self, c, actions, *rest)
        if len(actions) > 1:
            clashes.append(bool(result[3]))
        return result

    monkeypatch.setattr(DrawsAhead, "_take", watched)
    ours, theirs = compiled.rollout(60, transitions=False), eager.rollout(60, transitions=False)
    assert set(clashes) == {True, False}
    close(ours[-4:], theirs[-4:], rtol=0, atol=0)
    close(compiled.get_state(), eager.get_state(), rtol=0, atol=0)


@pytest.mark.slow
def test_boards_are_computed_cell_by_cell():
    compiled, eager = pair(TRAIL)
    ours, theirs = compiled.rollout(20), eager.rollout(20)
    assert ours.obs.dtype == torch.bool
    for a, b in ((ours.obs, theirs.obs), (ours.next_obs, theirs.next_obs), (ours.last_obs, theirs.last_obs)):
        assert torch.equal(a, b)
        assert a.is_contiguous()


@pytest.mark.slow
def test_parameters_may_change():
    compiled, eager = pair(max_episode_steps=8)
    for value in (3.0, 5.0, torch.linspace(1, 9, 7)):
        for vec in (compiled, eager):
            vec.set_attr("gravity", value)
        close(compiled.rollout(3).next_obs, eager.rollout(3).next_obs)


def test_state_goes_from_one_backend_to_the_other():
    compiled, eager = pair()
    compiled.rollout(13)
    eager.set_state(compiled.get_state())
    close(compiled.rollout(12)[:9], eager.rollout(12)[:9])
