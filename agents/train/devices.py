"""What GPUs and host do, by NVML (`nvidia-ml-py`) and `psutil`; neither makes a GPU wait, and either may be missing."""

import contextlib
import os
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
GIB = 2**30
HEAT, POWER = "heat", "power"
SLOWED = {  # bits of nvmlClocksEventReasons, https://docs.nvidia.com/deploy/nvml-api, and what holds the clocks back
    0x004: (POWER, "power limit"),
    0x008: (HEAT, "hardware slowdown"),
    0x020: (HEAT, "heat"),
    0x040: (HEAT, "heat (hardware)"),
    0x080: (POWER, "power brake"),
}


@dataclass(frozen=True)
class Gpu:
    """A GPU at a moment; None stands for what its driver does not tell."""

    index: int
    uuid: str | None = None
    name: str | None = None
    utilization: float | None = None  # percent of the time in which a kernel ran
    memory: int | None = None  # bytes in use
    memory_total: int | None = None
    temperature: float | None = None  # °C
    power: float | None = None  # W
    power_limit: float | None = None
    clock: float | None = None  # MHz, of the multiprocessors
    clock_most: float | None = None
    slowed: int | None = None  # bits of SLOWED, and others
    processes: tuple[tuple[int, int | None], ...] = ()  # (number, bytes)

    @property
    def reasons(self) -> list[str]:
        """What holds its clocks back, in words."""
        return [words for bit, (_, words) in SLOWED.items() if (self.slowed or 0) & bit]

    def slowed_by(self, kind: str) -> bool | None:
        """Whether heat or power does; None where nobody knows."""
        if self.slowed is None:
            return None
        return any(self.slowed & bit for bit, (of, _) in SLOWED.items() if of == kind)


@dataclass(frozen=True)
class Host:
    """The machine at a moment."""

    cpu: float | None = None  # percent of all cores
    memory: int | None = None  # bytes in use
    memory_total: int | None = None


@dataclass(frozen=True)
class Work:
    """What a process takes of it."""

    cpu: float | None = None  # percent of one core
    memory: int | None = None  # bytes resident


class Nvml:
    """The GPUs of this machine; none where there is no driver, or no `pynvml`."""

    def __init__(self) -> None:
        self.nvml: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
            self.nvml = pynvml
        except Exception:  # ImportError, or whatever the driver answers
            return

    def close(self) -> None:
        if self.nvml:
            with contextlib.suppress(Exception):
                self.nvml.nvmlShutdown()
            self.nvml = None

    def driver(self) -> str | None:
        """Its version."""
        return _text(_asked(self.nvml.nvmlSystemGetDriverVersion)) if self.nvml else None

    def all(self) -> list[Gpu]:
        return [self._look(handle, index) for index, handle in self._handles()]

    def one(self, uuid: str) -> Gpu | None:
        """The GPU of that number, which NVML and CUDA share where their order differs."""
        for index, handle in self._handles():
            if _text(_asked(self.nvml.nvmlDeviceGetUUID, handle)) in (uuid, f"GPU-{uuid}"):
                return self._look(handle, index)
        return None

    def _handles(self) -> Iterator[tuple[int, Any]]:
        for index in range((self.nvml and _asked(self.nvml.nvmlDeviceGetCount)) or 0):
            if (handle := _asked(self.nvml.nvmlDeviceGetHandleByIndex, index)) is not None:
                yield index, handle

    def _look(self, handle: Any, index: int) -> Gpu:
        nvml = self.nvml
        memory = _asked(nvml.nvmlDeviceGetMemoryInfo, handle)
        running = _asked(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
        milliwatts = [_asked(f, handle) for f in (nvml.nvmlDeviceGetPowerUsage, nvml.nvmlDeviceGetEnforcedPowerLimit)]
        power, limit = (None if x is None else x / 1000 for x in milliwatts)
        return Gpu(
            index,
            uuid=_text(_asked(nvml.nvmlDeviceGetUUID, handle)),
            name=_text(_asked(nvml.nvmlDeviceGetName, handle)),
            utilization=getattr(_asked(nvml.nvmlDeviceGetUtilizationRates, handle), "gpu", None),
            memory=getattr(memory, "used", None),
            memory_total=getattr(memory, "total", None),
            temperature=_asked(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            power=power,
            power_limit=limit,
            clock=_asked(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            clock_most=_asked(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
            slowed=_asked(self._slowed, handle),
            processes=tuple((p.pid, p.usedGpuMemory) for p in running),
        )

    def _slowed(self, handle: Any) -> int:
        """By its name since driver 535, or the one before."""
        now = getattr(self.nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        return (now or self.nvml.nvmlDeviceGetCurrentClocksThrottleReasons)(handle)


class Machine:
    """This machine; the processor's work is that since the last look."""

    def __init__(self) -> None:
        self.psutil = _psutil()
        self.look()

    def look(self) -> Host:
        if not self.psutil:
            return Host()
        memory = _asked(self.psutil.virtual_memory)
        used = None if memory is None else memory.total - memory.available
        return Host(_asked(self.psutil.cpu_percent), used, getattr(memory, "total", None))


class Process:
    """A process of this machine, by its number or this one; the processor's work is that since the last look."""

    def __init__(self, pid: int | None = None):
        psutil = _psutil()
        self.process: Any = psutil and _asked(psutil.Process, pid)
        self.look()

    def look(self) -> Work:
        if not self.process:
            return Work()
        return Work(_asked(self.process.cpu_percent), getattr(_asked(self.process.memory_info), "rss", None))


def _psutil() -> Any:
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def host_memory() -> int | None:
    """Bytes of this machine."""
    psutil = _psutil()
    return getattr(psutil and _asked(psutil.virtual_memory), "total", None)


def driver() -> str | None:
    """Version of NVIDIA's."""
    nvml = Nvml()
    try:
        return nvml.driver()
    finally:
        nvml.close()


def processor() -> str:
    """Its name."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1]
    return platform.processor() or "unknown"


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _asked(look: Callable[..., T], *args: Any) -> T | None:
    """None where the driver, or the system, does not tell."""
    try:
        return look(*args)
    except Exception:
        return None


def _text(words: Any) -> str | None:
    return words.decode() if isinstance(words, bytes) else words
