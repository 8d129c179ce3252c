"""Run by test_fused.py in processes of their own, in which TRITON_INTERPRET=1 makes kernels run on the CPU.

`backend="triton"` against `backend="eager"`, which is the specification. All memory that torch is asked for empty is
filled with absurd values first, so that nothing unwritten goes unseen.
"""

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded

import gpusim
from gpusim import InputError, Uniform
from gpusim.envs.classic import CLASSIC, STATELESS
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.envs.memory.memory_chain import MEMORY_CHAIN
from gpusim.kernels import tune
from gpusim.testing import check_vector_env
from tests.envs.test_stateful_policy import remembering
from tests.envs.test_vector import MODES, actions, same
from tests.envs.toys import DRIFT, DUSK, LOWERED, SWARM, TOY, TRAIL
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out
WITHIN = {"rtol": 1e-5, "atol": 1e-5}
EXACT = ("action", "terminated", "truncated", "valid", "episode_length", "episodes", "length_sum")
each_env = pytest.mark.parametrize("env", [*CLASSIC, *LOWERED], ids=lambda e: e.id)
each_mode = pytest.mark.parametrize("mode", MODES)
RANDOM = {
    "CartPole-v1": {"gravity": Uniform(5.0, 20.0), "force": Uniform(5.0, 9.0)},
    "Drift-v0": {"edge": Uniform(0.6, 1.0)},
    "Swarm-v0": {"speed": Uniform(0.1, 0.2)},
    "Dusk-v0": {"fade": Uniform(0.1, 0.2), "glow": Uniform(0.3, 0.6)},
}


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, poisoned(getattr(torch, name)))
    assert torch.empty(2).isnan().all()


def poisoned(make):
    def made(*args, **kwargs):
        memory = make(*args, **kwargs)
        return memory.fill_(torch.nan if memory.is_floating_point() else memory.dtype == torch.bool or 77)

    return made


def pair(env=CARTPOLE, num_envs=7, seed=11, **kwargs):
    """The same on the kernel and eagerly, at the same beginning, bit for bit."""
    kwargs = {"device": "cpu", "validate": False} | kwargs
    both = [gpusim.make(env, num_envs, backend=backend, **kwargs) for backend in ("triton", "eager")]
    first = [vec.reset(seed=seed)[0] for vec in both]
    assert same(*first)
    assert same(*(vec.get_state() for vec in both))
    return both


def agree(ours, theirs):
    """Numbers nearly, whole numbers and flags exactly, types and shapes too."""
    torch.testing.assert_close(ours, theirs, **WITHIN)


def agree_rolled(ours, theirs):
    agree(ours, theirs)
    for name in EXACT:
        if (value := getattr(theirs, name)) is not None:
            assert torch.equal(getattr(ours, name), value), name
    if theirs.valid is not None:
        assert torch.equal(ours.begun, theirs.begun)


SIZES = [(1, 5, 2), (7, 30, 3), (37, 5, 2), (100, 1, 1)]
FEW = (*LOWERED, *STATELESS, MEMORY_CHAIN)
CASES = [*((e, *size) for e in CLASSIC for size in SIZES), *((e, 7, 9, 3) for e in FEW), (SWARM, 37, 3, 1)]


@each_mode
@pytest.mark.parametrize(("env", "n", "steps", "limit"), CASES, ids=lambda x: getattr(x, "id", x))
def test_rollout(env, n, steps, limit, mode):
    """The limits ask for a second beginning, and a third, within one launch."""
    triton, eager = pair(env, n, autoreset_mode=mode, max_episode_steps=limit, params=RANDOM.get(env.id))
    ours, theirs = triton.rollout(steps), eager.rollout(steps)
    agree_rolled(ours, theirs)
    agree(triton.get_state(), eager.get_state())
    assert ours.episodes >= (n if mode == "disabled" else n * (steps // (limit + 1)))


@pytest.mark.parametrize(
    ("env", "mode"), [*((e, "same_step") for e in CLASSIC), (DRIFT, "next_step"), (SWARM, "disabled")]
)
def test_rollouts_are_split_anywhere(env, mode):
    """7 and 8 steps are 15, and the next start where no block of random words does; with the environment's own limit."""
    triton, eager = pair(env, 3, autoreset_mode=mode)
    parts, whole = [triton.rollout(7), triton.rollout(8)], eager.rollout(15)
    for name in gpusim.Rollout._fields[:9]:
        agree(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name))
    assert torch.equal(torch.cat([p.action for p in parts]), whole.action)
    assert triton.clock == eager.clock == 15
    agree(triton.rollout(6, transitions=False), eager.rollout(6, transitions=False))
    agree(triton.get_state(), eager.get_state())


@each_mode
@pytest.mark.parametrize("env", [CARTPOLE, DRIFT, TRAIL], ids=lambda e: e.id)
def test_statistics(env, mode):
    triton, eager = pair(env, 33, autoreset_mode=mode, max_episode_steps=2, params=RANDOM.get(env.id))
    triton.rollout(1, transitions=False)
    eager.rollout(1, transitions=False)
    ours, theirs = triton.rollout(6, transitions=False), eager.rollout(6, transitions=False)
    assert ours.obs is ours.reward is ours.valid is None
    agree_rolled(ours, theirs)
    agree(triton.get_state(), eager.get_state())
    assert ours.episodes >= 20


@each_mode
@each_env
def test_step(env, mode):
    """All that `step` returns, for actions of every dtype that is taken."""
    triton, eager = pair(env, 5, autoreset_mode=mode, max_episode_steps=2)
    for t, action in enumerate(actions(triton, 3)):
        action = action.int() if action.dtype == torch.int64 and t % 2 else action
        agree(triton.step(action), eager.step(action))
    agree(triton.get_state(), eager.get_state())


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("env", [CARTPOLE, SWARM, DUSK], ids=lambda e: e.id)
def test_reset_mask(env, mode):
    both = pair(env, 5, autoreset_mode=mode, max_episode_steps=2, params=RANDOM.get(env.id))
    for start in (0, 2):
        rolled = [vec.rollout(2 + start) for vec in both]
        agree_rolled(*rolled)
        mask = torch.arange(5) % 2 == start // 2
        agree(*(vec.reset(options={"reset_mask": mask}) for vec in both))
    agree(*(vec.rollout(3) for vec in both))
    agree(*(vec.get_state() for vec in both))


@pytest.mark.parametrize("env", [CARTPOLE, PENDULUM, SWARM, DUSK], ids=lambda e: e.id)
@pytest.mark.parametrize("mode", MODES[:2])
def test_the_state_goes_there_and_back(env, mode):
    """Begun by one backend, gone on with by the other, and the other way round."""
    triton, eager = pair(env, 5, autoreset_mode=mode, max_episode_steps=3, params=RANDOM.get(env.id))
    for given, taken in ((eager, triton), (triton, eager)):
        given.rollout(5)
        taken.set_state(given.get_state()._asdict())
        assert same(taken.get_state(), given.get_state())
        agree_rolled(triton.rollout(5), eager.rollout(5))


def test_a_state_may_lie_in_memory_in_any_order():
    triton, eager = pair(SWARM, 5)
    state = eager.get_state()
    turned = state.state._replace(height=(state.state.height + torch.rand(5, 8)).T.contiguous().T)
    for vec in (triton, eager):
        vec.set_state(state._replace(state=turned))
    assert not triton.get_state().state.height.is_contiguous()
    agree_rolled(triton.rollout(3), eager.rollout(3))
    agree(triton.get_state(), eager.get_state())


def test_parameters_of_every_kind():
    """Numbers, one for each environment, drawn at every reset (then bit for bit), and changed on the way."""
    params = {"gravity": Uniform(5.0, 20.0), "force": torch.linspace(5, 9, 7), "dt": Uniform(0.01, 0.03)}
    both = pair(CARTPOLE, params=params | {"mass_pole": 0.2}, max_episode_steps=2)
    agree_rolled(*(vec.rollout(7) for vec in both))
    drawn = [vec.get_state().params for vec in both]
    assert same(*drawn)
    assert drawn[0].gravity.unique().numel() == drawn[0].dt.unique().numel() == 7
    changes = {"gravity": 3.0, "mass_cart": torch.arange(1, 8), "force": Uniform(1.0, 2.0)}
    for name, values in changes.items():
        for vec in both:
            vec.set_attr(name, values)
        agree_rolled(*(vec.rollout(3) for vec in both))
    assert same(*(vec.get_state().params for vec in both))
    assert same(*(vec.get_attr("force") for vec in both))


@each_env
def test_beginnings_bit_for_bit(env):
    """Of the third episode, in the kernel, from the environment's index, the episode and the seed."""
    both = pair(env, 37, seed=2**62 + 5, max_episode_steps=1, params=RANDOM.get(env.id))
    agree(*(vec.rollout(3, transitions=False) for vec in both))
    ours, theirs = (vec.get_state() for vec in both)
    assert ours.episode.tolist() == [3] * 37
    assert same(ours, theirs)


@pytest.mark.parametrize("env", [CARTPOLE, DRIFT], ids=lambda e: e.id)
def test_actions_bit_for_bit_late_in_the_stream(env):
    """The counter of random actions passes 2**32."""
    both = pair(env, 3)
    for vec in both:
        vec.set_state(vec.get_state()._replace(clock=2**34 - 3))
    ours, theirs = (vec.rollout(6) for vec in both)
    assert torch.equal(ours.action, theirs.action)
    agree_rolled(ours, theirs)


def test_without_a_time_limit():
    both = pair(PENDULUM, 3, max_episode_steps=-1)
    ours, theirs = (vec.rollout(5) for vec in both)
    agree_rolled(ours, theirs)
    assert not ours.truncated.any()


def test_an_episode_may_end_in_both_ways_at_once():
    both = pair(CARTPOLE, 3, max_episode_steps=1, params={"x_limit": 0.0})
    ours, theirs = (vec.rollout(2) for vec in both)
    agree_rolled(ours, theirs)
    assert (ours.terminated & ours.truncated).all()


@pytest.mark.parametrize("transitions", [True, False])
@pytest.mark.parametrize("env", [CARTPOLE, TRAIL], ids=lambda e: e.id)
def test_a_policy(env, transitions):
    def policy(obs):
        return (obs.flatten(1).float().sum(1) > 0).long(), {"value": obs.flatten(1)[:, 0] * 2.0}

    both = pair(env, 5, max_episode_steps=3)
    ours, theirs = (vec.rollout(5, policy, transitions=transitions) for vec in both)
    agree_rolled(ours, theirs)
    agree(*(vec.get_state() for vec in both))


@each_mode
def test_a_policy_that_remembers(mode):
    both = pair(CARTPOLE, 5, autoreset_mode=mode, max_episode_steps=3)
    for env in both:
        env.rollout(4)
    ours, theirs = (vec.rollout(9, remembering(vec)) for vec in both)
    assert torch.equal(ours.extras["told"], ours.begun)
    assert torch.equal(ours.extras["steps"], theirs.extras["steps"])
    assert torch.equal(ours.begun, theirs.begun)
    assert ours.begun.any() == (mode != "disabled")


@each_mode
def test_reused_memory(mode):
    both = pair(TRAIL, 3, autoreset_mode=mode, copy=False, max_episode_steps=2)
    first = None
    for action in actions(both[0], 3):
        ours, theirs = (vec.step(action) for vec in both)
        agree(ours, theirs)
        first = ours if first is None else first
        assert ours[0] is first[0]


def test_a_step_leaves_what_it_was_given():
    """The state before it, an earlier rollout, the actions."""
    triton, _ = pair(SWARM, 5, max_episode_steps=2)
    state, rolled = triton.get_state(), triton.rollout(3)
    carry, kept = triton._carry, [x.clone() for x in (*triton._carry.state, *rolled[:9])]
    action = torch.ones(5, dtype=torch.int64)
    triton.step(action)
    triton.rollout(3)
    assert same([*carry.state, *rolled[:9]], kept)
    assert action.tolist() == [1] * 5
    triton.set_state(state)
    assert same(triton.rollout(3), rolled)


def test_in_inference_mode():
    triton, eager = pair(max_episode_steps=2)
    with torch.inference_mode():
        rolled, stepped = triton.rollout(3), triton.step(torch.ones(7, dtype=torch.int64))
    assert not any(x.is_inference() for x in (*rolled[:9], rolled.last_obs, *stepped[:4]))
    agree_rolled(rolled, eager.rollout(3))
    agree(stepped, eager.step(torch.ones(7, dtype=torch.int64)))


def test_the_number_of_environments_does_not_matter():
    few, many = (pair(DRIFT, n)[0].rollout(6) for n in (3, 40))
    assert all(same(a, b[:, :3]) for a, b in zip(few[:9], many[:9], strict=True))


@pytest.mark.parametrize("env", [TRAIL, DUSK], ids=lambda e: e.id)
def test_an_image_in_chunks_of_any_size(env):
    """50 and 156 cells are no multiples of 16, nor 19 environments of the block."""
    both = pair(env, 19, max_episode_steps=2)
    with tune.assumed("sm_90", {"observe": {"CHUNK": 16}}):
        ours, theirs = (vec.rollout(2) for vec in both)
    agree_rolled(ours, theirs)
    assert ours.obs.dtype == getattr(torch, env.observation_space.dtype.name)
    assert ours.obs.float().std() > 0.1


def trail_as_ints(s, cell, p):
    return (s.board >> (cell * 2)) & 3


def test_an_image_of_bools_may_be_told_in_ints():
    """What is not zero is True, and a byte in memory is 0 or 1."""
    env = gpusim.Env(**vars(TRAIL) | {"id": "Ints-v0", "observe": trail_as_ints, "observation_space": FLAT})
    ours, theirs = (vec.rollout(3).obs for vec in pair(env, 5))
    assert torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8))


FLAT = type(TRAIL.observation_space)(0, 1, (3, 4), dtype=np.bool_)


def test_what_is_refused_changes_nothing():
    triton, eager = pair(max_episode_steps=5, validate=True)
    for bad in (torch.zeros(6, dtype=torch.int64), torch.full((7,), 2), torch.zeros(7), None):
        with pytest.raises(InputError):
            triton.step(bad)
    with pytest.raises(InputError, match="num_steps"):
        triton.rollout(0)
    with pytest.raises(ResetNeeded):
        gpusim.make("CartPole-v1", 3, device="cpu", backend="triton").rollout(3)
    agree_rolled(triton.rollout(3), eager.rollout(3))


def test_beyond_the_vocabulary_is_refused_with_name_and_line():
    with pytest.raises(
        InputError, match=r'backend "triton" cannot run .*`torch.\w+` at .*toys.py:\d+ cannot be lowered'
    ):
        gpusim.make(TOY, 3, device="cpu", backend="triton")


def test_it_keeps_the_contract():
    check_vector_env(gpusim.make("CartPole-v1", 2, device="cpu", backend="triton", max_episode_steps=3))
