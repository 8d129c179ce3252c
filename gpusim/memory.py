"""How much memory there is, so that what cannot fit is refused before anything is allocated."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from gpusim.errors import InputError

LITTLE = 2**26
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = (  # files of a control group: limit, use, and in memory.stat what of it can be taken back; versions 2 and 1
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def require(what: str, size: int, device: torch.device) -> None:
    """Raises InputError where `size` bytes for `what` do not fit into what is free; little is not looked up."""
    free = free_memory(device) if size > LITTLE else None
    if free is not None and size > free:
        raise InputError(f"{what} take at least {size_of(size)}, and {size_of(free)} are free on {device}.")


def free_memory(device: torch.device) -> int | None:
    """Bytes; None where this cannot be told. On the CPU the least of what machine and control groups leave."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, to be used again
        return torch.cuda.mem_get_info(device)[0] + held
    return min((x for x in (_machine_memory(), *_group_memory(CGROUPS)) if x is not None), default=None)


def _machine_memory() -> int | None:
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (OSError, ValueError):
            return None


def _group_memory(root: Path, process: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What each control group that this process is in has left, of those mounted at `root` that have a limit."""
    for line in _text(process).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top = root / controllers
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(top):
                    yield from _left(folder)


def _left(group: Path) -> Iterator[int]:
    """The bytes of one group's limit that are not in use; a file's pages are given back when they are needed."""
    for limit, use, reclaimable in LIMITS:
        most, used = _text(group / limit).strip(), _text(group / use).strip()
        if most.isdigit() and used.isdigit():
            found = (line.split() for line in _text(group / "memory.stat").splitlines())
            idle = next((int(number) for name, number in found if name == reclaimable), 0)
            yield max(0, int(most) - int(used) + idle)


def _text(path: Path) -> str:
    """Nothing where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def size_of(number: float) -> str:
    """As in "38 MiB"."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.0f} GiB" if number >= 10 else f"{number:.1f} GiB"
