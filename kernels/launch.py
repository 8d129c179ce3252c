"""How every kernel is launched: on the device, or, within `recording()`, written down instead of run.

What is written down can be compiled for any GPU on a machine that has none, and shows what a function launches.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch


class Launch(NamedTuple):
    """One launch as it was asked for."""

    kernel: Any
    grid: tuple[int, ...]
    args: tuple  # tensors, numbers, None, and tuples of these, in the order of the kernel's arguments
    constants: dict[str, Any]  # its `tl.constexpr` arguments
    num_warps: int
    fp_fusion: bool = True  # whether a product and a sum may be rounded as one


DEVICES = {"cuda"}  # types of devices that kernels run on
_recorders: list[list[Launch]] = []


def launch(
    kernel: Any, grid: tuple[int, ...], *args: Any, num_warps: int = 4, fp_fusion: bool = True, **constants: Any
) -> None:
    """Runs `kernel` over `grid`, its constexpr arguments by keyword."""
    if _recorders:
        _recorders[-1].append(Launch(kernel, grid, args, constants, num_warps, fp_fusion))
    else:
        _runner()(kernel, grid, args, constants, num_warps, fp_fusion)


@functools.cache
def _runner() -> Callable[..., None]:
    from gpusim.kernels.relaunch import run  # for where there is no Triton

    return run


def programs(count: int, each: int) -> int:
    """How many it takes for `count` things, at most `each` in one; on the host `triton.cdiv` takes many times as long."""
    return -(-count // each)


@contextmanager
def recording() -> Iterator[list[Launch]]:
    """Within it no kernel runs; the list has what would have been launched."""
    _recorders.append([])
    try:
        yield _recorders[-1]
    finally:
        _recorders.pop()


def interpreted() -> bool:
    """Whether kernels run on the CPU, by Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


def runs_on(device: torch.device) -> bool:
    """Whether kernels can be launched on tensors of this device."""
    return device.type in DEVICES or interpreted() or bool(_recorders)
