"""Loops of the vocabulary as loops of C++: what comes of them is what tensors give, round after round."""

import linecache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from gpusim.kernels import rounds
from gpusim.kernels.cpp import compiler
from gpusim.kernels.lang import Rng, absolute, clip, cumsum, entity, floor_divide, sum_, to_float, to_int, where, words
from gpusim.kernels.lang_native import Code, Lane, Symbol
from gpusim.kernels.loops import with_bodies
from gpusim.kernels.respell import respelled
from tests.kernels.test_lang_native import by_native, each_way
from tests.kernels.vocabulary import entities, floats

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")


class Pair(NamedTuple):
    one: Any
    two: Any


def halved(x, by):
    return x * 0.5 + by


def straight(v):
    x, y = v[0], v[1]
    for i in range(4):
        w = 1.0 + 0.5 * i * (3 - i)
        t = halved(x, y) * w
        x, y = y - t / 3, x
    return x, y, t


def backwards(v):
    x, last = v[0], v[1]
    for i in range(7, -4, -3):
        x = x + i * 0.1 - (1 - i) / 7 + i * v[1] - -i
        last = where(x > i, x, last)
    return x, last


def nested(v):
    x, total = v[0], 0.0
    z = x * 2.0
    for i in range(3):
        step = x * 2.0 + i
        for j in range(2):
            step = step * 0.5 - j * i
            for _ in range(2):
                x = x + 0.01 * step
        total = total + x * 2.0
    return x, total, x * 2.0, z


def trees(v):
    p, a = Pair(v[0], (v[1], v[0] > 0.0)), (v[0], v[1])
    for _ in range(5):
        p = Pair(p.two[0] * 0.9, (p.one - 0.1, p.two[1] & (p.one < 2.0)))
        a = (a[1], a[0])
        b = Pair(-p.one, p)
    return p.one, *p.two, *a, b.one


def counts(v):
    x, n, whole, odd = v[0], 0, to_int(v[1]), 0
    for i in range(6):
        x = x * -1.5
        n = n + to_int(x > 0.0)
        odd = odd + (x < 0.0)
        whole = floor_divide(whole, -2) ^ i
    return n, whole, odd


def conditions(v):
    x, well, ever = v[0], v[0] > -9.0, False
    for _ in range(4):
        x = x * 1.3
        well = well & (absolute(x) < 8.0)
        ever = ever | (x > 6.0)
    return well, ever, x


def numbers(v):
    """A number that changes from round to round, as Python computes it, in 64 bits; one that does not."""
    x, h, k, same = v[0], 1.0, 2**24, 0.7
    for _ in range(9):
        x = x * same + (h - 0.3333) * 1e6 + (k - 2**24) * 1e-3
        h = h * 0.01 + 0.33
        k = k + 1
    return (x,)


def number_of_both(v):
    x, h = v[0], 1.0
    for _ in range(3):
        for _ in range(2):
            x = x + h
            h = h * 0.5
    return (x,)


def added(v):
    x = v[0]
    for i in range(3):
        x += v[1]
        x *= 0.5
        x -= i
    return (x,)


def over_entities(x):
    y, z = x * 0.5, x
    for i in range(3):
        z = cumsum(y) - z * i
        y = clip(y + sum_(z)[:, None] * 0.125, -4.0, 4.0)
    return y, z


def known_later(v):
    """A name of which only the first loop inside knows a value; and one that stays unread."""
    for i in range(4):
        for j in range(3):
            t = v[0] * j + i
            unread = t * 2.0
        unread = unread + 1.0
        y = t + v[1]
    return t, y


def drawn(v):
    n = to_int(v[0])
    total = to_float(n)
    for i in range(3):
        a, b, _, _ = words(Rng(5, n & 1023, 1, 0, 3), 7)
        total = total + to_float(a & 255) * i
        n = n + to_int(b & 3)
    return total, n


def peeled(v):
    """Of one kind from the second round on."""
    x, n, w, odd = v[0], 0, to_int(v[1]), 0
    for _ in range(4):
        odd = odd + (to_int(floor_divide(w + 2**25 + 1, n + 1)) & 1)
        n = n + x * 0.0
        w = w + 2
    return n, w, odd


def in_one_round(v):
    """Names that are assigned by a loop inside, if it has a round."""
    x, seldom, often = v[0], v[1], v[1]
    for i in range(3):
        for j in range(len(v) - 1):
            often = x + j
        for _ in range(len(v) - 2):
            seldom = x
        x = x * 0.5 + seldom
        seldom = x - i
    return x, often


def within_another(v):
    """A loop inside one that is none of C++."""
    x, h = v[0], 1.0
    for by in (0.5, 0.25):
        for _ in range(3):
            x = x * by + h
            h = h * 0.5
        for _ in range(3):
            x = x * by
    return (x,)


LOOPS = {straight: 1, backwards: 1, nested: 3, trees: 1, counts: 1, conditions: 1, numbers: 1, added: 1, known_later: 2,
         drawn: 1, peeled: 1,
         number_of_both: 1, within_another: 2, in_one_round: 1}  # fmt: skip


def none(v):
    x, t = v[0], v[1]
    for i in range(0):
        x = x + i
        t = x
    for i in range(1):
        t = t * 2.0 + i
    return x, t


def indexed(v):
    x = v[0]
    for i in range(3):
        x = x * (0.5, 2.0, 3.0)[i]
    return (x,)


def conditional(v):
    x = v[0]
    for i in range(3):
        if i == 1:
            x = x + v[1]
        y = max(i, 1) * x
    return x, y


def variable_after(v):
    x = v[0]
    for i in range(3):
        x = x + i
        k = i * 2
    return x, (x, v[1], x * 2.0)[i], (x, 0, 0, 0, v[1])[k]


def never_of_one_kind(v):
    x, y = v[0], (v[1],)
    for _ in range(3):
        x, y = y[0], (x, y)
    return (x,)


def by_blocks(v):
    n, total = to_int(v[0]), v[1] * 0.0
    for i in range(3):
        total = total + to_float(words(Rng(5, n & 1023, 1, 0, 3), i)[1] & 255)
    return (total,)


def left_early(v):
    x = v[0]
    for i in range(9):
        if i == 2:
            break
        x = x + i
    return (x,)


def one_by_one(x):
    """Each entity of what is given, and of what changes."""
    total, y = x * 0.0, x
    for i in range(4):
        total = total + entity(x, i)[:, None]
        for j in range(3):
            y = y * 0.5 + entity(y, j)[:, None] + entity(x, j + 1)[:, None]
    return sum_(total), sum_(y), entity(y, 1)


UNROLLED = (none, indexed, conditional, variable_after, never_of_one_kind, by_blocks, left_early)


def code_of(function, count=2):
    code = Code("v")
    lanes = tuple(Lane(Symbol(code, name, "f")) for name in "xyz"[:count])
    respelled(function)(lanes)
    return "\n".join(code.parts[0])


def same_as_tensors(function, lanes, way):
    for k, (a, b) in enumerate(zip(by_native(function, lanes, way), function(lanes), strict=True)):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=lambda m, k=k: f"number {k}: {m}")


@each_way
@pytest.mark.parametrize("function", [*LOOPS, *UNROLLED], ids=lambda f: f.__name__)
def test_loops_give_what_tensors_give(function, way, monkeypatch):
    monkeypatch.setattr(rounds, "SHORT", 0)
    same_as_tensors(function, floats(53), way)


@each_way
@pytest.mark.parametrize("function", [over_entities, one_by_one], ids=lambda f: f.__name__)
def test_loops_of_entities_give_what_tensors_give(function, way, monkeypatch):
    monkeypatch.setattr(rounds, "SHORT", 0)
    same_as_tensors(function, to_float(entities()), way)


def test_entities_that_a_loop_does_not_change_lie_in_an_array_before_it(monkeypatch):
    monkeypatch.setattr(rounds, "SHORT", 0)
    code = Code("v")
    symbols = np.empty((1, 4), object)
    for k, name in enumerate("abcd"):
        symbols[0, k] = Symbol(code, name, "f")
    respelled(one_by_one)(Lane(symbols))
    text = "\n".join(code.parts[0])
    assert text.index("[] = {a, b, c, d};") < text.index("for (")
    assert text.count("[] = {") == 2  # what changes is filled anew in each round
    assert text.count("for (") == 2


def test_a_loop_stays_one_where_it_can(monkeypatch):
    assert all("for (" not in code_of(function) for function in LOOPS)  # they are short
    monkeypatch.setattr(rounds, "SHORT", 0)
    assert {f.__name__: code_of(f).count("for (") for f in LOOPS} == {f.__name__: n for f, n in LOOPS.items()}
    assert all("for (" not in code_of(function) for function in UNROLLED)


def test_the_longer_it_is_the_rather_it_stays_one(monkeypatch):
    text = code_of(straight)
    monkeypatch.setattr(rounds, "SHORT", text.count("\n") // 2)
    assert "for (" in code_of(straight)

    def deep(v):
        x, y = v[0], v[1]
        for _ in range(3):
            for _ in range(20):
                x = x * 0.5 + 1.0
            y = y + x
        return x, y

    monkeypatch.setattr(rounds, "SHORT", 30)
    assert code_of(deep).count("for (") == 2


def test_what_is_computed_inside_is_not_known_outside(monkeypatch):
    monkeypatch.setattr(rounds, "SHORT", 0)

    def leaks(v):
        x, y, before = v[0], v[1], v[0] * 3.0
        for _ in range(2):
            y = y + x * 3.0 + x * 4.0
        return y + x * 4.0 + before

    lines = code_of(leaks).splitlines()
    assert sum("* of<F>(0x1.8" in line for line in lines) == 1  # three times x is known inside
    assert sum("* of<F>(0x1.0000000000000p+2" in line for line in lines) == 2


def test_text_that_was_executed_has_loops(monkeypatch):
    """Its source is where linecache keeps it; with another, nothing is known of the loop."""
    monkeypatch.setattr(rounds, "SHORT", 0)
    text = "def made(v):\n    x = v[0]\n    for i in range(3):\n        x = x * 0.5 + i\n    return (x,)\n"
    scope: dict = {"__name__": __name__}
    exec(compile(text, "<made>", "exec"), scope)
    monkeypatch.setitem(linecache.cache, "<made>", (len(text), None, text.splitlines(True), "<made>"))
    assert "for (" in code_of(scope["made"])
    same_as_tensors(scope["made"], floats(9), "vectors")
    for other in (text.replace("0.5", "0.25"), ""):
        linecache.cache["<made>"] = (len(other), None, other.splitlines(True), "<made>")
        assert with_bodies(scope["made"]) is scope["made"].__code__
        assert "for (" not in code_of(scope["made"])


def test_what_a_function_closes_over_and_its_defaults_stay(monkeypatch):
    monkeypatch.setattr(rounds, "SHORT", 0)
    times, helper = 3, halved

    def closing(v, /, more=0.25, *, most=2.0):
        x = v[0]
        for _ in range(times):
            x = helper(x, more) * most
        return (x,)

    assert "for (" in code_of(closing)
    same_as_tensors(closing, floats(9), "vectors")


@pytest.mark.parametrize(
    "loop", ["if x > 0.0:\n            break", "if x > i:\n            x = x + 1.0", "x = z + 1.0\n        z = x"]
)
def test_what_no_round_can_do_is_refused(loop):
    text = f"def wrong(v):\n    x = v[0]\n    for i in range(300):\n        {loop}\n    return (x,)\n"
    scope: dict = {"__name__": __name__}
    exec(compile(text, "<wrong>", "exec"), scope)
    linecache.cache["<wrong>"] = (len(text), None, text.splitlines(True), "<wrong>")
    with pytest.raises((TypeError, UnboundLocalError)):
        code_of(scope["wrong"])
