"""`start()`: Triton's own compiler, cache and launcher on tensors of the CPU, over a libcuda that does nothing.

    import stub.driver
    stub.driver.start()  # once, on a machine without a GPU; then kernels "run" on device="cpu", backend="triton"

What a kernel would have written stays as it was: only what is launched, and how long the host takes for it, is true.
"""

import atexit
import contextlib
import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch

SOURCE = Path(__file__).with_name("libcuda.c")
H100 = (9, 0)  # its compute capability


@functools.cache
def library() -> ctypes.CDLL:
    """The stub, compiled and loaded under the name of the driver."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise RuntimeError("The stub driver is compiled from C, and there is no C compiler here; install gcc.")
    path = Path(_folder(), "libcuda.so.1")
    command = [compiler, "-O1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", str(SOURCE), "-o", str(path)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


@functools.cache
def _folder() -> str:
    """Kept while the process lives: launchers are linked with what is in it."""
    folder = tempfile.mkdtemp(prefix="gpusim-stub-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def start(capability: tuple[int, int] = H100) -> None:
    """For the rest of this process, kernels are compiled for a GPU of this capability, and launched on the stub.

    Raises:
        RuntimeError: there is a GPU here, or no C compiler.
    """
    if torch.cuda.is_available():
        raise RuntimeError("The stub driver is for machines without a GPU, and there is one here.")
    import triton

    library()
    triton.knobs.nvidia.libcuda_path = _folder()
    triton.runtime.driver.set_active(_driver(capability))

    from gpusim.kernels import launch

    launch.DEVICES.add("cpu")
    torch.cuda.device = lambda _: contextlib.nullcontext()  # type: ignore[assignment,misc,return-value]


def _driver(capability: tuple[int, int]) -> Any:
    from triton.backends.nvidia.driver import CudaDriver

    driver = CudaDriver()
    driver.get_device_capability = lambda device=0: capability
    driver.get_current_stream = lambda device=0: 0
    driver.get_current_device = lambda: 0
    driver.set_current_device = lambda device: None
    return driver


def launches() -> int:
    """So many, so far."""
    return library().stub_launches()
