"""`backend="native"`: the same episodes as eagerly, bit for bit where only whole numbers and draws are concerned."""

import copy
import pickle
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

import gpusim
from gpusim import Env, Uniform
from gpusim.envs.classic import CLASSIC
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.envs.minatar import ALL_ACTIONS, GAMES
from gpusim.kernels import rounds
from gpusim.kernels.cpp import CompileError, loaded
from gpusim.kernels.lang import Lane, absolute, floor_divide, to_float, to_int, uniform, where
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.policy import MlpPolicy
from gpusim.sim.cpu import native as native_stepper
from gpusim.sim.cpu import threads
from gpusim.sim.cpu.eager import Narrow
from gpusim.sim.cpu.threads import AGAIN, SHORT, Pace
from gpusim.testing import check_vector_env
from gpusim.tree import tensors
from tests.envs.toys import DRIFT, DUSK, SWARM, TRAIL

each_mode = pytest.mark.parametrize("mode", ["same_step", "next_step", "disabled"])
RANDOM = {
    "CartPole-v1": {"gravity": Uniform(5.0, 20.0), "force": torch.linspace(5.0, 9.0, 67)},
    "Drift-v0": {"edge": Uniform(0.6, 1.0)},
    "Dusk-v0": {"fade": Uniform(0.1, 0.2)},
}
WITHIN = {"rtol": 1e-5, "atol": 1e-5}  # float32, other instructions for sine and cosine, sums in another order


def make(env=CARTPOLE, num_envs=7, **kwargs):
    return gpusim.make(env, num_envs, **({"device": "cpu", "backend": "native", "max_episode_steps": 9} | kwargs))


def pair(env=CARTPOLE, **kwargs):
    """The same as C++ and eagerly, at the same beginning."""
    both = make(env, **kwargs), make(env, backend="eager", **kwargs)
    for vec in both:
        vec.reset(seed=11)
    return both


def same(a, b):
    """Bit for bit, two trees of tensors."""
    return all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def close(a, b, **within):
    torch.testing.assert_close(a, b, **(within or WITHIN))


@each_mode
def test_native_is_eager(mode):
    native, eager = pair(autoreset_mode=mode, validate=False)
    ours, theirs = native.rollout(30), eager.rollout(30)
    close(ours[:9], theirs[:9])
    assert torch.equal(ours.action, theirs.action)
    for field in ("terminated", "truncated", "valid", "episode_length", "episodes"):
        assert torch.equal(getattr(ours, field), getattr(theirs, field)), field
    assert ours.episodes >= 7
    close(native.get_state()[:-1], eager.get_state()[:-1])


def test_beginnings_are_the_same_bit_for_bit():
    native, eager = pair(max_episode_steps=1)
    for _ in range(3):
        action = torch.zeros(7, dtype=torch.int64)
        assert torch.equal(native.step(action)[0], eager.step(action)[0])


@pytest.mark.parametrize("env", [CARTPOLE, PENDULUM], ids=lambda e: e.id)
def test_it_keeps_the_contract(env):
    """To the last bit of a sine: after a masked reset the observations of the others are what they were."""
    check_vector_env(make(env))


def test_the_number_of_environments_does_not_matter():
    walks = {}
    for n in (1, 2, 7, 4096):
        vec = make(num_envs=n)
        obs = [vec.reset(seed=3)[0]]
        obs += [vec.step(torch.arange(n) % 2)[0] for _ in range(12)]
        walks[n] = torch.stack(obs)
    assert torch.equal(walks[2], walks[7][:, :2])
    assert torch.equal(walks[7], walks[4096][:, :7])
    assert torch.equal(walks[1], walks[7][:, :1])


@pytest.mark.parametrize("chunks", [(1,) * 27, (8, 16, 3), (5, 22)], ids=str)
def test_chunks_do_not_matter(chunks):
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


@each_mode
@pytest.mark.parametrize("env", [*GAMES, *ALL_ACTIONS], ids=lambda e: e.id)
def test_games_are_what_they_are_eagerly_bit_for_bit(env, mode):
    """More than a tile, and a part of one."""
    native, eager = pair(env, num_envs=67, autoreset_mode=mode, validate=False, max_episode_steps=None)
    assert same(native.rollout(12), eager.rollout(12))
    assert same(native.rollout(150, transitions=False), eager.rollout(150, transitions=False))
    assert same(native.get_state(), eager.get_state())


@each_mode
@pytest.mark.parametrize("env", [*CLASSIC, DRIFT, SWARM, DUSK, TRAIL], ids=lambda e: e.id)
def test_given_actions_are_taken(env, mode):
    """Steps and their infos, with masked resets where nothing else resets."""
    params = RANDOM.get(env.id)
    native, eager = pair(env, num_envs=67, autoreset_mode=mode, params=params)
    for _ in range(12):
        action = torch.as_tensor(native.action_space.sample())
        ours, theirs = native.step(action), eager.step(action)
        close(ours, theirs)
        assert [x.dtype for x in tensors(ours)] == [x.dtype for x in tensors(theirs)]
        if mode == "disabled" and (over := native.over()).any():
            assert torch.equal(over, eager.over())
            close(*(vec.reset(options={"reset_mask": over})[0] for vec in (native, eager)))
    for a, b in zip(native.get_state().params, eager.get_state().params, strict=True):
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_threads_do_not_matter(monkeypatch):
    monkeypatch.setattr(Pace, "threads", lambda self, work, most: most)
    runs, threads = [], torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            vec = make(num_envs=1000, max_episode_steps=None)
            vec.reset(seed=5)
            runs.append((vec.rollout(40), vec.rollout(40, transitions=False), vec.get_state()))
    finally:
        torch.set_num_threads(threads)
    assert same(*runs)


def test_the_faster_number_of_threads_is_taken():
    """Both are tried; the slower one again, now and then; where there is little to do, one."""
    pace, work = Pace(), 1000
    taken = []
    for call in range(2 * AGAIN):
        taken.append(pace.threads(work, 4))
        seconds = {1: 8 * SHORT, 4: 3 * SHORT if call < AGAIN else 99 * SHORT}
        pace.took(taken[-1], seconds[taken[-1]], work)
    assert taken[:3] == [1, 4, 4]
    assert taken[:AGAIN].count(1) <= 2
    assert taken[AGAIN + 3 :].count(4) <= 1
    assert pace.threads(work // 100, 4) == pace.threads(work, 1) == 1


def test_without_its_other_libraries_steps_go_on(monkeypatch):
    """What was compiled at first can do all, should the compiler be gone since."""
    vec, twin = make(), make()
    policy = MlpPolicy(torch.zeros(MlpShape(4, 16, 16, 2, "tanh", False).size), MlpShape(4, 16, 16, 2, "tanh", False))
    for each in (vec, twin):
        each.reset(seed=1)
    expected = twin.rollout(9, transitions=False), twin.rollout(5, policy)

    def gone(*_):
        raise CompileError("there is no C++ compiler")

    monkeypatch.setattr(native_stepper, "_library", gone)
    ours = vec.rollout(9, transitions=False), vec.rollout(5, policy)
    close(ours, expected)
    assert same(ours[0], expected[0])


def test_an_interrupted_rollout_was_not_made(monkeypatch):
    vec, twin = make(), make()
    vec.reset(seed=1)
    twin.reset(seed=1)
    monkeypatch.setattr(native_stepper, "CALL", 0.0)  # each step is a call
    calls, go = [], native_stepper.on_threads

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        go(*args)

    monkeypatch.setattr(native_stepper, "on_threads", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vec.rollout(9, transitions=False)
    monkeypatch.undo()
    assert same(vec.rollout(20), twin.rollout(20))


def test_boards_are_computed_cell_by_cell():
    native, eager = pair(TRAIL)
    ours, theirs = native.rollout(20), eager.rollout(20)
    assert ours.obs.dtype == torch.bool
    for a, b in ((ours.obs, theirs.obs), (ours.next_obs, theirs.next_obs), (ours.last_obs, theirs.last_obs)):
        assert torch.equal(a, b)
        assert a.is_contiguous()


def test_parameters_may_change():
    native, eager = pair(max_episode_steps=8)
    for value in (3.0, 5.0, torch.linspace(1, 9, 7)):
        for vec in (native, eager):
            vec.set_attr("gravity", value)
        close(native.rollout(3).next_obs, eager.rollout(3).next_obs)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda vec: pickle.loads(pickle.dumps(vec))], ids=["copy", "pickle"])
def test_a_copy_goes_on_by_itself(copied):
    vec = make()
    vec.reset(seed=2)
    vec.rollout(13)
    twin = copied(vec)
    ours = vec.rollout(20)
    assert same(ours, twin.rollout(20))
    assert same(vec.get_state(), twin.get_state())


def test_threads_are_waited_for_though_one_is_interrupted():
    class Begun:
        waits, done = 0, False

        def result(self):
            Begun.waits += 1
            if Begun.waits == 1:
                raise KeyboardInterrupt
            self.done = True

    begun = [Begun(), Begun()]
    with pytest.raises(KeyboardInterrupt):
        threads._joined(begun)
    assert all(other.done for other in begun)


@pytest.mark.parametrize("wrong", ["inputs", "outputs", "gaussian", "flat", "mean"])
@pytest.mark.parametrize("backend", ["native", "eager"])
def test_a_policy_of_other_spaces_is_refused(backend, wrong):
    """C++ would read beyond its weights."""
    vec = make(PENDULUM, backend=backend)
    vec.reset(seed=0)
    shape = MlpShape.of(vec.single_observation_space, vec.single_action_space, (16, 16))
    changed = {"inputs": 2, "outputs": 2, "gaussian": False}
    shape = shape._replace(**{k: v for k, v in changed.items() if k == wrong})
    flat = torch.zeros(shape.size - (wrong == "flat"))
    mean = torch.zeros(3, dtype=torch.float64) if wrong == "mean" else None
    with pytest.raises(
        gpusim.InputError,
        match=f"the policy does not fit the environment: its {'shape' if wrong in changed else wrong}",
    ):
        vec.rollout(3, MlpPolicy(flat, shape, mean, mean))


def test_late_in_a_stream_with_an_end_at_every_step():
    """Counters of more than 32 bits; more final observations to be valued than a tile holds, of a part of a tile too."""
    native, eager = pair(DRIFT, num_envs=67, max_episode_steps=1)
    late = eager.get_state()._replace(clock=2**35 + 3)
    shape = MlpShape.of(native.single_observation_space, native.single_action_space, (16, 17), "relu")
    policy = MlpPolicy(0.3 * torch.randn(shape.size, generator=torch.Generator().manual_seed(0)), shape)
    for vec in (native, eager):
        vec.set_state(late)
    close(native.rollout(6)[:9], eager.rollout(6)[:9])
    ours, theirs = native.rollout(25, policy), eager.rollout(25, policy)
    for name in theirs.extras:
        close(ours.extras[name], theirs.extras[name])
    close(ours[:9], theirs[:9])


def test_half_of_a_normalization_is_none():
    """And NaN in the weights is NaN in what is told."""
    native, eager = pair(PENDULUM, num_envs=67, max_episode_steps=3)
    shape, one = MlpShape.of(native.single_observation_space, native.single_action_space, (16, 17)), torch.ones(1)
    flat = 0.3 * torch.randn(shape.size, generator=torch.Generator().manual_seed(0))
    for policy in (MlpPolicy(flat, shape, mean=torch.ones(3)), MlpPolicy(flat, shape, centre=one)):
        ours, theirs = native.rollout(5, policy), eager.rollout(5, policy)
        close(ours.extras["value"], theirs.extras["value"])
        close(ours.action, theirs.action)
    flat[0] = torch.nan  # the logarithm of a standard deviation
    assert native.rollout(2, MlpPolicy(flat, shape)).extras["log_prob"].isnan().all()


def test_state_goes_from_one_backend_to_the_other():
    native, eager = pair()
    native.rollout(13)
    eager.set_state(native.get_state())
    close(native.rollout(12)[:9], eager.rollout(12)[:9])


POLICIES = [(CARTPOLE, "tanh", 13), (PENDULUM, "relu", 11), (CLASSIC[0], "tanh", None)]


@pytest.mark.parametrize(("env", "activation", "limit"), POLICIES, ids=lambda x: getattr(x, "id", x))
def test_a_policy_in_the_loop_does_what_it_does_beside_it(env, activation, limit):
    """Ends by the limit and by the task, in a part of a tile too; what was told of each step, values included."""
    native, eager = pair(env, num_envs=67, max_episode_steps=limit or env.max_episode_steps)
    shape = MlpShape.of(env.observation_space, env.action_space, (33, 48), activation)
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    half = torch.from_numpy((env.action_space.high - env.action_space.low) / 2) if shape.gaussian else None
    centre = None if half is None else torch.zeros_like(half)
    policy = MlpPolicy(draw(shape.size) * 0.15, shape, draw(shape.inputs), draw(shape.inputs).exp(), centre, half)
    ours, theirs = native.rollout(30, policy), eager.rollout(30, policy)
    assert ours.extras.keys() == theirs.extras.keys()
    close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert ours.truncated.any() == bool(limit)
    close(native.rollout(7, policy), eager.rollout(7, policy), rtol=1e-3, atol=1e-3)


def test_states_that_were_looked_at_are_gone_on_from():
    """A look copies; steps after it are those that would have been without it."""
    vec, twin = make(), make()
    for each in (vec, twin):
        each.reset(seed=1)
    for _ in range(3):
        before = vec.get_state()
        assert same(vec.step(torch.ones(7, dtype=torch.int64)), twin.step(torch.ones(7, dtype=torch.int64)))
        vec.set_state(before)
        vec.step(torch.ones(7, dtype=torch.int64))
        vec.episodes  # noqa: B018
    assert same(vec.get_state(), twin.get_state())


class Counted(NamedTuple):
    n: Lane  # int32, about the greatest that float32 tells from the next


class By(NamedTuple):
    k: float = 2  # an int


def counted_init(rng, p):
    return Counted(to_int(uniform(rng, 0, 0.0, 5.0)) + 2**24)


def counted_step(s, action, rng, p):
    n = s.n + 1 + to_int(rng.seed & 7)
    return Counted(n), to_float(floor_divide(n, p.k)), n > 2**24 + 64.5


def counted_observe(s, cell, p):
    return to_float(cell) * 0.1 + to_float(s.n & 3)


COUNTED = Env("Counted-v0", counted_init, counted_step, counted_observe, By(), Box(0.0, 9.0, (3, 5)), Discrete(2), None)


@pytest.mark.parametrize("params", [None, {"k": 2.0}], ids=str)
def test_ints_beside_floats_numbers_of_either_kind_and_the_seed(params):
    """2 and 2.0 are the same key of a dict, and give another quotient."""
    native, eager = pair(COUNTED, params=params, max_episode_steps=None)
    assert same(native.rollout(30), eager.rollout(30))


def test_numpy_compares_no_int_with_a_float():
    """It would do so in float64."""
    lane = np.zeros(1, np.int32).view(Narrow)
    assert (lane > 2).dtype == bool
    for compared in (lambda: lane > 2.5, lambda: lane == np.ones(1, np.float32)):
        with pytest.raises(TypeError, match="float64"):
            compared()


class Chain(NamedTuple):
    a: Lane
    b: Lane
    hits: Lane  # int32


class Pull(NamedTuple):
    spring: float = 0.4
    rounds: float = 3  # an int


def chain_init(rng, p):
    a, b, c = uniform(rng, 0, -1.0, 1.0), 0.0, uniform(rng, 1, 0.5, 1.0)
    for i in range(400):
        b = b * 0.9 + a * c * i * 0.01
        a = a * 0.99
    return Chain(a, b, to_int(c * 3.0))


def pulled(s, force, weight, p):
    a = s.a + weight * (s.b - p.spring * s.a)
    return Chain(a, s.b * 0.99 + weight * (force - a), s.hits)


def chain_step(s, action, rng, p):
    gust, bumped, hits = uniform(rng, 0, -0.1, 0.1), False, s.hits
    for _ in range(40):
        first = s
        for i in range(int(p.rounds)):
            w = 0.01 * (1.0 + 0.5 * i * (3 - i))
            for _ in range(4):
                first = pulled(first, action + gust, w, p)
            hit = first.a > 0.9
            bumped = bumped | hit
        s = Chain(where(hit, 0.9, first.a), first.b, first.hits)
        hits = hits + to_int(hit)
    return Chain(s.a, s.b, hits), s.b - 0.1 * to_float(hits & 3), bumped & (hits > 20)


def chain_observe(s, p):
    x, y = s.a, s.b
    for i in range(200):
        x, y = x * 0.999 + 1e-5 * i * y, absolute(y) * 0.999 - x * 1e-4
    return x, y, to_float(s.hits)


CHAIN = Env("Chain-v0", chain_init, chain_step, chain_observe, Pull(), Box(-99.0, 99.0, (3,)), Box(-1.0, 1.0, (1,)), 9)


@each_mode
def test_loops_stay_loops(mode, monkeypatch):
    """In steps, beginnings and observations."""
    sources = []

    def seen(source, *rest):
        sources.append(source)
        return loaded(source, *rest)

    monkeypatch.setattr(native_stepper, "loaded", seen)
    monkeypatch.setattr(rounds, "SHORT", 50)
    native, eager = pair(CHAIN, num_envs=67, autoreset_mode=mode, validate=False)
    ours, theirs = native.rollout(30), eager.rollout(30)
    close(ours[:9], theirs[:9], rtol=1e-4, atol=1e-4)
    assert torch.equal(ours.terminated, theirs.terminated)
    assert ours.terminated.any()
    step, rest = sources[0].split("INLINE void begin(")
    begin, observe = rest.split("INLINE void observe(")
    assert [text.count("for (int64_t vn") for text in (step, begin, observe)] == [2, 0, 0]
    assert [text.count(f"for (int64_t {name}n") for text, name in ((begin, "b"), (observe, "o"))] == [1, 1]
