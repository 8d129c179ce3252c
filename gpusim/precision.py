"""Everything of ours is float32, whatever `torch.set_default_dtype` says."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable)


def float32(function: F) -> F:
    """`function`, run with float32 as torch's default; that is every thread's, and as it was afterwards."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        before = torch.get_default_dtype()
        if before is torch.float32:
            return function(*args, **kwargs)
        torch.set_default_dtype(torch.float32)
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_default_dtype(before)

    return run  # type: ignore[return-value]
