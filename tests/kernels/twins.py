"""Whether kernels do what their specification says: the same call of both, on one device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from gpusim.kernels.launch import runs_on
from gpusim.kernels.twin import Sizes, Twin, twins
from gpusim.tree import tensors, tree_map


def cases(large: bool = False) -> list[Any]:
    """Every twin with every one of its sizes, the `large` ones too or not, as parameters of a test."""
    return [
        pytest.param(twin, sizes, id=f"{twin.name}-{shown(sizes)}")
        for twin in twins().values()
        for sizes in (*twin.cases, *(twin.large if large else ()))
    ]


def shown(sizes: Sizes) -> str:
    return ",".join(f"{name}={tuple(x) if isinstance(x, tuple) else x}".replace(" ", "") for name, x in sizes.items())


def agree(twin: Twin, sizes: Sizes, device: str) -> None:
    """What a kernel has to fill, and what its launcher allocates, holds NaN or an absurd number before."""
    assert runs_on(torch.device(device))
    ours, theirs = (tree_map(lambda x: x.clone().to(device), twin.example(**sizes)) for _ in "ab")
    if twin.exact:
        theirs = tree_map(lambda x: x.double() if x.is_floating_point() else x, theirs)
    with poisoned():
        returned = twin.function(*ours)
    expected = twin.specification(*theirs)
    assert [returned is x for x in ours] == [expected is x for x in theirs]
    got, want = tensors(twin.compared(ours, returned)), tensors(twin.compared(theirs, expected))
    if twin.exact:
        got = [x.double() if x.is_floating_point() else x for x in got]
    assert [(x.dtype, x.shape) for x in got] == [(x.dtype, x.shape) for x in want]
    twin.close(got, want, sizes, device == "cuda")


@contextmanager
def poisoned() -> Iterator[None]:
    """Memory is not empty, but full of what nobody expects."""

    def after(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def filled(*args: Any, **kwargs: Any) -> Tensor:
            x = function(*args, **kwargs)
            return x.fill_(torch.nan if x.is_floating_point() else 1 if x.dtype == torch.bool else 99)

        return filled

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")):
            patch.setattr(owner, name, after(getattr(owner, name)))
        yield
