"""Functions made of every word of the vocabulary, and lanes to put into them."""

from typing import NamedTuple

import torch

from gpusim.kernels.lang import (
    Lane,
    Rng,
    absolute,
    all_,
    any_,
    atan2,
    below,
    ceil,
    clip,
    cos,
    cumsum,
    entity,
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
    or_,
    remainder,
    sign,
    sin,
    slot_uniform,
    slot_words,
    slots,
    sqrt,
    sum_,
    tanh,
    to_float,
    to_int,
    uniform,
    uniform4,
    unit,
    where,
    words,
    zeros_like,
)


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


def choices(v):
    a, b, c, d = words(Rng(2**61 + 5, v[0], v[1], v[2], 3), 2)
    return unit(a), below(b, 6), below(b, 2**31 - 1), below(c, to_int(v[1]) + 1), below(d, 1), unit(d) < 0.25


def entity_draws(v):
    """`[N, K]` of each K that there may be."""
    rng = Rng(2**61 + 5, v[0], v[1], v[2], 3)
    kinds = below(slot_words(rng, 9, 16), 6)
    return (
        slot_uniform(rng, 2, 1, -0.05, 0.05), slot_uniform(rng, 2, 2, -0.05, 0.05), slot_uniform(rng, 2, 4, -0.05, 0.05),
        slot_uniform(rng, 252, 16, 0.0, v[3][:, None]), slot_uniform(rng, 0, 8, to_float(slots(v[0], 8)), 9.0),
        kinds, unit(slot_words(rng, 1, 8)) < 0.5, below(slot_words(rng, 9, 16), kinds + 1),
        slot_uniform(Rng(5, v[0], 0, 0, 0), 0, 4, 0.0, 1.0),
    )  # fmt: skip


def scalar_coordinates(v):
    return (uniform(Rng(5, v[0], 0, 0, 0), 0, 0.0, 1.0),)


def float_functions(v):
    x, y = v[0], v[1]
    return (
        sin(x), cos(x), exp(x * 0.1), log(absolute(x) + 1.0), sqrt(absolute(x)), floor(x), ceil(x), absolute(x),
        zeros_like(x), ones_like(x), false_like(x), to_int(x), to_float(x), x / y, -x, x * 2 + y - 1,
    )  # fmt: skip


def angles_and_signs(v):
    x, y = v[0], v[1]
    return (
        tanh(x), tanh(x * 0.1), atan2(x, y), atan2(y, x), atan2(x, 0.5), atan2(x, -2), atan2(x, -1e9),
        sign(x), sign(-y),
    )  # fmt: skip


def int_functions(v):
    i, j = v[0], v[1]
    return (
        absolute(i), zeros_like(i), ones_like(i), false_like(i), to_float(i), to_int(i), i / j, i * 0.5, i + 1 - j * 3,
        i == j, i < 2, (i > 0) & (j > 0), (i > 0) | (j > 0), ~(i > 0), to_float(i > 0), to_int(i > 0), i ^ j, i & 3, sign(i),
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
    some = entity(x, 2), entity(x > 1, 0), entity(x + x, 3)
    return (
        any_(x > 1),
        all_(x > -6),
        sum_(x),
        min_(x),
        max_(x),
        cumsum(x),
        sum_(x > 0),
        cumsum(x > 0),
        any_(x),
        all_(x),
        *some,
    )


def helper(x, y):
    return x * SCALE + y


SCALE = 3
NEGATIVE = -0.5


def globals_and_helpers(v):
    x = helper(v[0], v[1])
    for _ in range(3):
        x = helper(x, NEGATIVE)
    return (x,)


def bits(x):
    return or_(x), or_(x & 5), or_(x ^ -1)


def floats(n):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, generator=generator) * 4
    y = torch.randn(n, generator=generator) * 2
    special = torch.tensor([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 5.0, -5.0, 7.5, 0.3])
    x[: len(special)] = special[:n]
    y[: len(special)] = torch.tensor([1.0, -1.0, 0.1, 0.1, 2.5, 2.5, -2.5, 2.5, -2.5, 0.1])[:n]
    return Two(x, y)


def odd_floats(n):
    """Zeros of either sign, infinities, NaN, the least and the greatest, each beside each; then others."""
    odd = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1.0, -1e-45, 1e-40, 3e38, -2e38])
    x, y = floats(n)
    x[: len(odd)], y[: len(odd)] = odd[:n], odd.roll(1 + n)[:n]
    return Two(x, y)


def ints(n):
    generator = torch.Generator().manual_seed(2)
    i = torch.randint(-9, 10, (n,), generator=generator, dtype=torch.int32)
    j = torch.randint(1, 5, (n,), generator=generator, dtype=torch.int32)
    return Two(i, j * torch.where(torch.arange(n) % 2 == 0, 1, -1).int())


def coordinates(n):
    return Four(torch.arange(n), torch.arange(n) * 77 % 13, torch.arange(n) * 1000, torch.linspace(-5, 5, n))


def nan_choices(v):
    return minimum(v[0], v[1]), maximum(v[0], v[1]), clip(v[0], -1.0, 1.0)


def entities():
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(-5, 6, (8, 4), generator=generator)
    x[0], x[1] = 0, -1
    return x


WORDS = [
    (float_functions, floats),
    (angles_and_signs, odd_floats),
    (int_functions, ints),
    (float_division, floats),
    (int_division, ints),
    (float_choices, floats),
    (int_choices, ints),
    (uniforms, coordinates),
    (choices, coordinates),
    (entity_draws, coordinates),
    (scalar_coordinates, coordinates),
    (globals_and_helpers, floats),
]
ROUNDED = (float_functions, angles_and_signs)
"""Those whose results depend in their last digits on who computes them."""
