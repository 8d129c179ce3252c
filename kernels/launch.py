"""How every kernel is launched: on the device, or, within `recording()`, written down instead of run.

What is written down can be compiled for any GPU on a machine that has none, and shows what a function launches.
"""

import os
from collections.abc import Iterator
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
    elif interpreted():
        kernel[grid](*args, **constants)
    else:
        with torch.cuda.device(_device(args)):
            kernel[grid](*args, num_warps=num_warps, enable_fp_fusion=fp_fusion, **constants)


def _device(args: tuple) -> torch.device | None:
    """Where the first tensor lies: a launch goes to the current device, whatever its arguments' is."""
    for x in args:
        found = x.device if isinstance(x, torch.Tensor) else _device(x) if isinstance(x, tuple) else None
        if found is not None:
            return found
    return None


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
