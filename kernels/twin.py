"""`twin`: one name for a function in torch and the Triton kernels that do the same, and what the two are compared on.

The function in torch is the specification. It has the docstring, runs wherever kernels do not, and is the oracle of the
tests: `tests/kernels/twins_in_interpreter.py` and `tests/gpu/test_twins.py` compare all pairs that `twins()` finds, and
`benchmarks/kernel_report.py` compiles their kernels.
"""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch

import gpusim.kernels
from gpusim.kernels.launch import runs_on
from gpusim.kernels.tune import Sizes

P = ParamSpec("P")
R = TypeVar("R")
Close = Callable[[Any, Any, Sizes, bool], None]
Pieces = Mapping[str, Sizes]


class Twin(NamedTuple):
    """A specification, its launcher, and what the tests compare them on."""

    name: str
    function: Callable[..., Any]  # the public one, which chooses
    specification: Callable[..., Any]
    launcher: Callable[[], Callable[..., Any]]  # imports Triton, and gives the function that launches
    example: Callable[..., tuple]  # of sizes, by keyword, the arguments of a call, on the CPU and the same every time
    cases: tuple[Sizes, ...]  # sizes at which the two are compared
    large: tuple[Sizes, ...]  # likewise, but only on a GPU: they would take the interpreter too long
    compared: Callable[[tuple, Any], Any]  # the tensors that have to agree, of arguments and of what was returned
    close: Close  # raises AssertionError if they do not: of ours, theirs, sizes, and whether they are on a GPU
    exact: bool  # whether the specification is given everything in float64
    pieces: Pieces  # the cases are compared also with blocks of these sizes, so that it takes several


_twins: dict[str, Twin] = {}


def twins() -> dict[str, Twin]:
    """All there are in this package, by name."""
    for module in pkgutil.iter_modules(gpusim.kernels.__path__):
        if not module.name.endswith("_triton") and module.name != "relaunch":  # those import Triton
            importlib.import_module(f"gpusim.kernels.{module.name}")
    return dict(sorted(_twins.items()))


def twin(
    specification: Callable[P, R],
    launcher: str,
    *,
    on: str,
    example: Callable[..., tuple],
    cases: list[Sizes],
    close: Close,
    large: list[Sizes] | None = None,
    check: Callable[P, None] | None = None,
    compared: Callable[[tuple, Any], Any] = lambda arguments, returned: (arguments, returned),
    exact: bool = False,
    pieces: Pieces | None = None,
) -> Callable[P, R]:
    """The function of which `x_torch`, the specification, and `x_triton` in the file `launcher` are two forms, called `x`.

    Args:
        on: the name of the argument, a tensor, whose device decides.
        check: is called first, and raises ValueError where the arguments do not fit.
        others: as those of `Twin`.
    """
    name = specification.__name__.removesuffix("_torch")
    place = list(inspect.signature(specification).parameters).index(on)

    @functools.cache
    def launched() -> Callable[P, R]:
        return getattr(importlib.import_module(f"gpusim.kernels.{launcher}"), f"{name}_triton")

    @functools.wraps(specification)
    def chosen(*args: P.args, **kwargs: P.kwargs) -> R:
        if check is not None:
            check(*args, **kwargs)
        tensor: Any = args[place] if place < len(args) else kwargs[on]
        return (launched() if runs_on(tensor.device) else specification)(*args, **kwargs)

    chosen.__name__ = chosen.__qualname__ = name
    _twins[name] = Twin(
        name, chosen, specification, launched, example, tuple(cases), tuple(large or ()), compared, close, exact,
        pieces or {},
    )  # fmt: skip
    return chosen


# ----------------------------------------------------------------------------------------------------- how near is near


def within(rtol: float, atol: float, on_gpu: tuple[float, float] | None = None) -> Close:
    """Every entry, as `torch.testing.assert_close` has it; NaN agrees with NaN."""

    def close(ours: Any, theirs: Any, sizes: Sizes, gpu: bool) -> None:
        r, a = on_gpu if gpu and on_gpu else (rtol, atol)
        torch.testing.assert_close(list(ours), list(theirs), rtol=r, atol=a, equal_nan=True)

    return close


bit_for_bit = within(0.0, 0.0)


def of_largest(near: float, on_gpu: float | None = None) -> Close:
    """No entry of a tensor is further off than this share of the tensor's largest."""

    def close(ours: Any, theirs: Any, sizes: Sizes, gpu: bool) -> None:
        share = on_gpu if gpu and on_gpu else near
        for x, y in zip(ours, theirs, strict=True):
            torch.testing.assert_close(x, y, rtol=0.0, atol=share * float(y.abs().max()))

    return close
