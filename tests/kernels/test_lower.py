"""What is lowered means the same in a kernel; what cannot be is refused with its name and line."""

import inspect
import re
from pathlib import Path

import pytest
import torch

from gpusim.envs.classic import CLASSIC, STATELESS
from gpusim.envs.memory.memory_chain import MEMORY_CHAIN
from gpusim.kernels import lang
from gpusim.kernels.lang import Rng
from gpusim.kernels.lower import LoweringError, check, lower
from tests import interpreter
from tests.envs.toys import TOY
from tests.kernels import refused

triton = pytest.importorskip("triton")
HERE = Path(__file__).parent
each_env = pytest.mark.parametrize("env", [*CLASSIC, *STATELESS, MEMORY_CHAIN], ids=lambda e: e.id)


@pytest.mark.slow
@pytest.mark.parametrize("half", ["test_init or test_step", "not test_init and not test_step"])
def test_kernels_in_the_interpreter(half):
    interpreter.passes(HERE / "in_interpreter.py", "-k", half)


def test_every_word_has_a_twin():
    from gpusim.kernels import lang_triton

    functions = {
        name: value
        for name, value in vars(lang).items()
        if inspect.isfunction(value)
        and value.__module__ == lang.__name__
        and not name.startswith("_")
        and name not in ("is_lane", "entities")  # of tensors, and of numbers, not of lanes
    }
    assert len(functions) > 25
    for name, function in functions.items():
        twin = getattr(lang_triton, name)
        assert list(inspect.signature(function).parameters) == list(inspect.signature(twin.fn).parameters), name


@each_env
def test_every_environment_is_lowered(env):
    for function in (env.init, env.step, env.observe):
        assert isinstance(lower(function), triton.runtime.jit.JITFunction)
        assert lower(function) is lower(function)


REFUSED = [f for f in vars(refused).values() if inspect.isfunction(f) and f.__module__ == refused.__name__]
REFUSED = [f for f in REFUSED if f.__name__ not in ("make_closure", "closure", "<lambda>", "calls_refused")]


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
def test_refusals_name_what_and_where(function):
    lines, first = inspect.getsourcelines(function)
    (line, what), *_ = ((first + i, text.split("  # ")[1].strip()) for i, text in enumerate(lines) if "  # " in text)
    with pytest.raises(LoweringError, match=re.escape(f"{refused.__file__}:{line} cannot be lowered")) as error:
        lower(function)
    assert str(error.value).startswith(what)


def test_helpers_are_refused_at_their_own_line():
    line = inspect.getsourcelines(refused.torch_call)[1] + 2
    with pytest.raises(LoweringError, match=re.escape(f"`torch.sin` at {refused.__file__}:{line}")):
        lower(refused.calls_refused)


def test_what_a_closure_or_a_lambda_may_not_is_refused_where_it_stands():
    assert len(REFUSED) >= 17
    line = inspect.getsourcelines(refused.closure)[1] + 1
    with pytest.raises(
        LoweringError, match=rf"`scale` \(of type Tensor\) at {refused.__file__}:{line} cannot be lowered"
    ):
        lower(refused.closure)
    line = refused.anonymous.__code__.co_firstlineno + 1
    with pytest.raises(LoweringError, match=rf"`x.clamp` at {refused.__file__}:{line} cannot be lowered"):
        lower(refused.anonymous)
    with pytest.raises(LoweringError, match="only a function made by `def` or `lambda` can"):
        lower(torch.sin)


def test_what_is_assigned_after_a_closure_is_refused():
    def early(x):
        return x * late

    with pytest.raises(LoweringError, match=r"`late` at .*test_lower.py"):
        lower(early)
    late = 2.0


def test_a_function_without_a_file_is_refused():
    namespace: dict = {}
    exec("def typed_in(x):\n    return x", namespace)
    with pytest.raises(LoweringError, match="`typed_in` cannot be lowered to Triton: its source is not in a file"):
        lower(namespace["typed_in"])


def calls_itself(x, count):
    return x if count == 0 else calls_itself(x + 1.0, count - 1)


def test_what_calls_itself_is_refused():
    with pytest.raises(LoweringError, match="`calls_itself` cannot be lowered to Triton: it calls itself"):
        check(calls_itself)


def test_a_lambda_without_a_file_is_refused():
    with pytest.raises(LoweringError, match="`<lambda>` cannot be lowered to Triton: its source is not in a file"):
        lower(eval("lambda x: x"))


def test_an_environment_beyond_the_vocabulary_is_refused_and_runs_eagerly():
    with pytest.raises(LoweringError, match=r"`torch.cat` at .*toys.py:\d+ cannot be lowered"):
        lower(TOY.step)


def compile_step(env, capability):
    """The step kernel of `env` as a cubin, on a machine that need not have such a GPU."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tests.kernels.generic import step_kernel

    state = type(env.init(Rng(0, torch.zeros(1, dtype=torch.int64), 0, 0, 0), env.params))
    floats = lambda count: ("*fp32",) * count
    signature = {
        "state": floats(len(state._fields)),
        "action": "*i32" if hasattr(env.action_space, "n") else "*fp32",
        "out": floats(len(state._fields)),
        "reward": "*fp32",
        "terminated": "*i1",
        "obs": floats(env.observation_space.shape[0]),
        "params": type(env.params)(*["fp32"] * len(env.params)),
        "seed": "i64",
        "n": "i32",
        "steps": "i32",
    }
    signature["state"] = signature["out"] = state(*signature["state"])
    constants = {"STATE": state, "STEP": lower(env.step), "OBSERVE": lower(env.observe), "RNG": Rng, "BLOCK": 128}
    signature |= dict.fromkeys(constants, "constexpr")
    names = step_kernel.arg_names
    source = ASTSource(step_kernel, signature, constexprs={(names.index(k),): v for k, v in constants.items()})
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"enable_fp_fusion": False})


@each_env
def test_every_step_compiles_for_a_gpu(env):
    kernel = compile_step(env, 90)
    assert ".target sm_90" in kernel.asm["ptx"]
    assert len(kernel.asm["cubin"]) > 1000
