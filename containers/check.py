"""Says what torch, CUDA and driver a container has, and what is wrong between them, in words.

    python check.py [--quiet]

With --quiet only what is wrong is said. Nothing is refused: whoever wants the CPU has it.
"""

import ctypes
import os
import sys
from typing import NamedTuple

import torch

NEEDED = {11: 450, 12: 525, 13: 580}
"""The oldest driver that runs programs of a CUDA, by its first number (NVIDIA, CUDA Compatibility, table 1)."""


class Facts(NamedTuple):
    """What there is."""

    torch: str
    built_for: str | None  # the CUDA of torch, None where it has none
    driver: tuple[int, int] | None  # the newest CUDA that the host's driver knows, None where there is no driver
    devices: bool  # whether the container sees an NVIDIA device
    gpus: tuple[str, ...] = ()  # names
    capabilities: tuple[str, ...] = ()  # of each, as sm_90
    compiled: tuple[str, ...] = ()  # what torch was compiled for


def facts() -> Facts:
    driver = newest_cuda()
    devices = os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg")
    usable = torch.version.cuda is not None and driver is not None and torch.cuda.is_available()
    numbers = range(torch.cuda.device_count()) if usable else ()
    gpus = tuple(torch.cuda.get_device_name(i) for i in numbers)
    capabilities = tuple("sm_{}{}".format(*torch.cuda.get_device_capability(i)) for i in numbers)
    compiled = tuple(torch.cuda.get_arch_list()) if usable else ()
    return Facts(torch.__version__, torch.version.cuda, driver, devices, gpus, capabilities, compiled)


def newest_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver knows; its library comes into a container from the host."""
    try:
        library, number = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(number)):
            return None
    except OSError:
        return None
    return number.value // 1000, number.value % 1000 // 10


def told(found: Facts) -> str:
    """In a line."""
    cuda = "without CUDA" if found.built_for is None else f"for CUDA {found.built_for}"
    driver = "no NVIDIA driver" if found.driver is None else "a driver that knows CUDA {}.{}".format(*found.driver)
    gpus = ", ".join(found.gpus) or "no GPU"
    return f"torch {found.torch} {cuda}, {driver}, {gpus}"


def wrong(found: Facts) -> str | None:
    """What keeps torch from the GPU, and what to do; None where nothing does, or where there is to be none."""
    if found.built_for is None:
        if found.devices:
            return "there is a GPU, and the torch of this image has no CUDA: take the image of the target cuda."
        return None
    if found.driver is None:
        if found.devices:
            return (
                "a GPU is here, but not the driver's library: set NVIDIA_DRIVER_CAPABILITIES=compute,utility, and install "
                "NVIDIA's Container Toolkit on the host."
            )
        return (
            "no GPU is visible, so all runs on the CPU: start with --gpus all, which needs NVIDIA's Container Toolkit."
        )
    major = int(found.built_for.split(".")[0])
    if found.driver[0] < major:
        known, needed = "{}.{}".format(*found.driver), NEEDED.get(major, "of that CUDA")
        return (
            f"the host's driver knows CUDA up to {known}, and torch was built for {found.built_for}: install driver "
            f"{needed} or newer on the host, or build the image with the torch of an older CUDA, whose index is told by "
            "--build-arg TORCH_INDEX=..."
        )
    if not found.gpus:
        return "driver and torch fit, but no GPU answers: look at nvidia-smi on the host, and start with --gpus all."
    for name, capability in zip(found.gpus, found.capabilities, strict=True):
        if not runs(capability, found.compiled):
            return (
                f"the {name} is {capability}, and this torch was compiled for {', '.join(found.compiled)}: build the "
                "image with a torch that knows it (--build-arg TORCH_INDEX=...)."
            )
    return None


def runs(capability: str, compiled: tuple[str, ...]) -> bool:
    """Whether code for one of these runs there: of the same first number and no later, or to be compiled on the spot."""
    mine = int(capability.removeprefix("sm_"))
    for kind, number in (x.split("_") for x in compiled):
        least = int(number.rstrip("af"))
        if least <= mine and (kind == "compute" or least // 10 == mine // 10):
            return True
    return False


if __name__ == "__main__":
    found = facts()
    if "--quiet" not in sys.argv[1:]:
        print(f"gpusim: {told(found)}")
    if problem := wrong(found):
        print(f"gpusim: {problem}", file=sys.stderr)
