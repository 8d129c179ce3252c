"""Run by test_lower.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU.

Environments and each word of the vocabulary, lowered, against themselves on torch tensors.
"""

import pytest
import torch
from triton.runtime import interpreter

from gpusim.envs.classic import CLASSIC
from gpusim.kernels.lang import Rng, to_int
from gpusim.kernels.lower import lower
from tests.interpreter import quicken
from tests.kernels.generic import entity_kernel, init_kernel, step_kernel, word_kernel
from tests.kernels.vocabulary import (
    ROUNDED,
    WORDS,
    Two,
    bits,
    entities,
    float_division,
    int_division,
    ints,
    nan_choices,
    reductions,
)

SIZES = [1, 7, 100]
BLOCK = 32
quicken()
# Before Triton 3.9 the interpreter rounds an fma twice, which no compiled kernel does.
ROUNDS_ONCE = hasattr(getattr(interpreter, "_interpreter", None), "fma_fp32")
CHECKED = [w for w in WORDS if ROUNDS_ONCE or w[0] is not float_division]
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


def poisoned(like):
    """What a kernel has to fill: NaN, an absurd number, or the opposite of the truth."""
    return (
        (~like).clone()
        if like.dtype == torch.bool
        else torch.full_like(like, 77 if not like.is_floating_point() else torch.nan)
    )


def grid(n):
    return (-(-n // BLOCK),)


each_env = pytest.mark.parametrize("env", CLASSIC, ids=lambda e: e.id)
each_size = pytest.mark.parametrize("n", SIZES)


def beginning(env, n):
    return env.init(Rng(2**40 + 3, torch.arange(n), 6, 0, 0), env.params)


@each_env
@each_size
def test_init(env, n):
    """Draws agree bit for bit."""
    expected = beginning(env, n)
    seen = env.observe(expected, env.params)
    out, obs = type(expected)(*map(poisoned, expected)), tuple(map(poisoned, seen))
    init_kernel[grid(n)](out, obs, env.params, 2**40 + 3, n, lower(env.init), lower(env.observe), Rng, BLOCK)
    for field, got, want in zip(expected._fields, out, expected, strict=True):
        assert torch.equal(got, want), field
    torch.testing.assert_close(obs, seen, rtol=1e-6, atol=1e-6)


@each_env
@each_size
@pytest.mark.parametrize("steps", [1, 4])
def test_step(env, n, steps):
    state = beginning(env, n)
    generator = torch.Generator().manual_seed(n)
    state = type(state)(*(s + torch.rand(n, generator=generator) - 0.5 for s in state))
    if hasattr(env.action_space, "n"):
        action = torch.randint(0, int(env.action_space.n), (n,), generator=generator, dtype=torch.int32)
    else:
        action = torch.rand(n, generator=generator) * 4 - 2
    new, total, ever = state, torch.zeros(n), torch.zeros(n, dtype=torch.bool)
    for _ in range(steps):
        new, reward, terminated = env.step(new, action, None, env.params)
        total, ever = total + reward, ever | terminated
    seen = env.observe(new, env.params)
    out, obs, got_total, got_ever = (
        type(new)(*map(poisoned, new)),
        tuple(map(poisoned, seen)),
        poisoned(total),
        poisoned(ever),
    )
    step_kernel[grid(n)](
        state, action, out, got_total, got_ever, obs, env.params, 2**40 + 3, n, steps,
        type(state), lower(env.step), lower(env.observe), Rng, BLOCK
    )  # fmt: skip
    torch.testing.assert_close(tuple(out), tuple(new), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got_total, total, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(obs, seen, rtol=1e-5, atol=1e-5)
    assert torch.equal(got_ever, ever)


@pytest.mark.parametrize("n", [16, 33, 100])
@pytest.mark.parametrize(("function", "inputs"), CHECKED, ids=lambda f: f.__name__)
def test_words(function, inputs, n):
    """The same values and the same dtypes."""
    given = inputs(n)
    expected = function(given)
    out = tuple(map(poisoned, expected))
    word_kernel[grid(n)](given, out, n, type(given), lower(function), BLOCK)
    for which, (got, want) in enumerate(zip(out, expected, strict=True)):
        exact = not want.is_floating_point() or function not in ROUNDED
        torch.testing.assert_close(
            got,
            want,
            rtol=0 if exact else 2e-6,
            atol=0 if exact else 1e-6,
            equal_nan=True,
            msg=lambda m, which=which: f"result {which}: {m}",
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_reductions(dtype):
    x = entities().to(dtype)
    expected = reductions(x)
    out = tuple(map(poisoned, expected))
    entity_kernel[(1,)](x, out, 8, 4, lower(reductions))
    for which, (got, want) in enumerate(zip(out, expected, strict=True)):
        torch.testing.assert_close(got, want, rtol=0, atol=0, msg=lambda m, which=which: f"result {which}: {m}")


def test_bits():
    x = entities().to(torch.int32)
    expected = bits(x)
    out = tuple(map(poisoned, expected))
    entity_kernel[(1,)](x, out, 8, 4, lower(bits))
    assert all(map(torch.equal, out, expected))


def test_nan_is_not_swallowed():
    x, y = torch.tensor([torch.nan, 1.0, torch.nan, 2.0]), torch.tensor([1.0, torch.nan, torch.nan, 3.0])
    expected = nan_choices((x, y))
    out = tuple(torch.zeros_like(e) for e in expected)
    word_kernel[(1,)](Two(x, y), out, 4, Two, lower(nan_choices), BLOCK)
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)
    assert expected[0].isnan().tolist() == [True, True, True, False]


def test_words_are_seen_to_differ():
    """The comparison is not blind: a function that is lowered wrongly fails it."""
    given = ints(33)
    expected = int_division(given)
    out = tuple(map(poisoned, expected))
    word_kernel[grid(33)](given, out, 33, Two, lower(int_functions_of_c), BLOCK)
    assert not all(map(torch.equal, out, expected))


def int_functions_of_c(v):
    i, j = v[0], v[1]
    return to_int(i / j), i - to_int(i / j) * j, to_int(i / 3), i, i, i
