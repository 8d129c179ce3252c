"""`pretend()`: a GPU that torch believes in, over the stub driver; its tensors are the CPU's under another name.

    import stub.gpu
    stub.gpu.pretend()  # once, on a machine without a GPU; then device="cuda" is there

Programs for a GPU run here as far as their launches go. Kernels write nothing, and new memory is full of zeros instead, so
what such a program computes, or measures, means nothing.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from stub import driver

NAME = "none, a stub"  # of the GPU
GIBIBYTES, MULTIPROCESSORS = 80, 132
CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


class Renamed(TorchFunctionMode):
    """Every tensor says that it is on the GPU; what is asked for there is made on the CPU, and never uninitialized."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        if func in ANSWERS:
            return ANSWERS[func](*args)
        kwargs = {k: here(v) for k, v in (kwargs or {}).items() if k != "pin_memory"}
        return FILLED.get(func, func)(*map(here, args), **kwargs)


ANSWERS: dict[Any, Any] = {
    Tensor.device.__get__: lambda x: CUDA,
    Tensor.is_cuda.__get__: lambda x: True,  # type: ignore[attr-defined]
    Tensor.is_pinned: lambda x, *_: True,
    Tensor.pin_memory: lambda x, *_: x,
    Tensor.cuda: lambda x, *_: x,
}
FILLED = {torch.empty: torch.zeros, torch.empty_like: torch.zeros_like, Tensor.new_empty: Tensor.new_zeros}


def here(x: Any) -> Any:
    """A device's CPU; anything else as it is."""
    named = isinstance(x, torch.device) or (isinstance(x, str) and x.partition(":")[0] == "cuda")
    return CPU if named else x


class Nothing:
    """A stream, an event or a graph: whatever is done with it does nothing."""

    cuda_stream = 0

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def query(self) -> bool:
        return True

    def elapsed_time(self, other: Any) -> float:
        return 1e300  # so that no rate is ever taken for a measurement

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


class Around(Nothing, contextlib.AbstractContextManager):
    """A block that is run as it is."""

    def __exit__(self, *args: Any) -> None:
        pass


class Generator(torch.Generator):
    """On the CPU, whatever it is made for."""

    def __new__(cls, device: Any = None) -> "Generator":
        return super().__new__(cls)


class Properties:
    """Of the GPU that is not there."""

    name, major, minor = NAME, *driver.H100
    multi_processor_count, total_memory = MULTIPROCESSORS, GIBIBYTES * 2**30


def nothing(*args: Any, **kwargs: Any) -> None:
    pass


TORCH_CUDA: dict[str, Any] = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "get_device_name": lambda device=None: NAME,
    "get_device_capability": lambda device=None: driver.H100,
    "get_device_properties": lambda device=None: Properties,
    "mem_get_info": lambda device=None: (Properties.total_memory, Properties.total_memory),
    **dict.fromkeys(("Stream", "Event", "CUDAGraph", "current_stream", "default_stream", "cudart"), Nothing),
    **dict.fromkeys(("device", "stream", "graph"), Around),
    **dict.fromkeys(("synchronize", "set_device", "set_stream", "empty_cache", "set_sync_debug_mode"), nothing),
}


def pretend() -> None:
    """For the rest of this process.

    Raises:
        RuntimeError: there is a GPU here, or no C compiler.
    """
    driver.start()
    for name, value in TORCH_CUDA.items():
        setattr(torch.cuda, name, value)
    torch.Generator = Generator  # type: ignore[misc]
    Renamed().__enter__()
