"""`backend="triton"`: the same trajectories as eagerly, in one launch, from a kernel that fits a GPU's registers."""

import inspect
import re
from pathlib import Path

import pytest
import torch

import gpusim
from gpusim import InputError, Uniform, checks
from gpusim.envs.classic import CLASSIC
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.kernels import launch
from gpusim.kernels.launch import recording
from gpusim.kernels.offline import compile_for
from gpusim.testing import check_vector_env
from tests import interpreter
from tests.envs import toys
from tests.envs.test_vector import MODES, make, same
from tests.envs.toys import DRIFT, DUSK, LOWERED, SWARM, TOY, TRAIL

pytest.importorskip("triton")
HERE = Path(__file__).parent
each_env = pytest.mark.parametrize("env", [*CLASSIC, *LOWERED], ids=lambda e: e.id)
each_mode = pytest.mark.parametrize("mode", MODES)
without_interpreter = pytest.mark.skipif(launch.interpreted(), reason="kernels are interpreted in this process")


@pytest.mark.slow
@pytest.mark.parametrize("half", ["test_rollout[ or test_step[", "not test_rollout[ and not test_step["])
def test_kernels_in_the_interpreter(half):
    interpreter.passes(HERE / "fused_in_interpreter.py", "-k", half)


@each_mode
@pytest.mark.parametrize("env", LOWERED, ids=lambda e: e.id)
def test_the_toys_keep_the_contract(env, mode):
    check_vector_env(make(env, 6, autoreset_mode=mode))
    check_vector_env(make(env, 2, autoreset_mode=mode, max_episode_steps=1))


@pytest.mark.parametrize("env", [SWARM, TRAIL], ids=lambda e: e.id)
def test_entities_and_images_natively(env):
    native, eager = (make(env, backend=backend, max_episode_steps=3) for backend in ("native", "eager"))
    for vec in (native, eager):
        vec.reset(seed=1)
    torch.testing.assert_close(native.rollout(9), eager.rollout(9), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(native.get_state(), eager.get_state(), rtol=1e-5, atol=1e-5)


@without_interpreter
def test_without_a_gpu_it_is_refused_with_the_reason():
    with pytest.raises(
        InputError, match=r'backend "triton" cannot run on device "cpu": it needs a CUDA GPU; .*TRITON_INT'
    ):
        make(backend="triton")


def test_without_triton_it_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"triton is not installed; install it \(pip install triton\)"):
        make(backend="triton")
    assert checks.backend("auto", torch.device("cuda"), CARTPOLE) == "compile"


def test_beyond_the_vocabulary_it_is_refused_with_name_and_line():
    lines, first = inspect.getsourcelines(toys.init)
    line = next(first + i for i, text in enumerate(lines) if "torch.zeros_like" in text)
    with recording(), pytest.raises(InputError, match=re.escape(f"`torch.zeros_like` at {toys.__file__}:{line}")):
        make(TOY, backend="triton")


def test_auto():
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert checks.backend("auto", cpu, CARTPOLE) == checks.backend("compile", cpu, CARTPOLE) == "native"
    assert checks.backend("auto", cpu, CARTPOLE, num_envs=1) == checks.backend("auto", cpu, TOY) == "eager"
    with pytest.warns(UserWarning, match='"compile" is "native", which cannot run, so that it is "eager"'):
        assert checks.backend("compile", cpu, TOY) == "eager"
    assert checks.backend("auto", gpu, TOY) == "compile"
    for env in (*CLASSIC, *LOWERED):
        assert checks.backend("auto", gpu, env) == "triton"
    assert gpusim.make("CartPole-v1", device="cpu").backend == "eager"


def ready(env, mode="same_step", n=48, **kwargs):
    vec = make(env, n, backend="triton", autoreset_mode=mode, validate=False, **kwargs)
    vec.reset(seed=0)
    return vec


def zeros(vec):
    return torch.zeros(vec.action_space.shape, dtype=getattr(torch, vec.action_space.dtype.name))


@each_env
@each_mode
@pytest.mark.parametrize("transitions", [True, False])
def test_a_rollout_is_one_launch(env, mode, transitions):
    with recording() as launches:
        vec = ready(env, mode)
        launches.clear()
        rolled = vec.rollout(128, transitions=transitions)
        assert vec.clock == 128
        assert vec._carry.book.elapsed.shape == (48,)
    assert [x.kernel.__name__ for x in launches] == ["simulate_kernel"]
    grid, steps = launches[0].grid, launches[0].args[launches[0].kernel.arg_names.index("steps")]
    assert (grid[0] - 1) * launches[0].constants["BLOCK"] < 48 <= grid[0] * launches[0].constants["BLOCK"]
    assert steps == 128
    assert (rolled.obs is not None) == transitions
    assert not launches[0].fp_fusion


def test_a_step_is_one_launch():
    with recording() as launches:
        vec = ready(CARTPOLE)
        assert len(launches) == 1  # what reset shows
        vec.step(zeros(vec))
        assert len(launches) == 2
        vec.rollout(3, lambda obs: zeros(vec))
    assert len(launches) == 2 + 1 + 3
    assert {x.kernel.__name__ for x in launches} == {"simulate_kernel"}


def test_nothing_is_launched_elsewhere():
    with recording() as launches:
        vec = make(CARTPOLE)
        vec.reset(seed=0)
        vec.rollout(3)
    assert launches == []


COMPILED = [
    *((e, "same_step", {}) for e in (*CLASSIC, DRIFT)),
    (CARTPOLE, "next_step", {}),
    (CARTPOLE, "disabled", {}),
    (CARTPOLE, "same_step", {"params": {"gravity": Uniform(5.0, 15.0), "force": torch.linspace(5, 9, 48)}}),
]


@pytest.mark.slow
@without_interpreter
@pytest.mark.parametrize(("env", "mode", "changes"), COMPILED, ids=lambda x: getattr(x, "id", None))
def test_kernels_compile_for_a_gpu_without_spills(env, mode, changes):
    """Of a step, a rollout and its statistics."""
    with recording() as launches:
        vec = ready(env, mode, **changes)
        launches.clear()
        vec.rollout(8, transitions=False)
        vec.rollout(8)
        vec.step(zeros(vec))
    assert len(launches) == 3
    for one in launches:
        compiled = compile_for(one, "sm_90")
        assert (compiled.spill_stores, compiled.spill_loads) == (0, 0)


@without_interpreter
@pytest.mark.parametrize("env", [SWARM, TRAIL, DUSK], ids=lambda e: e.id)
def test_entities_and_images_compile_for_a_gpu(env):
    with recording() as launches:
        ready(env).rollout(8)
    assert compile_for(launches[-1], "sm_90").registers > 0


def test_what_is_compiled_is_told_apart_by_all_that_shapes_it():
    from gpusim.sim.triton import TritonStepper

    keys = set()
    with recording():
        makers = [
            {}, {"mode": "next_step"}, {"max_episode_steps": 3}, {"params": {"force": 3.0}},
            {"params": {"force": torch.ones(48)}}, {"params": {"force": Uniform(1.0, 2.0)}},
            {"params": {"gravity": torch.ones(48)}},
        ]  # fmt: skip
        for kwargs in makers:
            vec = ready(CARTPOLE, **kwargs)
            assert isinstance(vec._stepper, TritonStepper)
            game = vec._stepper.lowered(vec._live())
            assert vec._stepper.lowered(vec._live()) is game
            keys.add(game.cache_key)
        keys |= {ready(env)._stepper.lowered(ready(env)._live()).cache_key for env in (TRAIL, DUSK)}
    assert len(keys) == len(makers) + 2


def test_states_are_those_of_eager_at_the_beginning():
    with recording():
        states = [ready(env).get_state() for env in (*CLASSIC, *LOWERED)]
    for env, state in zip((*CLASSIC, *LOWERED), states, strict=True):
        eager = make(env, 48)
        eager.reset(seed=0)
        assert same(eager.get_state(), state)
