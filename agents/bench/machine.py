"""What this machine has: processor, GPUs, driver, versions. It is looked at here and judged in `gpusim.agents.app.info`."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gpusim import checks

T = TypeVar("T")


@dataclass(frozen=True)
class Gpu:
    name: str
    capability: tuple[int, int]
    memory_gib: float | None = None


@dataclass(frozen=True)
class Machine:
    """What was found; None stands for what is not there."""

    system: str = "Linux"
    processor: str = "unknown"
    architecture: str = "x86_64"
    cores: int = 1  # cores that this process may use
    memory_gib: float | None = None
    python: str = "3.11.0"
    python_headers: bool = True
    torch: str | None = None
    torch_threads: int | None = None
    torch_cuda: str | None = None  # the CUDA version torch was built with
    torch_hip: str | None = None  # likewise ROCm
    torch_archs: tuple[str, ...] = ()  # GPU architectures it holds code for: "sm_80", "compute_120"
    torch_sees_gpu: bool = False
    torch_says: str | None = None  # its warning when it looked for a GPU
    triton: str | None = None
    gymnasium: str | None = None
    ale_py: str | None = None
    box2d: str | None = None
    envpool: str | None = None
    driver: str | None = None  # of NVIDIA
    driver_says: str | None = None  # the error of nvidia-smi
    nvidia_card: bool = False  # whether one is on the PCI bus
    device_files: bool = False  # whether /dev/nvidia0 or the like (WSL: /dev/dxg) can be seen
    visible_devices: str | None = None  # CUDA_VISIBLE_DEVICES
    gpus: tuple[Gpu, ...] = ()
    links: tuple[tuple[int, int, str], ...] = ()  # (GPU, GPU, what nvidia-smi calls the way between them)
    nccl: str | None = None  # the version that torch brings
    gloo: bool = False
    c_compiler: str | None = None
    cpp_compiler: str | None = None
    wants: tuple[tuple[str, str, str], ...] = ()  # (who, package, range): what gpusim and torch ask of packages
    declined: tuple[tuple[str, str, str], ...] = ()  # (backend, device type, why), as `gpusim.make` sees it


def probe() -> Machine:
    """Looks at this machine. What cannot be found out is left at None, and nothing is raised."""
    driver, says, gpus = _nvidia()
    torch = _torch_facts()
    return Machine(
        system=platform.system(),
        processor=_try(_processor) or platform.processor() or "unknown",
        architecture=platform.machine(),
        cores=_try(lambda: len(os.sched_getaffinity(0))) or os.cpu_count() or 1,
        memory_gib=_try(lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        python=platform.python_version(),
        python_headers=Path(sysconfig.get_paths()["include"], "Python.h").exists(),
        triton=_version("triton"),
        gymnasium=_version("gymnasium"),
        ale_py=_version("ale-py"),
        box2d=_version("box2d") or _version("box2d-py"),
        envpool=_version("envpool"),
        driver=driver,
        driver_says=says,
        nvidia_card=bool(_try(_nvidia_card)),
        device_files=bool(_try(lambda: [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")])),
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        c_compiler=next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), None),
        cpp_compiler=_try(_cpp_compiler),
        wants=(*_wants("gpusim", ("torch", "triton", "gymnasium")), *_wants("torch", ("triton",))),
        declined=_try(_refusals) or (),
        links=_try(_links) or () if len(gpus) > 1 else (),
        **{"gpus": gpus, **torch},
    )


def _cpp_compiler() -> str | None:
    from gpusim.kernels.cpp import compiler

    return compiler()


def _torch_facts() -> dict:
    try:
        import torch
    except Exception:
        return {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sees = bool(_try(torch.cuda.is_available))
        gpus = _try(lambda: tuple(_gpu(i) for i in range(torch.cuda.device_count()))) if sees else None
    return {
        "gloo": bool(_try(torch.distributed.is_gloo_available)),
        "nccl": _try(lambda: ".".join(map(str, torch.cuda.nccl.version()))) if _try(_has_nccl) else None,
        "torch": torch.__version__,
        "torch_threads": _try(torch.get_num_threads),
        "torch_cuda": torch.version.cuda,
        "torch_hip": torch.version.hip,
        "torch_archs": tuple(_try(torch.cuda.get_arch_list) or ()),
        "torch_sees_gpu": sees,
        "torch_says": str(caught[0].message).split("\n")[0] if caught else None,
        **({"gpus": gpus} if gpus else {}),
    }


def _has_nccl() -> bool:
    import torch

    return torch.distributed.is_nccl_available()


def _links() -> tuple[tuple[int, int, str], ...]:
    asked = subprocess.run(["nvidia-smi", "topo", "-m"], capture_output=True, text=True, timeout=20)
    return links_of(asked.stdout)


def links_of(table: str) -> tuple[tuple[int, int, str], ...]:
    """Each two GPUs and what is between them, of the table that `nvidia-smi topo -m` prints."""
    rows = [line.split() for line in re.sub(r"\x1b\[[\d;]*m", "", table).splitlines()]
    ways = {int(row[0][3:]): row[1:] for row in rows if row and re.fullmatch(r"GPU\d+", row[0]) and "X" in row}
    return tuple((a, b, ways[a][b]) for a in ways for b in ways if a < b)


def _gpu(index: int) -> Gpu:
    import torch

    facts = torch.cuda.get_device_properties(index)
    return Gpu(facts.name, (facts.major, facts.minor), facts.total_memory / 2**30)


def _nvidia() -> tuple[str | None, str | None, tuple[Gpu, ...]]:
    """The driver's version, what `nvidia-smi` complains of, and the GPUs it names."""
    loaded = _try(lambda: re.search(r"\s(\d{3}\.[\d.]+)\s", Path("/proc/driver/nvidia/version").read_text()))
    driver = loaded[1] if loaded else None
    if not shutil.which("nvidia-smi"):
        return driver, None, ()
    facts = "driver_version,name,compute_cap,memory.total"
    command = ["nvidia-smi", f"--query-gpu={facts}", "--format=csv,noheader,nounits"]
    asked = _try(lambda: subprocess.run(command, capture_output=True, text=True, timeout=20))
    if asked is None:
        return driver, "it does not answer", ()
    rows = [[cell.strip() for cell in line.split(",")] for line in asked.stdout.splitlines()]
    gpus = _try(lambda: tuple(Gpu(r[1], _capability(r[2]), float(r[3]) / 1024) for r in rows))
    if asked.returncode or not gpus:
        return driver, (asked.stdout + asked.stderr).strip().split("\n")[0] or "it names no GPU", ()
    return rows[0][0], None, gpus


def _nvidia_card() -> bool:
    cards = (p for p in Path("/sys/bus/pci/devices").iterdir() if (p / "vendor").read_text().strip() == "0x10de")
    return any((p / "class").read_text().startswith("0x03") for p in cards)


def _capability(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _refusals() -> tuple[tuple[str, str, str], ...]:
    import torch

    asked = ((n, d, checks.backend_problem(n, torch.device(d))) for d in ("cpu", "cuda") for n in checks.BACKENDS)
    return tuple((name, device, why) for name, device, why in asked if why)


def _wants(who: str, packages: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """The version ranges that `who` asks of these packages."""
    wanted = []
    for line in _try(lambda: importlib.metadata.requires(who)) or []:
        match = re.match(r"([A-Za-z0-9_-]+)\s*\(?([^;()]*)", line)
        if match and match[1] in packages and "extra ==" not in line:
            wanted.append((who, match[1], match[2].strip()))
    return wanted


def _version(package: str) -> str | None:
    return _try(lambda: importlib.metadata.version(package))


def _processor() -> str:
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else ""


def _try(look: Callable[[], T]) -> T | None:
    """What was found, None where looking failed."""
    try:
        return look()
    except Exception:
        return None
