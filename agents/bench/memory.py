"""What an environment takes of memory: the bytes of its state, and the most that it needs while it steps."""

import ctypes
import gc
from dataclasses import replace
from pathlib import Path

import torch

from gpusim import checks
from gpusim.agents.bench.measure import Point, make
from gpusim.agents.bench.roofline import state_bytes

SEEN = 2**24  # bytes: less growth of resident memory than this is lost among the pages of everything else
STATUS = Path("/proc/self/status")
PEAK_RESET = Path("/proc/self/clear_refs")  # writing 5 makes the present size the peak (proc(5))


def memory(point: Point) -> dict[str, float | None]:
    """Bytes of the state, and the growth of memory at its peak over making the environments and two calls, per environment.

    Whatever is compiled has to be so already, as the compiler takes memory too. On a GPU it is torch's allocations there; on
    the CPU resident memory, where Linux tells it, and None where it grew too little to be seen.
    """
    device = checks.device(point.device)
    point = replace(point, steps=1) if point.mode == "step" else point  # the actions of many steps are no part of it
    made = make(point)
    made[1]()
    del made
    gc.collect()
    before = start(device)
    env, call, _ = make(point)
    call()
    call()
    grown = None if before is None else peak(device) - before
    if grown is not None and device.type == "cpu" and grown < SEEN:
        grown = None
    found = state_bytes(env) / point.num_envs, grown and grown / point.num_envs
    env.close()
    return dict(zip(("state_bytes_per_env", "peak_bytes_per_env"), found, strict=True))


def start(device: torch.device) -> int | None:
    """Forgets earlier peaks; the memory in use now [bytes]."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        ctypes.CDLL(None).malloc_trim(0)
        PEAK_RESET.write_text("5")
        return resident("VmRSS")
    except (OSError, AttributeError):
        return None


def peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident("VmHWM")


def resident(which: str) -> int:
    """A line of this process's status [bytes]."""
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith(which))
