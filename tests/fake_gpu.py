"""A GPU that is not there, and on which whatever makes the host wait is an error.

It is torch's "meta" device: tensors on it have no values, so looking at one raises, as does a shape that depends on values.
What raises here too is a copy between host and device for which the host has to wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpusim import checks
from gpusim.agents import replay
from gpusim.kernels.launch import Launch, recording

GPU = torch.device("meta")
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Waited(Exception):
    """The host would have waited for the GPU."""


class HostGenerator(torch.Generator):
    """Whatever device is asked for."""

    def __new__(cls, device: Any = "cpu") -> "HostGenerator":
        return super().__new__(cls)


class NoWaiting(TorchDispatchMode):
    """Refuses copies from the host, and to it unless the host goes on meanwhile; notes what the GPU is told to do."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        tensors, made = ([x for x in tree_leaves(tree) if isinstance(x, Tensor)] for tree in ((args, kwargs), out))
        if func in COPIES and len({x.device.type for x in tensors + made}) > 1:
            meanwhile = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
            if made[0].device.type == GPU.type or not meanwhile:
                raise Waited(f"{func} from {tensors[-1].device.type} to {made[0].device.type}")
        if any(x.device.type == GPU.type for x in made):
            self.operations.append(func.overloadpacket.__name__)
        return out


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[NoWaiting, list[Launch]]]:
    """Within it `device="cuda"` is that GPU, and kernels are written down. What refuses to wait is to be entered when all
    is set up."""
    monkeypatch.setattr(checks, "device", lambda value: GPU)
    monkeypatch.setattr(replay, "free_memory", lambda device: None)
    monkeypatch.setattr(torch, "Generator", HostGenerator)
    with recording() as launches:
        yield NoWaiting(), launches
