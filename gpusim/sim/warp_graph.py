"""Warp, as we need it: quiet, its compiled kernels beside ours, and its launches on torch's stream."""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch

from gpusim.kernels.cpp import cache_folder
from gpusim.sim.mujoco_model import library


@cache
def warp() -> Any:
    """Warp, initialized. What it was told by whoever imported it before stays as it is: its log, and the folder of its
    kernels (also by `WARP_CACHE_PATH`), which else is `warp` in ours.

    Raises:
        InputError: it is not installed.
    """
    first = "warp" not in sys.modules
    wp = library("warp", "gpusim")
    if first:
        wp.config.log_level = 40  # errors: no banner, and no line for each kernel
    if wp.config.kernel_cache_dir is None and not os.environ.get("WARP_CACHE_PATH"):
        wp.config.kernel_cache_dir = str(cache_folder() / "warp")
    with contextlib.nullcontext() if torch.cuda.is_available() else _without_stderr():
        wp.init()
    return wp


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Warp's library says there, whatever its log level, that there is no GPU."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class Graph:
    """What `function` launches by Warp, recorded once and launched as one ever after: on a GPU a CUDA graph, on the stream
    that is torch's when it is launched; on a CPU Warp's own list of calls.

    Args:
        function: it launches the same, on the same arrays, at each call; it has been called before.
        device: where.
    """

    def __init__(self, function: Callable[[], None], device: torch.device):
        self.wp, self.device = warp(), device
        collects = gc.isenabled()
        gc.disable()  # what is freed while a GPU records breaks the record
        try:
            with on(device), self.wp.ScopedCapture() as capture:
                function()
        finally:
            if collects:
                gc.enable()
        self.graph = capture.graph

    def launch(self) -> None:
        if self.device.type == "cpu":
            self.wp.capture_launch(self.graph)
        else:
            self.wp.capture_launch(self.graph, stream=self.wp.stream_from_torch(self.device))


@contextlib.contextmanager
def on(device: torch.device) -> Iterator[None]:
    """Within it Warp works on this device; on a GPU, on a stream of torch's that can be recorded, and in torch's order."""
    wp = warp()
    if device.type == "cpu":
        with wp.ScopedDevice("cpu"):
            yield
        return
    side, outer = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    side.wait_stream(outer)
    with torch.cuda.stream(side), wp.ScopedStream(wp.stream_from_torch(side)):
        yield
    outer.wait_stream(side)
