"""An NVML without GPUs: a module as `pynvml` is, whose answers are those of the GPUs that it is given."""

import types
from dataclasses import dataclass, field
from typing import Any

NAMES = {  # of nvml's functions, and the field each gives
    "nvmlDeviceGetName": "name",
    "nvmlDeviceGetUUID": "uuid",
    "nvmlDeviceGetTemperature": "temperature",
    "nvmlDeviceGetPowerUsage": "power",
    "nvmlDeviceGetEnforcedPowerLimit": "power_limit",
    "nvmlDeviceGetClockInfo": "clock",
    "nvmlDeviceGetMaxClockInfo": "clock_most",
    "nvmlDeviceGetCurrentClocksThrottleReasons": "slowed",
}


class NotSupported(Exception):
    """As NVMLError_NotSupported."""


@dataclass
class FakeGpu:
    """None: not supported. Units are NVML's."""

    name: Any = "NVIDIA H100 80GB HBM3"
    uuid: Any = "GPU-fake-0"
    utilization: Any = 93
    memory: Any = 31 * 2**30
    memory_total: Any = 80 * 2**30
    temperature: Any = 61
    power: Any = 412_300  # mW
    power_limit: Any = 700_000
    clock: Any = 1755
    clock_most: Any = 1980
    slowed: Any = 0x004  # by its power limit
    processes: Any = field(default_factory=list)  # (number, bytes)


def fake_nvml(*gpus: FakeGpu, driver: str = "580.65.06") -> Any:
    """The module."""
    module: Any = types.ModuleType("pynvml")
    module.NVML_TEMPERATURE_GPU, module.NVML_CLOCK_SM = 0, 1
    module.asked = []
    module.nvmlInit = lambda: None
    module.nvmlShutdown = lambda: None
    module.nvmlSystemGetDriverVersion = lambda: driver
    module.nvmlDeviceGetCount = lambda: len(gpus)
    module.nvmlDeviceGetHandleByIndex = lambda index: gpus[index]

    def given(gpu: FakeGpu, name: str) -> Any:
        module.asked.append(name)
        if (value := getattr(gpu, name)) is None:
            raise NotSupported(name)
        return value

    for function, name in NAMES.items():
        setattr(module, function, lambda gpu, *_, name=name: given(gpu, name))
    module.nvmlDeviceGetUtilizationRates = lambda gpu: types.SimpleNamespace(gpu=given(gpu, "utilization"))
    module.nvmlDeviceGetMemoryInfo = lambda gpu: types.SimpleNamespace(
        used=given(gpu, "memory"), total=given(gpu, "memory_total")
    )
    module.nvmlDeviceGetComputeRunningProcesses = lambda gpu: [
        types.SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in given(gpu, "processes")
    ]
    return module
