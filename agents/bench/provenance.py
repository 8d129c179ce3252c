"""What a figure has to be read with: hardware, versions, commit, command and time."""

import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import gpusim
from gpusim.agents.bench.machine import Machine, probe
from gpusim.agents.folder.strict_json import dumps


def provenance(m: Machine | None = None) -> dict[str, Any]:
    """The facts of this machine and process that a result file keeps."""
    m = m or probe()
    return {
        "hardware": {
            "processor": m.processor,
            "cores": m.cores,
            "memory_gib": round(m.memory_gib or 0, 1),
            "gpus": [g.name for g in m.gpus],
            "driver": m.driver,
        },
        "versions": {
            "gpusim": gpusim.__version__,
            "python": m.python,
            "torch": m.torch,
            "cuda": m.torch_cuda,
            "triton": m.triton,
            "gymnasium": m.gymnasium,
        },
        "torch_threads": m.torch_threads,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "commit": commit(),
        "command": command(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def busy(result: dict[str, Any]) -> bool:
    """Whether others were using this machine: the load average when the measurement began, against its cores."""
    return (result["load"] or 0.0) > 0.25 * result["hardware"]["cores"]


def hardware(result: dict[str, Any], device: str) -> str:
    """The name of what was measured: the GPU, or the processor and its cores."""
    facts = result["hardware"]
    if device.startswith("cuda"):
        return facts["gpus"][torch.device(device).index or 0]
    return f"{facts['processor']}, {facts['cores']} cores"


def commit() -> str | None:
    """The commit of the checkout that gpusim runs from, "-dirty" if files have changed since, other than results; None
    outside of one."""
    root = Path(gpusim.__file__).resolve().parents[1]
    git = ["git", "-C", str(root)]
    try:
        top = subprocess.run([*git, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True).stdout
        if Path(top.strip()).resolve() != root:
            return None
        named = subprocess.run(
            [*git, "describe", "--always", "--abbrev=12"], capture_output=True, text=True
        ).stdout.strip()
        changed = [*git, "status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks/results"]
        dirty = subprocess.run(changed, capture_output=True, text=True).stdout.strip()
        return f"{named}-dirty" if named and dirty else named or None
    except (OSError, subprocess.CalledProcessError):
        return None


def command() -> str:
    """The command line, without the folders of this machine."""
    program = Path(sys.argv[0])
    if program.suffix != ".py":
        return shlex.join([program.name, *sys.argv[1:]])
    here = Path.cwd()
    shown = program.resolve().relative_to(here) if program.resolve().is_relative_to(here) else program.name
    return shlex.join(["python", str(shown), *sys.argv[1:]])


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(dumps(result, indent=2) + "\n")
    os.replace(part, path)
