"""`Env.with_reward`: the reward is what the function says, on every backend, and all else is as it was."""

import ctypes
import dataclasses
import functools
import inspect
import pickle
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

import gpusim
from gpusim import InputError, Uniform, engine
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.mountain_car import MOUNTAIN_CAR
from gpusim.kernels import launch
from gpusim.kernels.lang import absolute, sin, sum_, to_float, where, zeros_like
from gpusim.kernels.launch import recording
from gpusim.kernels.lower import lower
from gpusim.kernels.offline import compile_for
from gpusim.testing import check_vector_env
from tests import interpreter
from tests.envs.test_vector import MODES, make, same
from tests.envs.toys import DRIFT, SWARM, TRAIL
from tests.envs.wrong import RIGHT

pytest.importorskip("triton")
WITHIN = {"rtol": 1e-5, "atol": 1e-5}
GAMMA = 0.99


def energy(s):
    return 0.0025 * sin(3.0 * s.position) + 0.5 * s.velocity * s.velocity


def climb(s, action, new, reward, terminated, p):
    """Potential-based: no potential is left at the end."""
    return reward + p.weight * (GAMMA * where(terminated, 0.0, energy(new)) - energy(s))


def scaled(scale):
    return lambda s, action, new, reward, terminated, p: scale * reward + new.theta * p.half_length


def costly(cost):
    def cost_of_action(s, action, new, reward, terminated, p):
        return reward - cost * (absolute(action[0]) + absolute(action[2])) - terminated * p.noise

    return cost_of_action


def survivors(s, action, new, reward, terminated, p):
    return sum_(new.alive) + to_float(action) + reward


plus, minus = (lambda s, a, n, r, t, p: r + 1.5 * n.push), (lambda s, a, n, r, t, p: r - 2.5 * s.x)  # on one line

CLIMB = MOUNTAIN_CAR.with_reward(climb, params={"weight": 300.0}, id="Climb-v0")
CHAIN = CARTPOLE.with_reward(scaled(0.5)).with_reward(scaled(3.0)).with_reward(scaled(-1.0), id="Chain-v0")
COSTLY = DRIFT.with_reward(minus).with_reward(plus).with_reward(costly(0.25), id="Costly-v0")
CROWD = SWARM.with_reward(survivors, id="Crowd-v0")
ENDS = TRAIL.with_reward(lambda s, action, new, reward, terminated, p: terminated, id="Ends-v0")
EVEN = DRIFT.with_reward(lambda s, action, new, reward, terminated, p: -1, id="Even-v0")
SHAPED = {CLIMB: MOUNTAIN_CAR, CHAIN: CARTPOLE, COSTLY: DRIFT, CROWD: SWARM, ENDS: TRAIL, EVEN: DRIFT}
each_shaped = pytest.mark.parametrize("env", SHAPED, ids=lambda e: e.id)
without_interpreter = pytest.mark.skipif(launch.interpreted(), reason="kernels are interpreted in this process")


def rolled(env, num_envs=7, steps=30, **kwargs):
    vec = make(env, num_envs, **kwargs)
    vec.reset(seed=5)
    return vec.rollout(steps)


def energy_by_hand(obs):
    position, velocity = obs.double().numpy().transpose(2, 0, 1)
    return 0.0025 * np.sin(3 * position) + velocity**2 / 2


@pytest.mark.parametrize("weight", [300.0, 0.0, torch.linspace(-50, 400, 7)], ids=["number", "nothing", "lanes"])
def test_a_potential_by_hand(weight):
    """The weight is a parameter like any other; some episodes end at the goal, at which the potential is 0."""
    out = rolled(CLIMB, params={"weight": weight, "goal_position": -0.48, "goal_velocity": -1.0})
    ends = out.terminated.numpy()
    assert 0 < ends.sum() < ends.size
    potential = GAMMA * np.where(ends, 0.0, energy_by_hand(out.next_obs)) - energy_by_hand(out.obs)
    np.testing.assert_allclose(out.reward, -1 + np.asarray(weight) * potential, atol=1e-5)


def test_a_chain_by_hand():
    """Each function is given the reward of the one before, and its own constant."""
    out = rolled(CHAIN)
    bonus = out.next_obs.double()[:, :, 2] * CARTPOLE.params.half_length
    expected = -(3.0 * (0.5 + bonus) + bonus) + bonus
    torch.testing.assert_close(out.reward.double(), expected, rtol=0, atol=1e-6)


def test_actions_draws_and_a_reward_of_bools_by_hand():
    out, plain = rolled(COSTLY, params={"noise": 0.5}), rolled(DRIFT, params={"noise": 0.5})
    push = out.next_obs[:, :, 1]
    expected = plain.reward + 1.5 * push - 2.5 * out.obs[:, :, 0]
    expected = expected - 0.25 * (out.action[:, :, 0].abs() + out.action[:, :, 2].abs()) - 0.5 * out.terminated
    torch.testing.assert_close(out.reward, expected, **WITHIN)
    assert plain.reward.unique().tolist() == [0.0, 1.0]


def test_entities_and_whole_numbers_by_hand():
    out, plain = rolled(CROWD), rolled(SWARM)
    assert torch.equal(out.reward, out.next_obs[:, :, 3] + out.action + plain.reward)


def test_conditions_and_numbers_become_float_lanes():
    for env in (ENDS, EVEN):
        out = rolled(env)
        assert out.reward.dtype == torch.float32
        assert torch.equal(out.reward, out.terminated.float() if env is ENDS else -torch.ones(30, 7))


@pytest.mark.parametrize("mode", MODES)
@each_shaped
def test_nothing_else_changes(env, mode):
    """Bit for bit; returns are sums of the new rewards."""
    ours, theirs = (rolled(e, autoreset_mode=mode, max_episode_steps=8) for e in (env, SHAPED[env]))
    for field in ("obs", "action", "terminated", "truncated", "next_obs", "valid", "episode_length", "episodes"):
        assert same(getattr(ours, field), getattr(theirs, field)), field
    assert not torch.equal(ours.reward, theirs.reward)
    assert ours.episodes >= 7
    total = torch.zeros(7)
    for t in range(30):
        total = total + ours.reward[t]
        live = torch.ones(7, dtype=torch.bool) if ours.valid is None else ours.valid[t]
        torch.testing.assert_close(ours.episode_return[t][live], total[live], **WITHIN)
        total = torch.where((ours.terminated | ours.truncated)[t] & (mode != "disabled"), 0.0, total)


@each_shaped
def test_the_contract_is_kept(env):
    check_vector_env(make(env, 6, max_episode_steps=9))


def test_the_rest_of_the_environment_is_the_same():
    for env, plain in SHAPED.items():
        assert env.id != plain.id
        assert engine.draws(env.step) == engine.draws(plain.step)
        assert env.reward_threshold is None
        for field in ("init", "observe", "observation_space", "action_space", "max_episode_steps"):
            assert getattr(env, field) is getattr(plain, field), field
    assert CLIMB.params == (*MOUNTAIN_CAR.params, 300.0)
    assert CLIMB.params._fields == (*MOUNTAIN_CAR.params._fields, "weight")
    assert CHAIN.params is CARTPOLE.params
    assert CARTPOLE.with_reward(scaled(1.0)).id == "CartPole-v1"


def test_a_weight_may_be_drawn_for_every_episode():
    vec = make(CLIMB, 7, params={"weight": Uniform(10.0, 20.0)}, max_episode_steps=3)
    vec.reset(seed=0)
    vec.rollout(4)
    weight = vec.get_state().params.weight
    assert weight.unique().numel() == 7
    assert ((weight >= 10) & (weight < 20)).all()
    vec.set_attr("weight", 0.0)
    assert (vec.rollout(1).reward == -1).all()


@pytest.mark.parametrize("env", [CLIMB, CHAIN, COSTLY], ids=lambda e: e.id)
def test_native(env):
    compiled, eager = (rolled(env, steps=9, backend=backend, max_episode_steps=4) for backend in ("native", "eager"))
    torch.testing.assert_close(compiled, eager, **WITHIN)


@pytest.mark.slow
def test_kernels_in_the_interpreter():
    interpreter.passes(Path(__file__).parent / "reward_in_interpreter.py")


@without_interpreter
@pytest.mark.parametrize("env", [CLIMB, CHAIN, COSTLY], ids=lambda e: e.id)
def test_kernels_compile_for_a_gpu_without_spills(env):
    with recording() as launches:
        rolled(env, 48, backend="triton", validate=False)
    compiled = compile_for(launches[-1], "sm_90")
    assert (compiled.spill_stores, compiled.spill_loads) == (0, 0)


@without_interpreter
def test_kernels_tell_functions_of_one_line_apart():
    """By what they close over, which no name tells."""
    functions = [scaled(0.5), scaled(3.0), plus, minus, CHAIN.step, CARTPOLE.with_reward(scaled(3.0)).step]
    assert len({lower(f).__qualname__ for f in functions}) == len({lower(f).cache_key for f in functions}) == 6
    assert lower(scaled(0.5)).cache_key == lower(scaled(0.5)).cache_key


def beyond(s, action, new, reward, terminated, p):
    return reward + torch.tanh(new.velocity)


def test_beyond_the_vocabulary_it_runs_on_torch_and_no_kernel_takes_it():
    env = MOUNTAIN_CAR.with_reward(beyond)
    out = rolled(env)
    torch.testing.assert_close(out.reward, -1 + out.next_obs[:, :, 1].tanh())
    line = inspect.getsourcelines(beyond)[1] + 1
    with (
        recording(),
        pytest.raises(InputError, match=re.escape(f"`torch.tanh` at {__file__}:{line} cannot be lowered")),
    ):
        make(env, backend="triton")


@pytest.mark.parametrize(
    ("reward", "sentence"),
    [
        (functools.partial(climb), r"`reward` \(of type partial\) at .*reward.py:\d+ cannot be lowered"),
        (lambda s, a, n, r, t, p: r + WEIGHTS, rf"`WEIGHTS` \(of type Tensor\) at {__file__}:\d+ cannot be lowered"),
    ],
    ids=["no function", "a tensor"],
)
def test_what_no_kernel_can_hold_is_named(reward, sentence):
    env = MOUNTAIN_CAR.with_reward(reward, params={"weight": 2.0})
    assert rolled(env, 5).reward.isfinite().all()
    with recording(), pytest.raises(InputError, match=sentence):
        make(env, backend="triton")


WEIGHTS = torch.linspace(0, 1, 5)


class Silent(Exception):
    def __str__(self):
        raise RuntimeError


def silent(s, action, new, reward, terminated, p):
    raise Silent


def five(s, action, new, reward, terminated):
    return reward


def fails(s, action, new, reward, terminated, p):
    return reward + new.height


@pytest.mark.parametrize(
    ("reward", "sentence"),
    [
        (3.0, r"a reward must be a function of \(state, action, next_state, reward, terminated, params\), not 3.0\."),
        (
            five,
            r"the reward function `five` \(.*test_reward.py:\d+\) must take six arguments: \(state, action, next_st",
        ),
        (
            fails,
            r"`fails` .* fails on a step of MountainCar-v0: AttributeError: 'State' object has no attribute 'height'",
        ),
        (lambda s, a, n, r, t, p: None, r"`<lambda>` .* must give a lane, .*, \[5\] for five, not None\."),
        (lambda s, a, n, r, t, p: (r, t), r"must give a lane, .* not a tuple\."),
        (lambda s, a, n, r, t, p: r[:, None] + zeros_like(r), r"must give a lane, .* not a float32 tensor \[5, 5\]\."),
        (lambda s, a, n, r, t, p: r.mean(), r"must give a lane, .* not a float32 tensor \[\]\."),
        (lambda s, a, n, r, t, p: r - r.mean(), "makes environments depend on one another .mean of all lanes."),
        (lambda s, a, n, r, t, p: n.position.flip(0), "makes environments depend on one another"),
        (lambda s, a, n, r, t, p: r.mul_(2.0), "writes into what it was given"),
        (
            lambda s, a, n, r, t, p: (np.from_dlpack(n.position).fill(3.0), r)[1],
            "reaches into the memory of what it was",
        ),
        (
            lambda s, a, n, r, t, p: (n.velocity.untyped_storage().fill_(0), r)[1],
            "reaches into the memory of what it was",
        ),
        (lambda s, a, n, r, t, p: (ctypes.memset(n.position.data_ptr(), 0, 4), r)[1], "writes into what it was given"),
        (lambda s, a, n, r, t, p: setattr(n.position, "requires_grad", True) or r, "writes into what it was given"),
        (lambda s, a, n, r, t, p: r + torch.rand(5), "draws by torch: draw from rng"),
        (lambda s, a, n, r, t, p: r + np.random.default_rng().random(), "gives something else when it is called again"),
        (lambda s, a, n, r, t, p: 10**400, r"gives .* \(float32 ends at 3.4e\+38\) on a step of MountainCar-v0"),
        (lambda s, a, n, r, t, p: 2**70, r"gives .* \(int64 ends at 2\*\*63\) on a step of MountainCar-v0"),
        (lambda s, a, n, r, t, p: r / 0.0, "gives an infinite number on a step of MountainCar-v0"),
        (lambda s, a, n, r, t, p: r.double() * 1e300, "gives an infinite number on a step of MountainCar-v0"),
        (lambda s, a, n, r, t, p: r * 1j, r"must give a lane, .* not a complex64 tensor \[5\]\."),
        (lambda s, a, n, r, t, p: r.to_sparse(), r"must give a lane, .* not a sparse coo tensor of float32\."),
        (
            lambda s, a, n, r, t, p: torch.nested.nested_tensor([r], layout=torch.jagged),
            r"must give a lane, .* not a nested tensor",
        ),
        (silent, r"`silent` .* fails on a step of MountainCar-v0: Silent\."),
        (lambda s, a, n, r, t, p: r.sqrt(), "gives NaN on a step of MountainCar-v0"),
        (print, r"must take six arguments|must give a lane, .* not None"),
    ],
)
def test_a_bad_function_is_refused_by_a_sentence(reward, sentence):
    with pytest.raises(InputError, match=sentence):
        MOUNTAIN_CAR.with_reward(reward)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"gravity": 1.0}, "the environment has a parameter 'gravity' already; give the reward's another name"),
        ({"weight": "much"}, "the reward's parameter 'weight' must be a number, not 'much'"),
        ({"weight": Uniform(0.0, 1.0)}, r"must be a number, not Uniform.* gpusim.make\(\.\.\., params=\.\.\.\)"),
        ({"weight": 10**400}, r"parameter 'weight' is the number .* \(float32 ends at 3.4e\+38\)"),
        ({"weight": float("inf")}, r"parameter 'weight' is the number inf \(float32 ends at 3.4e\+38\)"),
        ({"a weight": 1.0}, "'a weight' cannot be the name of a parameter"),
        ({"class": 1.0}, "'class' cannot be the name of a parameter"),
        ([1.0], "the params of a reward must be a dict of numbers by name, not list"),
    ],
)
def test_bad_params_are_refused_by_a_sentence(params, sentence):
    with pytest.raises(InputError, match=sentence):
        MOUNTAIN_CAR.with_reward(climb, params=params)


class Origin(NamedTuple):
    origin: float = 2.0


def test_any_name_of_a_parameter_will_do():
    """Those that tuples and classes have too."""
    own = dataclasses.replace(RIGHT, params=Origin(), step=lambda s, a, rng, p: (s, p.origin, False))
    for env in (MOUNTAIN_CAR.with_reward(lambda s, a, n, r, t, p: p.origin * 1.0, params={"origin": 2.0}), own):
        again = env.with_reward(lambda s, a, n, r, t, p: r + p.count + p.index, params={"count": 1.0, "index": 4.0})
        assert pickle.loads(pickle.dumps(again.params)) == again.params
        assert rolled(again, steps=2).reward.eq(7.0).all()


def test_params_may_be_a_named_tuple():
    again = MOUNTAIN_CAR.with_reward(climb, params=Weights())
    assert same(rolled(again), rolled(CLIMB))


class Weights(NamedTuple):
    weight: float = 300.0


def test_a_missing_parameter_is_named_before_any_step():
    with pytest.raises(InputError, match=r"`climb` .* fails on a step of MountainCar-v0: .*'weight'"):
        MOUNTAIN_CAR.with_reward(climb)


def test_it_is_registered_by_an_id_of_its_own():
    with pytest.raises(InputError, match="id 'MountainCar-v0' is registered already; choose another id"):
        gpusim.register(MOUNTAIN_CAR.with_reward(lambda s, a, n, r, t, p: r))
