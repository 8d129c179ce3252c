"""What a process that works on a run writes down of itself: machine, device, versions, command."""

import importlib.metadata
import os
import platform
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gpusim.agents.train import devices
from gpusim.agents.train.learner import Learner
from gpusim.version import __version__

PACKAGES = ("triton", "numpy", "gymnasium")


def facts(learner: Learner) -> dict[str, Any]:
    """Of this process, as `learner` begins in it."""
    device = learner.env.device
    return {
        "time": round(time.time(), 3),
        "steps": learner.steps,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "device": str(device),
        "backend": learner.env.backend,
        "path": learner.path,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "driver": devices.driver(),
        "processor": devices.processor(),
        "cores": devices.cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "versions": {
            "gpusim": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            **{package: _version(package) for package in PACKAGES},
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
