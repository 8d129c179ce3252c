"""`gpusim.compiled.Compiled`: what it gives, and when it compiles anew."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import gpusim
from gpusim.compiled import Compiled

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's compiler's own
    pytest.mark.xdist_group("compile"),
]


class Pair(NamedTuple):
    a: Tensor
    b: Tensor | float | None


def grown(pair, words, more):
    b = 0.0 if pair.b is None else pair.b
    sums = {"sum": pair.a + b + words[0]["x"], "none": None}
    return Pair(pair.a * 2, 7.0), [sums, *(pair.a + x for x in more)]


def check(function, *args):
    """The tree that the function itself gives, types and all; how many times it was compiled until now."""
    ours, theirs = function(*args), grown(*args)
    assert type(ours[0]) is Pair
    assert type(ours[1]) is list
    assert ours[0].b == 7.0
    assert ours[1][0]["none"] is None
    for a, b in zip(*([tree[0].a, tree[1][0]["sum"], *tree[1][1:]] for tree in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)
    return len(function.made)


@pytest.mark.slow
def test_it_gives_what_the_function_gives_whatever_it_is_given():
    function = Compiled(grown)
    x, y = torch.arange(6.0), torch.ones(6)
    once = Pair(x, y), [{"x": y}], ()
    assert check(function, *once) == 1
    assert check(function, *once) == 1
    assert check(function, Pair(x, 3.0), [{"x": y}], ()) == 2  # a number in place of a tensor
    assert check(function, Pair(x, 4.0), [{"x": y}], ()) == 3  # another number, which is a constant of the code
    assert check(function, Pair(x, None), [{"x": y}], (y, y)) == 4
    assert check(function, Pair(x.int(), y), [{"x": y}], ()) == 5
    assert check(function, *once) == 5
    assert check(function, Pair(x, 3.0), [{"x": y}], ()) == 5
    assert check(function, Pair(x.expand(2, 6).T[:, 0], y), [{"x": y}], ()) == 5


@pytest.mark.slow
def test_sizes_that_change_are_left_open():
    function = Compiled(lambda x, y: (x[..., None] * y, x.sum()))
    for n, made in ((4, 1), (6, 2), (9, 2), (4, 2), (5000, 2), (1, 2)):
        x, y = torch.arange(float(n)), torch.arange(3.0)
        product, total = function(x, y)
        torch.testing.assert_close(product, x[:, None] * y)
        torch.testing.assert_close(total, x.sum())
        assert len(function.made) == made, n
    assert torch.equal(function(torch.ones(2, 4), torch.ones(3))[1], torch.tensor(8.0))  # another rank
    bits = Compiled(lambda x, y: x[None] >> y[:, None])  # torch spreads the shapes of a shift in another way
    for n in (4, 6, 9):
        x, y = torch.arange(n), torch.arange(3)
        assert torch.equal(bits(x, y), x[None] >> y[:, None])
    image = torch.arange(12.0).reshape(3, 4)
    lying, standing = Compiled(lambda x: x + 1.0), image.T.contiguous().T
    for x, made in ((image, 1), (standing, 2), (image, 2), (standing, 2)):
        assert torch.equal(lying(x), image + 1.0)
        assert len(lying.made) == made


def test_threads_are_compiled_in():
    function, threads = Compiled(lambda x: x + 1.0), torch.get_num_threads()
    try:
        for count, made in ((1, 1), (2, 2), (1, 2)):
            torch.set_num_threads(count)
            assert torch.equal(function(torch.zeros(3)), torch.ones(3))
            assert len(function.made) == made
    finally:
        torch.set_num_threads(threads)


def test_what_goes_wrong_in_the_function_is_told():
    with pytest.raises(ValueError, match="its own"):
        Compiled(wrong)(torch.zeros(3))


def wrong(x):
    raise ValueError("its own")


TABLE = torch.tensor([10.0, 20.0])


def test_a_tensor_given_twice_and_one_that_is_no_argument():
    function = Compiled(lambda x, y: x + 2.0 * y + TABLE)
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    for _ in range(2):
        for args in ((y, y), (x, y)):
            assert torch.equal(function(*args), args[0] + 2.0 * args[1] + TABLE)
    assert len(function.made) == 1


def test_a_look_at_a_value_is_refused():
    with pytest.raises(gpusim.InputError, match=r'cannot be compiled: .* backend="eager"'):
        Compiled(lambda x: x + 1 if x.sum() > 0 else x)(torch.ones(3))


def test_what_was_compiled_is_kept_for_other_processes():
    """In Inductor's cache, which a new object asks as a new process does."""
    from torch._dynamo.utils import counters

    before = dict(counters["inductor"])
    for _ in range(2):
        assert torch.equal(Compiled(lambda x: x * 3.0 + 0.125)(torch.ones(11)), torch.full((11,), 3.125))
    more = {
        name: counters["inductor"][name] - before.get(name, 0) for name in ("fxgraph_cache_hit", "fxgraph_cache_bypass")
    }
    assert more["fxgraph_cache_hit"] >= 1
    assert more["fxgraph_cache_bypass"] == 0


def test_the_versions_used_last_are_kept(monkeypatch):
    monkeypatch.setattr("gpusim.compiled.KEPT", 2)
    function = Compiled(lambda x, k: x * k)
    x = torch.ones(3)
    for k in (2.0, 3.0, 2.0, 4.0):
        assert function(x, k).tolist() == [k] * 3
    assert [made.rest[1] for made in function.made] == [4.0, 2.0]
