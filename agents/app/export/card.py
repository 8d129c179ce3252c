"""What stands beside an export: what goes in and comes out, where it is from, and what was found of it."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from gpusim.agents.app.export.acting import Acting
from gpusim.agents.bench.provenance import commit
from gpusim.agents.train.evaluate import Loaded
from gpusim.agents.train.run import RunFolder
from gpusim.version import __version__

LIBRARIES = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime")


def interface(policy: Loaded, acting: Acting, precision: str) -> dict[str, Any]:
    """What whoever runs the file has to know; it is inside of it too."""
    return {
        "env": policy.env.id,
        "acts": "sampling, by noise that the caller draws" if acting.samples else "the mode of its distribution",
        "precision": precision,
        "observation": space(policy.env.observation_space),
        "action": space(policy.env.action_space),
        "inputs": [x.told() for x in acting.inputs],
        "outputs": [x.told() for x in acting.outputs],
    }


def space(given: Box | Discrete) -> dict[str, Any]:
    """Bounds are one number where they are the same everywhere, null where there is none."""
    if isinstance(given, Discrete):
        return {"kind": "discrete", "n": int(given.n), "start": int(given.start)}
    low, high = (x.flat[0].item() if (x == x.flat[0]).all() else x.tolist() for x in (given.low, given.high))
    return {"kind": "box", "shape": list(given.shape), "dtype": str(np.dtype(given.dtype)), "low": low, "high": high}


def origin(folder: RunFolder) -> dict[str, Any]:
    """The run, and by what it was exported."""
    config, steps = folder.config, folder.newest_iteration() * folder.config.steps_per_iteration
    return {
        "run": folder.path.name,
        "algorithm": folder.algorithm,
        "trained": {"steps": steps, "seed": config.seed, "network": config.network, "precision": config.precision},
        "run_result": folder.result(),
        "versions": {"gpusim": __version__, "commit": commit(), "python": platform.python_version()} | libraries(),
    }


def libraries() -> dict[str, str]:
    """Those that are installed, by their versions."""
    found = {"torch": str(torch.__version__)}
    for name in LIBRARIES[1:]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
