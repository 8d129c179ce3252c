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
from gpusim.agents.parts import replay
from gpusim.kernels.launch import Launch, recording

GPU = torch.device("meta")
IN_PLACE = torch.ops.aten.copy_.default
COPIES = (IN_PLACE, torch.ops.aten._to_copy.default)


class Waited(Exception):
    """The host would have waited for the GPU."""


class HostGenerator(torch.Generator):
    """Whatever device is asked for."""

    def __new__(cls, device: Any = "cpu") -> "HostGenerator":
        return super().__new__(cls)


class Gpu(TorchDispatchMode):
    """Notes what it is told to do. While it is `busy`, copies from the host raise, and to it unless the host goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []
        self.strict = False

    def made(self, function: Any) -> Any:
        """`torch.tensor` or `torch.as_tensor`, which do not tell what they make of the host's numbers."""

        def make(data: Any, *args: Any, **kwargs: Any) -> Tensor:
            if self.strict and torch.device(kwargs.get("device") or "cpu") == GPU and not isinstance(data, Tensor):
                raise Waited("a tensor made of the host's numbers")
            return function(data, *args, **kwargs)

        return make

    @contextmanager
    def busy(self) -> Iterator[None]:
        self.strict = True
        try:
            yield
        finally:
            self.strict = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in COPIES:
            source, target = (args[1], args[0].device) if func is IN_PLACE else (args[0], kwargs.get("device"))
            if target not in (None, source.device):
                meanwhile = kwargs.get("non_blocking") or args[2:] == (True,)
                if self.strict and not (target.type == "cpu" and meanwhile):
                    raise Waited(f"a copy from {source.device} to {target}")
                if target.type == "cpu":  # there is nothing to copy
                    return torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype)
        if func._schema.name == "aten::_fused_adam_" and args[0][0].device == GPU:
            return None  # torch has not said what it does to tensors without values
        if kwargs.get("generator") is not None:
            kwargs["generator"] = None
        out = func(*args, **kwargs)
        if any(isinstance(x, Tensor) and x.device == GPU for x in tree_leaves(out)):
            self.operations.append(func.overloadpacket.__name__)
        return out


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gpu, list[Launch]]]:
    """Within it `device="cuda"` is that GPU; the kernels it is given are written down."""
    monkeypatch.setattr(checks, "device", lambda value: GPU)
    monkeypatch.setattr(replay, "free_memory", lambda device: None)
    monkeypatch.setattr(torch, "Generator", HostGenerator)
    with Gpu() as gpu, recording() as launches:
        for name in ("tensor", "as_tensor"):
            monkeypatch.setattr(torch, name, gpu.made(getattr(torch, name)))
        yield gpu, launches
