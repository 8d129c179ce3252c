"""Run by test_lower.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU.

Environments and each word of the vocabulary, lowered, against themselves on torch tensors.
"""

import os
from typing import NamedTuple

import pytest
import torch

from gpusim.envs import BUILTIN
from gpusim.kernels.lang import (
    Lane,
    Rng,
    absolute,
    all_,
    any_,
    ceil,
    clip,
    cos,
    cumsum,
    exp,
    false_like,
    floor,
    floor_divide,
    log,
    max_,
    maximum,
    min_,
    minimum,
    ones_like,
    remainder,
    sin,
    sqrt,
    sum_,
    to_float,
    to_int,
    uniform,
    uniform4,
    where,
    zeros_like,
)
from gpusim.kernels.lower import lower
from tests.kernels.generic import entity_kernel, init_kernel, step_kernel, word_kernel

SIZES = [1, 7, 100]
BLOCK = 32
assert os.environ["TRITON_INTERPRET"] == "1"
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


each_env = pytest.mark.parametrize("env", BUILTIN, ids=lambda e: e.id)
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


class Two(NamedTuple):
    a: Lane
    b: Lane


class Four(NamedTuple):
    a: Lane
    b: Lane
    c: Lane
    d: Lane


def uniforms(v):
    rng = Rng(2**61 + 5, v[0], v[1], v[2], 3)
    a, b, c, d = uniform4(rng, 2, -0.05, 0.05)
    return a, b, c, d, uniform(rng, 255, -3.0, 9.0), uniform(rng, 0, v[3], v[3] + 2.0)


def scalar_coordinates(v):
    return (uniform(Rng(5, v[0], 0, 0, 0), 0, 0.0, 1.0),)


def float_functions(v):
    x, y = v[0], v[1]
    return (
        sin(x), cos(x), exp(x * 0.1), log(absolute(x) + 1.0), sqrt(absolute(x)), floor(x), ceil(x), absolute(x),
        zeros_like(x), ones_like(x), false_like(x), to_int(x), to_float(x), x / y, -x, x * 2 + y - 1,
    )  # fmt: skip


def int_functions(v):
    i, j = v[0], v[1]
    return (
        absolute(i), zeros_like(i), ones_like(i), false_like(i), to_float(i), to_int(i), i / j, i * 0.5, i + 1 - j * 3,
        i == j, i < 2, (i > 0) & (j > 0), (i > 0) | (j > 0), ~(i > 0), to_float(i > 0), to_int(i > 0), i ^ j, i & 3,
    )  # fmt: skip


def float_division(v):
    x, y = v[0], v[1]
    return (
        floor_divide(x, y), remainder(x, y), floor_divide(x, 2.5), remainder(x, 2.5), floor_divide(x, -2.5),
        remainder(x, -2.5), floor_divide(x, 2), remainder(x, 3), floor_divide(x, 0.1), remainder(x, 0.1),
        remainder(x * 100.0, 6.283185307179586), floor_divide(x * 100.0, 6.283185307179586),
    )  # fmt: skip


def int_division(v):
    i, j = v[0], v[1]
    return (
        floor_divide(i, j), remainder(i, j), floor_divide(i, 3), remainder(i, 3), floor_divide(i, -3), remainder(i, -3),
    )  # fmt: skip


def float_choices(v):
    x, y = v[0], v[1]
    return (
        minimum(x, y), maximum(x, y), minimum(x, 0.5), maximum(x, -0.5), minimum(x, 1), maximum(x, -1),
        clip(x, -1.0, 1.0), clip(x, y - 1.0, y + 1.0), clip(x, -1, y), where(x > y, x, y), where(x > 0.0, x, 0.0),
        where(x > 0.0, 1, x), where(x > 0.0, 1.0, -1.0), where(x > 0.0, 1, 0), where(x > 0.0, 1, -0.5),
    )  # fmt: skip


def int_choices(v):
    i, j = v[0], v[1]
    return (
        minimum(i, j), maximum(i, j), minimum(i, 2), maximum(i, -2), clip(i, -2, 2), where(i > j, i, j),
        where(i > 0, i, 0), where(i > 0, 5, i), where(i > 0, to_float(i), 0), where(i > 0, i > 1, j > 1),
        where(i > 0, 1.5, i), minimum(i, 2.5),
    )  # fmt: skip


def reductions(x):
    return any_(x > 1), all_(x > -6), sum_(x), min_(x), max_(x), cumsum(x), sum_(x > 0), cumsum(x > 0), any_(x), all_(x)


def helper(x, y):
    return x * SCALE + y


SCALE = 3
NEGATIVE = -0.5


def globals_and_helpers(v):
    x = helper(v[0], v[1])
    for _ in range(3):
        x = helper(x, NEGATIVE)
    return (x,)


def floats(n):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, generator=generator) * 4
    y = torch.randn(n, generator=generator) * 2
    special = torch.tensor([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 5.0, -5.0, 7.5, 0.3])
    x[: len(special)] = special[:n]
    y[: len(special)] = torch.tensor([1.0, -1.0, 0.1, 0.1, 2.5, 2.5, -2.5, 2.5, -2.5, 0.1])[:n]
    return Two(x, y)


def ints(n):
    generator = torch.Generator().manual_seed(2)
    i = torch.randint(-9, 10, (n,), generator=generator, dtype=torch.int32)
    j = torch.randint(1, 5, (n,), generator=generator, dtype=torch.int32)
    return Two(i, j * torch.where(torch.arange(n) % 2 == 0, 1, -1).int())


def coordinates(n):
    return Four(torch.arange(n), torch.arange(n) * 77 % 13, torch.arange(n) * 1000, torch.linspace(-5, 5, n))


@pytest.mark.parametrize("n", [16, 33, 100])
@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (float_functions, floats), (int_functions, ints), (float_division, floats), (int_division, ints),
        (float_choices, floats), (int_choices, ints), (uniforms, coordinates), (scalar_coordinates, coordinates),
        (globals_and_helpers, floats),
    ],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_words(function, inputs, n):
    """The same values and the same dtypes."""
    given = inputs(n)
    expected = function(given)
    out = tuple(map(poisoned, expected))
    word_kernel[grid(n)](given, out, n, type(given), lower(function), BLOCK)
    for which, (got, want) in enumerate(zip(out, expected, strict=True)):
        exact = not want.is_floating_point() or function not in (float_functions,)
        torch.testing.assert_close(
            got,
            want,
            rtol=0 if exact else 2e-6,
            atol=0 if exact else 1e-6,
            msg=lambda m, which=which: f"result {which}: {m}",
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_reductions(dtype):
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(-5, 6, (8, 4), generator=generator).to(dtype)
    x[0], x[1] = 0, -1
    expected = reductions(x)
    out = tuple(map(poisoned, expected))
    entity_kernel[(1,)](x, out, 8, 4, lower(reductions))
    for which, (got, want) in enumerate(zip(out, expected, strict=True)):
        torch.testing.assert_close(got, want, rtol=0, atol=0, msg=lambda m, which=which: f"result {which}: {m}")


def test_nan_is_not_swallowed():
    x, y = torch.tensor([torch.nan, 1.0, torch.nan, 2.0]), torch.tensor([1.0, torch.nan, torch.nan, 3.0])
    expected = nan_choices((x, y))
    out = tuple(torch.zeros_like(e) for e in expected)
    word_kernel[(1,)](Two(x, y), out, 4, Two, lower(nan_choices), BLOCK)
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)
    assert expected[0].isnan().tolist() == [True, True, True, False]


def nan_choices(v):
    return minimum(v[0], v[1]), maximum(v[0], v[1]), clip(v[0], -1.0, 1.0)


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
