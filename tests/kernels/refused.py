"""Functions that cannot be lowered, each for one reason, which stands in a comment on the line that is to be named."""

# ruff: noqa: F401
import math
from functools import lru_cache

import torch

from gpusim.kernels.lang import where


def torch_call(x):
    y = x + 1
    return torch.sin(y)  # `torch.sin`


def method_call(x):
    return x.clamp(0, 1)  # `x.clamp`


def loop(x):
    while x > 0:  # `while`
        x = x - 1
    return x


def joined(x):
    return (x > 0) and (x < 1)  # `and`/`or`


def chained(x):
    return 0 < x < 1  # the chain


def floor_division(x):
    return x // 2  # `//`


def modulo(x):
    x %= 3  # `%`
    return x


def power(x):
    return x**2  # `**`


def inner_lambda(x):
    f = lambda y: y  # a lambda
    return f(x)


def attribute(x):
    x.requires_grad = True  # the change of `x.requires_grad`
    return x


def inner_function(x):
    def f(y):  # the inner function
        return y

    return f(x)


def comprehension(x):
    return [y for y in (x, x)]  # a list comprehension  # noqa: C416


def generator(x):
    return tuple(y for y in (x, x))  # a generator expression


def attempt(x):
    try:  # `try`
        return x
    except ValueError:
        return x


def inner_import(x):
    import os  # an import

    return x


def unknown_builtin(x):
    return sorted(x)  # `sorted`


def missing_name(x):
    return nowhere(x)  # `nowhere`  # noqa: F821


def module_constant(x):
    return x * math.pi  # `math`


def text(x):
    return where(x > 0, x, WORD)  # `WORD`


WORD = "zero"


@lru_cache
def cached(x):
    return x


def calls_cached(x):
    return cached(x)  # `cached`


def calls_refused(x):
    return x + torch_call(x)


def make_closure(scale):
    def closure(x):
        return x * scale

    return closure


closure = make_closure(torch.ones(3))
anonymous = lambda x: (
    x.clamp(0, 1) + 1
)  # fmt: skip
