"""What is kept of a trajectory, and how two are compared.

On the machine and the libraries that recorded it, all bytes have to be the same. Elsewhere the last bits of a sine or of
a sum differ with the instructions of the CPU; so there all that is no float is compared exactly, and of every tensor of
floats its mean.
"""

import hashlib
import platform
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

TOLERANCE = 1e-4  # of a mean elsewhere; an environment that took another way is further off


def machine() -> dict[str, str]:
    """What decides about the last bits."""
    umath = getattr(np, "_core", None) or np.core  # NumPy before 2
    features = " ".join(sorted(name for name, there in umath._multiarray_umath.__cpu_features__.items() if there))
    return {
        "torch": torch.__version__.split("+")[0],
        "numpy": np.__version__,
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "features": hashlib.sha256(features.encode()).hexdigest()[:16],
    }


def fingerprint(tree: Any) -> dict[str, Any]:
    whole, exact, means = hashlib.sha256(), hashlib.sha256(), []
    for name, leaf in leaves(tree):
        array = leaf.detach().contiguous().numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)
        told = f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes()
        whole.update(told)
        if array.dtype.kind == "f":
            means.append(float(f"{np.abs(array, dtype=np.float64).mean():.7g}") if array.size else 0.0)
        else:
            exact.update(told)
    return {"all": whole.hexdigest()[:32], "exact": exact.hexdigest()[:32], "means": means}


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors and numbers by the way to them."""
    if isinstance(tree, dict):
        for key in sorted(tree):
            yield from leaves(tree[key], f"{name}.{key}")
    elif isinstance(tree, tuple | list):
        for key, value in zip(getattr(tree, "_fields", range(len(tree))), tree, strict=True):
            yield from leaves(value, f"{name}.{key}")
    elif tree is not None:
        yield name, tree


def problem(found: dict[str, Any], recorded: dict[str, Any], same_machine: bool) -> str | None:
    """How the two differ, or None."""
    if same_machine:
        return None if found["all"] == recorded["all"] else "it is another trajectory, bit for bit"
    if found["exact"] != recorded["exact"]:
        return "whole numbers or flags are others"
    if not np.allclose(found["means"], recorded["means"], rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        return "its floats are others"
    return None
