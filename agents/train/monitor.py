"""A thread that looks now and then at what the device and the host are doing, while a run goes on.

It asks NVML, the system, and torch's own count of memory: none of them waits for the GPU, nor makes it wait.
"""

import threading
import time
from collections import deque
from typing import Any

import torch

from gpusim.agents.train.devices import GIB, HEAT, POWER, Machine, Nvml, Process

PERIOD = 2.0  # seconds between two looks
EVERY = 10.0  # seconds over which looks are averaged for a reading
NAMES = {  # of a reading, and the figure's unit in words
    "gpu_utilization": "GPU at work [%]",
    "gpu_memory_gib": "memory of the GPU in use [GiB]",
    "gpu_temperature": "temperature of the GPU [°C]",
    "gpu_power_w": "power of the GPU [W]",
    "gpu_clock_mhz": "clock of the GPU [MHz]",
    "gpu_slowed_by_heat": "share of time in which heat holds the GPU's clock back",
    "gpu_slowed_by_power": "share of time in which its power limit does",
    "torch_memory_gib": "memory of the GPU that tensors take [GiB]",
    "torch_reserved_gib": "memory of the GPU that the process has reserved [GiB]",
    "host_cpu": "processor at work [%]",
    "host_memory_gib": "memory of the host in use [GiB]",
    "process_cpu": "processor that the process takes [% of a core]",
    "process_memory_gib": "memory of the host that the process takes [GiB]",
}
"""What a reading may have of the machine."""


class Monitor:
    """Looks from `start` to `stop`."""

    def __init__(self, device: torch.device):
        self.device, self.uuid = device, _uuid(device)
        self.looks = deque[dict[str, float]](maxlen=1000)
        self.taken = time.monotonic()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="gpusim monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Waits for the look that is being taken: a process may not fork while a thread runs."""
        self._over.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def take(self) -> dict[str, float]:
        """The means of what was seen since the last time; nothing where that is not `EVERY` seconds ago."""
        if time.monotonic() - self.taken < EVERY or not self.looks:
            return {}
        seen, self.taken = [self.looks.popleft() for _ in range(len(self.looks))], time.monotonic()
        found = {name: [look[name] for look in seen if name in look] for name in NAMES}
        return {name: float(f"{sum(values) / len(values):.6g}") for name, values in found.items() if values}

    def _watch(self) -> None:
        nvml, machine, process = Nvml(), Machine(), Process()
        while not self._over.wait(PERIOD):
            self.looks.append(figures(nvml, machine, process, self.device, self.uuid))
        nvml.close()


def figures(nvml: Nvml, machine: Machine, process: Process, device: torch.device, uuid: str | None) -> dict[str, float]:
    """By the names of `NAMES`, what is known now."""
    host, work, gpu = machine.look(), process.look(), nvml.one(uuid) if uuid else None
    found: dict[str, Any] = {
        "host_cpu": host.cpu,
        "host_memory_gib": _gib(host.memory),
        "process_cpu": work.cpu,
        "process_memory_gib": _gib(work.memory),
    }
    if device.type == "cuda":
        found["torch_memory_gib"] = torch.cuda.memory_allocated(device) / GIB
        found["torch_reserved_gib"] = torch.cuda.memory_reserved(device) / GIB
    if gpu:
        found |= {
            "gpu_utilization": gpu.utilization,
            "gpu_memory_gib": _gib(gpu.memory),
            "gpu_temperature": gpu.temperature,
            "gpu_power_w": gpu.power,
            "gpu_clock_mhz": gpu.clock,
            "gpu_slowed_by_heat": gpu.slowed_by(HEAT),
            "gpu_slowed_by_power": gpu.slowed_by(POWER),
        }
    return {name: float(value) for name, value in found.items() if value is not None}


def _gib(size: int | None) -> float | None:
    return None if size is None else size / GIB


def _uuid(device: torch.device) -> str | None:
    """By which NVML knows that GPU."""
    if device.type != "cuda":
        return None
    return str(getattr(torch.cuda.get_device_properties(device), "uuid", "")) or None
