"""Run by test_book.py: `account` inside a kernel, alone, against `gpusim.book.account`, bit for bit."""

import pytest
import torch
import triton
import triton.language as tl
from gymnasium.vector import AutoresetMode

from gpusim.book import Book, Rules, account
from gpusim.kernels import episode_triton
from gpusim.kernels.episode_triton import SAME_STEP
from tests.envs.test_book import MODES, cases
from tests.interpreter import quicken

quicken()
account_triton = episode_triton.account
Pages = episode_triton.Book
ORDER = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED)


@triton.jit
def account_kernel(
    book, reward, ended, after, taken, n, AUTORESET: tl.constexpr, LIMIT: tl.constexpr, BLOCK: tl.constexpr
):
    at = tl.arange(0, BLOCK)
    inside = at < n
    flags = ()
    if AUTORESET != SAME_STEP:
        flags = (
            tl.load(book[2] + at, mask=inside, other=0) != 0,
            tl.load(book[3] + at, mask=inside, other=0) != 0,
        )
    elapsed, total = tl.load(book[0] + at, mask=inside, other=0), tl.load(book[1] + at, mask=inside, other=0)
    gained, over = tl.load(reward + at, mask=inside, other=0), tl.load(ended + at, mask=inside, other=0) != 0
    new, out = account_triton(Pages(elapsed, total, flags), gained, over, AUTORESET, LIMIT)
    tl.store(after[0] + at, new.elapsed, mask=inside)
    tl.store(after[1] + at, new.episode_return, mask=inside)
    for k in tl.static_range(len(new.flags)):
        tl.store(after[2 + k] + at, new.flags[k], mask=inside)
    for k in tl.static_range(len(out)):
        tl.store(taken[k] + at, out[k], mask=inside)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize(("n", "seed"), [(1, 0), (1, 3), (37, 1), (64, 2)])
def test_account(mode, limit, n, seed):
    book, reward, terminated = cases(n, seed)
    expected, out = account(Rules(mode, limit), book, reward, terminated)
    after = Book(*(torch.full_like(x, 77) if x.is_floating_point() else torch.zeros_like(x) for x in book))
    dtypes = [torch.float32, *[torch.bool] * 4, torch.float32, torch.float32]
    taken = tuple(torch.full((n,), 77, dtype=dtype) for dtype in dtypes)
    account_kernel[(1,)](
        tuple(book), reward, terminated, tuple(after), taken, n, AUTORESET=ORDER.index(mode), LIMIT=limit or 0, BLOCK=64
    )
    names = ("reward", "terminated", "truncated", "reset", "valid", "episode_return", "episode_length")
    for name, found in zip(names, taken, strict=True):
        wanted = getattr(out, name)
        assert torch.equal(found, torch.ones(n, dtype=torch.bool) if wanted is None else wanted), name
    kept = 2 if mode is AutoresetMode.SAME_STEP else 4
    for name in Book._fields[:kept]:
        assert torch.equal(getattr(after, name), getattr(expected, name)), name
