"""`account` by hand, on arrays as on tensors, and in a kernel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from gpusim.book import Book, Rules, account, reopened
from gpusim.tree import tree_map
from tests import interpreter

HERE = Path(__file__).parent
MODES = list(AutoresetMode)
# Four environments before a step: at its beginning, in its midst, one step before the limit of 5, and over.
BOOK = Book(
    torch.tensor([0.0, 2.0, 4.0, 3.0]),
    torch.tensor([0.0, 1.5, 8.0, 9.0]),
    torch.tensor([False, False, False, True]),
    torch.tensor([False, False, False, False]),
)
REWARD, TERMINATED = torch.tensor([1.0, 0.5, 2.0, 7.0]), torch.tensor([False, True, False, False])


def by(mode, book=BOOK, limit=5, **kwargs):
    return account(Rules(mode, limit), book, REWARD, TERMINATED, **kwargs)


def lists(record, *names):
    return [getattr(record, name).tolist() for name in names]


def test_same_step_resets_at_once():
    book, out = by(AutoresetMode.SAME_STEP, BOOK._replace(terminated=None, truncated=None))
    assert lists(out, "reward", "episode_return", "episode_length") == [
        [1.0, 0.5, 2.0, 7.0],
        [1.0, 2.0, 10.0, 16.0],
        [1.0, 3.0, 5.0, 4.0],
    ]
    assert lists(out, "terminated", "truncated", "reset") == [
        [False, True, False, False],
        [False, False, True, False],
        [False, True, True, False],
    ]
    assert out.valid is None
    assert lists(book, "elapsed", "episode_return") == [[1.0, 0.0, 0.0, 4.0], [1.0, 0.0, 0.0, 16.0]]


def test_next_step_resets_the_row_that_was_over_and_tells_what_is_true_afterwards():
    book, out = by(AutoresetMode.NEXT_STEP)
    assert lists(out, "reward", "episode_return", "episode_length") == [
        [1.0, 0.5, 2.0, 0.0],
        [1.0, 2.0, 10.0, 0.0],
        [1.0, 3.0, 5.0, 0.0],
    ]
    assert lists(out, "terminated", "truncated", "reset", "valid") == [
        [False, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
        [True, True, True, False],
    ]
    assert lists(book, *Book._fields) == lists(out, "episode_length", "episode_return", "terminated", "truncated")


def test_disabled_leaves_the_row_that_was_over_as_it_is():
    book, out = by(AutoresetMode.DISABLED)
    assert lists(out, "reward", "episode_return", "episode_length") == [
        [1.0, 0.5, 2.0, 0.0],
        [1.0, 2.0, 10.0, 9.0],
        [1.0, 3.0, 5.0, 3.0],
    ]
    assert lists(out, "terminated", "truncated", "reset", "valid") == [
        [False, True, False, True],
        [False, False, True, False],
        [False] * 4,
        [True, True, True, False],
    ]
    assert lists(book, *Book._fields) == lists(out, "episode_length", "episode_return", "terminated", "truncated")


def test_the_limit_is_none_or_somebody_elses():
    assert not by(AutoresetMode.SAME_STEP, limit=None)[1].truncated.any()
    theirs = torch.tensor([True, False, False, False])
    assert lists(by(AutoresetMode.SAME_STEP, truncated=theirs)[1], "reset") == [[True, True, False, False]]


def test_what_is_reset_from_outside_is_not_over():
    book = reopened(BOOK, torch.tensor([False, True, False, True]))
    assert lists(book, *Book._fields) == [[0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 8.0, 0.0], [False] * 4, [False] * 4]


def cases(n, seed):
    rng = torch.Generator().manual_seed(seed)
    elapsed = torch.randint(0, 6, (n,), generator=rng).float()
    flags = [torch.rand(n, generator=rng) < 0.3 for _ in range(3)]
    reward, total = (torch.randn(n, generator=rng) for _ in "ab")
    return Book(elapsed, total * elapsed, *flags[:2]), reward, flags[2]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [None, 3])
def test_arrays_are_as_good_as_tensors(mode, limit):
    for n, seed in ((1, 0), (1, 3), (37, 1)):
        given = cases(n, seed)
        arrays = tree_map(torch.Tensor.numpy, given)
        expected, found = account(Rules(mode, limit), *given), account(Rules(mode, limit), *arrays)
        for mine, other in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
            assert (mine is None) == (other is None)
            if mine is not None:
                assert mine.dtype == other.numpy().dtype
                np.testing.assert_array_equal(mine, other.numpy())


def test_in_a_kernel_it_is_the_same():
    pytest.importorskip("triton")
    interpreter.passes(HERE / "book_in_interpreter.py")
