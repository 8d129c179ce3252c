"""`gpusim info`: what this machine has, which backends work on it, and what to do where one does not."""

import re
import sys
from typing import NamedTuple

from gpusim import checks
from gpusim.agents.bench.machine import Machine, probe
from gpusim.version import __version__

CUDA_NEEDS_DRIVER = {11: (450, 80), 12: (525, 60), 13: (580, 65)}  # Linux, for any minor version of that CUDA
CHOOSE = "choose at https://pytorch.org/get-started/locally"
NATIVELY = f"on the CPU, backend auto is native from {checks.FEW} environments on"
COMPILE_NEEDS = (7, 0)  # the compute capability that torch.compile and Triton ask for


class Backend(NamedTuple):
    name: str
    device: str  # "cpu" or "cuda"
    problem: str | None  # why it does not work and how to mend it; None where it works


def main() -> None:
    """Prints the report: a table on a terminal, plain lines elsewhere."""
    machine = probe()
    facts, works, wrong = describe(machine), backends(machine), problems(machine)
    try:
        show = _show if sys.stdout.isatty() else _print
        show(facts, works, wrong)
    except ImportError:
        _print(facts, works, wrong)


def describe(m: Machine) -> list[tuple[str, str]]:
    """What there is, as (name, value)."""
    gpus = [f"{g.name}, compute capability {g.capability[0]}.{g.capability[1]}{_memory(g.memory_gib)}" for g in m.gpus]
    threads = f", torch uses {m.torch_threads} threads" if m.torch_threads else ""
    return [
        ("gpusim", __version__),
        ("Python", f"{m.python}, {m.system} {m.architecture}"),
        ("CPU", f"{m.processor}, {m.cores} cores{_memory(m.memory_gib)}{threads}"),
        *(("GPU", g) for g in gpus or ["none found"]),
        *(("GPU links", text) for text in _linked(m)),
        ("NVIDIA driver", m.driver or "none found"),
        ("torch", f"{m.torch} ({_built_for(m)})" if m.torch else "not installed"),
        ("ranks", _ranks(m)),
        ("triton", m.triton or "not installed"),
        ("C++ compiler", f"{m.cpp_compiler} ({NATIVELY})" if m.cpp_compiler else "none found"),
        ("Gymnasium", m.gymnasium or "not installed"),
        ("ale-py", m.ale_py or "not installed"),
        ("Box2D", m.box2d or "not installed"),
        ("EnvPool", m.envpool or "not installed"),
    ]


def _memory(gib: float | None) -> str:
    return f", {gib:.0f} GiB" if gib else ""


LINKS = {
    "NV": "NVLink", "PIX": "one PCIe switch", "PXB": "PCIe switches", "PHB": "the CPU's PCIe bridge",
    "NODE": "PCIe bridges of one CPU", "SYS": "two CPUs",
}  # fmt: skip


def _linked(m: Machine) -> list[str]:
    """How the GPUs are linked, a line for each kind of way."""
    kinds: dict[str, list[str]] = {}
    for a, b, way in m.links:
        kinds.setdefault(way, []).append(f"{a}–{b}")
    return [f"{way} ({_way(way)}) between {', '.join(pairs)}" for way, pairs in kinds.items()]


def _way(name: str) -> str:
    kind = re.sub(r"\d+$", "", name)
    return LINKS.get(kind, "as nvidia-smi calls it")


def _ranks(m: Machine) -> str:
    """What adds up between the processes that torchrun starts."""
    if not m.torch:
        return "none"
    gpus = f"NCCL {m.nccl} between GPUs" if m.nccl else "no NCCL in this torch, so that GPUs cannot share a run"
    return f"{'gloo between CPUs' if m.gloo else 'no gloo in this torch'}, {gpus}"


def _built_for(m: Machine) -> str:
    if m.torch_hip:
        return f"built for ROCm {m.torch_hip}"
    return f"built for CUDA {m.torch_cuda}" if m.torch_cuda else "built for the CPU only"


def backends(m: Machine) -> list[Backend]:
    """Every backend on the CPU and on a GPU."""
    return [Backend(name, device, _declined(m, name, device)) for device in ("cpu", "cuda") for name in checks.BACKENDS]


def _declined(m: Machine, name: str, device: str) -> str | None:
    if device == "cuda" and not m.torch_sees_gpu:
        return "torch sees no GPU" + ("; see below" if any(_gpu_unseen(m)) else "")
    if why := next((w for n, d, w in m.declined if (n, d) == (name, device)), None):
        return why
    if name == "eager":
        return None
    return _no_kernels(m) if device == "cuda" else None


def _no_kernels(m: Machine) -> str | None:
    """Why torch.compile cannot make Triton kernels for this GPU."""
    if not m.triton:
        return "triton is not installed; install it: pip install triton"
    if m.gpus and m.gpus[0].capability < COMPILE_NEEDS:
        return f'it needs compute capability {_dotted(COMPILE_NEEDS)} or more; use backend="eager"'
    if not m.python_headers or not m.c_compiler:
        return "triton needs a C compiler and Python.h; install them (Debian, Ubuntu: apt install gcc python3-dev)"
    return None


def problems(m: Machine) -> list[str]:
    """What does not fit together, each in a sentence or two with the remedy."""
    if not m.torch:
        return ["torch cannot be imported. Install gpusim again: pip install --force-reinstall gpusim"]
    found = [*_versions(m), *_gpu_unseen(m), *_gpu_unfit(m)]
    return [sentence for sentence in found if sentence]


def _versions(m: Machine) -> list[str]:
    installed = {"torch": m.torch, "triton": m.triton, "gymnasium": m.gymnasium}
    return [
        f"{package} {version} is outside {wanted}, which {who} asks for. Install that: pip install '{package}{wanted}'"
        for who, package, wanted in m.wants
        if (version := installed.get(package)) and not _within(version, wanted)
    ]


def _gpu_unseen(m: Machine) -> list[str | None]:
    """Why torch sees no GPU though this machine may have one."""
    if m.torch_sees_gpu:
        return []
    if m.torch_hip:
        return [f"torch is built for ROCm {m.torch_hip} and sees no AMD GPU; gpusim runs on the CPU."]
    if not m.driver and not m.driver_says:
        return [_no_driver(m)]
    if m.torch_cuda is None:
        return [_cpu_torch(m)]
    if m.visible_devices is not None and m.visible_devices.strip() in ("", "-1"):
        return [f'CUDA_VISIBLE_DEVICES is "{m.visible_devices}", which hides every GPU: unset CUDA_VISIBLE_DEVICES']
    return [_driver_trouble(m)]


def _cpu_torch(m: Machine) -> str:
    wanted = next((w for who, package, w in m.wants if (who, package) == ("gpusim", "torch")), "")
    return (
        f"This machine has an NVIDIA driver, but torch {m.torch} is built for the CPU only, so no GPU is used. "
        f"Install torch with CUDA: pip install --force-reinstall 'torch{wanted}' (on Windows, {CHOOSE})"
    )


def _no_driver(m: Machine) -> str | None:
    if not m.nvidia_card and not m.device_files:
        return None
    return "This machine has an NVIDIA GPU, but no NVIDIA driver answers. Install it, or load it: modprobe nvidia"


def _driver_trouble(m: Machine) -> str:
    if m.driver and (needed := _driver_lacks(m)):
        return (
            f"The NVIDIA driver {m.driver} is too old for torch {m.torch}, which is built for CUDA {m.torch_cuda} "
            f"and needs driver {needed} or newer. Update the driver, or install torch for an older CUDA ({CHOOSE})"
        )
    if not m.device_files:
        return (
            "The NVIDIA driver is loaded, but no GPU device file can be seen from here. "
            "In a container, start it with its GPUs: docker run --gpus all ..."
        )
    if m.driver_says:
        return f"nvidia-smi fails: {m.driver_says.rstrip('.')}. After an update of the driver, restart the machine."
    says = f" ({m.torch_says})" if m.torch_says else ""
    return f"There is an NVIDIA driver, {m.driver}, but torch {m.torch} cannot use the GPU{says}. Restart the machine."


def _driver_lacks(m: Machine) -> str | None:
    """The least driver that torch's CUDA needs, where this one is older."""
    needed = CUDA_NEEDS_DRIVER.get(_numbers(m.torch_cuda or "0")[0])
    return _dotted(needed) if needed and m.driver and _numbers(m.driver) < needed else None


def _gpu_unfit(m: Machine) -> list[str]:
    """GPUs that torch sees and holds no code for."""
    if not m.torch_sees_gpu:
        return []
    if m.torch_hip:
        return [f"ROCm {m.torch_hip} has not been tried with this version of gpusim."]
    return [
        f"torch {m.torch} holds no code for the {g.name} (compute capability {_dotted(g.capability)}); it holds "
        f"{', '.join(m.torch_archs)}. Install a torch that does ({CHOOSE})"
        for g in m.gpus
        if m.torch_archs and not any(_runs_on(arch, g.capability) for arch in m.torch_archs)
    ]


def _runs_on(arch: str, capability: tuple[int, int]) -> bool:
    """Machine code (`sm_XY`) runs on its own generation from X.Y on, PTX (`compute_XY`) on every later GPU."""
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
    if not match:
        return False
    kind, major, minor, only = match[1], int(match[2]), int(match[3]), match[4]
    if only == "a":
        return (major, minor) == capability
    return (major, minor) <= capability and (kind == "compute" or major == capability[0])


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.13.0+cu130" gives (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(n) for n in match[0].split(".")) if match else (0,)


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(str(n) for n in numbers)


def _within(version: str, wanted: str) -> bool:
    """Whether a version lies in a range such as ">=2.11,<2.14"; only `>=`, `<` and `==` are understood."""
    have = _numbers(version)
    for bound in wanted.split(","):
        match = re.fullmatch(r"\s*(>=|<|==)\s*([\d.]+)\s*", bound)
        if not match:
            continue
        limit = _numbers(match[2])
        same = (have + (0,) * len(limit))[: len(limit)] == limit
        if not {">=": have >= limit or same, "<": have < limit and not same, "==": same}[match[1]]:
            return False
    return True


def plain(facts: list[tuple[str, str]], works: list[Backend], wrong: list[str]) -> list[str]:
    """The report as lines of text."""
    lines = [f"{name:<14} {value}" for name, value in facts]
    lines += ["", f"{'backend':<8} {'device':<6} works"]
    lines += [f"{b.name:<8} {b.device:<6} {'yes' if b.problem is None else 'no: ' + b.problem}" for b in works]
    return lines + [line for sentence in wrong for line in ("", f"! {sentence}")]


def _print(facts: list[tuple[str, str]], works: list[Backend], wrong: list[str]) -> None:
    print("\n".join(plain(facts, works, wrong)))


def _show(facts: list[tuple[str, str]], works: list[Backend], wrong: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    machine = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    machine.add_column(style="bold")
    for name, value in facts:
        machine.add_row(name, Text(value))
    table = Table("backend", "device", "works", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for b in works:
        verdict = Text("yes", style="green") if b.problem is None else Text.assemble(("no", "yellow"), f": {b.problem}")
        table.add_row(b.name, b.device, verdict)
    console.print(machine, "", table)
    for sentence in wrong:
        console.print("", Text.assemble(("! ", "bold red"), sentence))
