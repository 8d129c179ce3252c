"""The vocabulary on torch tensors against Python's own arithmetic, and on NumPy arrays against torch.

Against Triton it is held in test_lower.py.
"""

import operator

import numpy as np
import pytest
import torch

from gpusim.kernels import lang
from tests.kernels.vocabulary import (
    ROUNDED,
    WORDS,
    bits,
    entities,
    floats,
    ints,
    nan_choices,
    reductions,
)

DEFINITIONS = [  # word, what it is for two Python numbers
    (lang.floor_divide, operator.floordiv),
    (lang.remainder, operator.mod),
    (lang.minimum, min),
    (lang.maximum, max),
    (lambda x, y: lang.where(x > y, x, y), max),
    (lambda x, y: lang.clip(x, -2, y), lambda x, y: min(max(x, -2), y)),
    (lambda x, y: lang.absolute(x) + y, lambda x, y: abs(x) + y),
    (lambda x, y: lang.to_int(x * y), lambda x, y: int(x * y)),
    (lambda x, y: lang.to_float(x > y), lambda x, y: float(x > y)),
]
NAMES = ["floor_divide", "remainder", "minimum", "maximum", "where", "clip", "absolute", "to_int", "to_float"]


@pytest.mark.parametrize(("word", "meaning"), DEFINITIONS, ids=NAMES)
@pytest.mark.parametrize("inputs", [ints, floats], ids=["ints", "floats"])
def test_a_word_means_what_python_means(word, meaning, inputs):
    """Whatever the signs; floats as NumPy's float32 scalars."""
    x, y = inputs(60)
    got = word(x, y)
    convert = int if inputs is ints else np.float32
    expected = [meaning(convert(a), convert(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert got.tolist() == expected


@pytest.mark.parametrize("inputs", [ints, floats], ids=["ints", "floats"])
def test_a_number_is_as_good_as_a_lane(inputs):
    x, _ = inputs(40)
    for number in (2, -3):
        lane = torch.full_like(x, number)
        for word in (lang.floor_divide, lang.remainder, lang.minimum, lang.maximum):
            assert torch.equal(word(x, number), word(x, lane))
            assert word(x, number).dtype == x.dtype
        assert torch.equal(lang.where(x > 0, x, number), lang.where(x > 0, x, lane))
        assert lang.where(x > 0, number, x).dtype == x.dtype


def test_two_numbers_are_float32():
    condition = torch.tensor([True, False])
    for a, b in ((1, 0), (1.0, 0.0), (1, 0.0), (True, False)):
        chosen = lang.where(condition, a, b)
        assert chosen.dtype == torch.float32
        assert chosen.tolist() == [1.0, 0.0]


def test_reductions_run_over_the_last_axis():
    x = entities()
    rows = x.tolist()
    names = [[f(row) for row in rows] for f in (sum, min, max)]
    assert [lang.sum_(x).tolist(), lang.min_(x).tolist(), lang.max_(x).tolist()] == names
    assert lang.any_(x > 4).tolist() == [any(v > 4 for v in row) for row in rows]
    assert lang.all_(x > -5).tolist() == [all(v > -5 for v in row) for row in rows]
    assert lang.cumsum(x)[:, -1].tolist() == [sum(row) for row in rows]
    assert lang.sum_(x > 0).dtype == lang.cumsum(x > 0).dtype == torch.int32


def test_bits_of_all_entities():
    x = entities().to(torch.int32)
    rows = x.tolist()
    assert lang.or_(x).tolist() == [a | b | c | d for a, b, c, d in rows]
    for got, want in zip(bits(x.numpy()), bits(x), strict=True):
        assert got.dtype == np.int32
        assert got.tolist() == want.tolist()


def test_a_word_is_divided_evenly():
    """`below` gives every number its share of the 2**32 words, and `unit` their top 24 bits."""
    edges = torch.tensor([0, 2**32 // 3, 2**32 // 3 + 1, 2**31 - 1, 2**31, 2**32 - 1])
    assert lang.below(edges, 3).tolist() == [0, 0, 1, 1, 1, 2]
    assert lang.below(edges, torch.full((6,), 2, dtype=torch.int32)).tolist() == [0, 0, 0, 0, 1, 1]
    assert lang.below(edges, 3).dtype == torch.int32
    assert lang.unit(edges).tolist() == [0.0, *(w // 256 / 2**24 for w in edges[1:].tolist())]
    assert lang.unit(edges).dtype == torch.float32


@pytest.mark.parametrize("count", [1, 2, 4, 16])
def test_entities_have_the_words_of_the_blocks_in_their_order(count):
    at = torch.arange(50)
    for rng in (lang.Rng(7, at, at * 3, 5, 1), lang.Rng(7, at.numpy(), at.numpy() * 3, 5, 1)):
        expected = [word for block in range(3, 7) for word in lang.words(rng, block)][:count]
        got = lang.slot_words(rng, 3, count)
        assert got.shape == (50, count)
        assert [got[:, k].tolist() for k in range(count)] == [word.tolist() for word in expected]
        drawn = lang.slot_uniform(rng, 3, count, -1.0, 1.0)
        assert drawn[:, 0].tolist() == lang.uniform(rng, 3, -1.0, 1.0).tolist()
        assert str(drawn.dtype).endswith("float32")


@pytest.mark.parametrize("block", [256, -1, 1.5, True, torch.arange(50)], ids=["256", "-1", "1.5", "True", "lane"])
def test_a_block_that_is_none(block):
    """Those of 256 and more would be another stream's."""
    at = torch.arange(50)
    for rng in (
        lang.Rng(7, at, at, 5, 1),
        lang.Rng(7, at.numpy(), at.numpy(), 5, 1),
        lang.DrawnRng(7, at, at, 5, 1, {}),
    ):
        for draw in (lang.words, lambda rng, block: lang.uniform(rng, block, 0.0, 1.0)):
            with pytest.raises(ValueError, match="a block is a whole number from 0 to 255, known in advance, not"):
                draw(rng, block)


def test_entities_keep_to_their_stream():
    at = torch.arange(50)
    for rng in (lang.Rng(7, at, at, 5, 1), lang.Rng(7, at.numpy(), at.numpy(), 5, 1)):
        assert lang.slot_words(rng, 0, 1024).shape == lang.slot_words(rng, 252, 16).shape[:1] + (1024,)
        for block, count in ((0, 2048), (253, 16), (256, 1)):
            with pytest.raises(ValueError, match="not 256; 256 blocks are the words of 1024 entities"):
                lang.slot_uniform(rng, block, count, 0.0, 1.0)


def test_every_word_says_what_it_is_and_has_its_twin():
    from gpusim.kernels import lang_triton

    for name in lang.__all__:
        word = getattr(lang, name)
        if callable(word) and name not in ("Lane", "Rng"):
            assert word.__doc__, name
            assert hasattr(lang_triton, name), name


def test_likes():
    for x in floats(3)[0], ints(3)[0]:
        assert lang.zeros_like(x).tolist() == [0, 0, 0]
        assert lang.ones_like(x).tolist() == [1, 1, 1]
        assert lang.zeros_like(x).dtype == lang.ones_like(x).dtype == x.dtype
        assert lang.false_like(x).tolist() == [False] * 3


def numpy_of(tree):
    return type(tree)(*(t.numpy() for t in tree)) if hasattr(tree, "_fields") else tree.numpy()


@pytest.mark.parametrize("n", [1, 33])
@pytest.mark.parametrize(("function", "inputs"), WORDS, ids=lambda f: f.__name__)
def test_arrays_are_as_good_as_tensors(function, inputs, n):
    """But for the width of floats: NumPy makes float64 of an int beside a float."""
    given = inputs(n)
    for which, (got, want) in enumerate(zip(function(numpy_of(given)), function(given), strict=True)):
        assert isinstance(got, np.ndarray), which
        assert got.dtype.kind == want.numpy().dtype.kind, which
        exact = got.dtype != np.float64 and (function not in ROUNDED or got.dtype.kind != "f")
        within = 0 if exact else 2e-6
        np.testing.assert_allclose(got.astype(want.numpy().dtype), want.numpy(), within, within, err_msg=str(which))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_reductions_of_arrays(dtype):
    x = entities().to(dtype)
    for which, (got, want) in enumerate(zip(reductions(x.numpy()), reductions(x), strict=True)):
        torch.testing.assert_close(torch.from_numpy(got), want, rtol=0, atol=0, msg=lambda m, i=which: f"{i}: {m}")


def test_nan_is_not_swallowed():
    x, y = torch.tensor([torch.nan, 1.0, torch.nan, 2.0]), torch.tensor([1.0, torch.nan, torch.nan, 3.0])
    low, high, clipped = nan_choices((x, y))
    assert low.isnan().tolist() == high.isnan().tolist() == [True, True, True, False]
    assert clipped.isnan().tolist() == [True, False, True, False]
    for got, want in zip(nan_choices((x.numpy(), y.numpy())), (low, high, clipped), strict=True):
        torch.testing.assert_close(torch.from_numpy(got), want, equal_nan=True)
