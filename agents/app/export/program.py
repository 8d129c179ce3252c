"""A policy as a graph of torch's operations, its weights stored in fewer bits if so wished."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.utils import parametrize

from gpusim.agents.app.export.acting import Acting

TRACED = 3  # environments that are traced: neither 0 nor 1, which a tracer takes for constants


class Int8(nn.Module):
    """A weight as whole numbers from −127 to 127, with a scale for each row of what it gives."""

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        inputs = (
            1 if weight.ndim == 3 else tuple(range(1, weight.ndim))
        )  # [copies, in, out]; [out, in], [out, in, h, w]
        scale = weight.abs().amax(inputs, keepdim=True).clamp(min=1e-12) / 127
        return (weight / scale).round().to(torch.int8), scale

    def forward(self, whole: Tensor, scale: Tensor) -> Tensor:
        return whole.to(torch.float32) * scale


class Bfloat16(nn.Module):
    """A weight in half of its bits."""

    def right_inverse(self, weight: Tensor) -> tuple[Tensor]:
        return (weight.to(torch.bfloat16),)  # one tensor alone would have to keep its dtype

    def forward(self, weight: Tensor) -> Tensor:
        return weight.to(torch.float32)


STORED: dict[str, type[nn.Module] | None] = {"float32": None, "bfloat16": Bfloat16, "int8": Int8}


def stored(acting: Acting, precision: str) -> Acting:
    """With its weights so, in place; biases stay as they are, and all products are of float32."""
    kind = STORED[precision]
    if kind is not None:
        for module in list(acting.modules()):
            for name, weight in list(module.named_parameters(recurse=False)):
                if weight.ndim > 1 and "bias" not in name:
                    parametrize.register_parametrization(module, name, kind(), unsafe=True)
    return acting


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of tracers, which speak to their authors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def program(acting: Acting) -> ExportedProgram:
    """Its graph for any number of environments, traced twice: the second time without what no output needs."""
    free = ({x.name: {0: Dim("N", min=1)} for x in acting.inputs},)
    inputs = (acting.example(TRACED),)
    with quiet(), torch.no_grad():
        first = torch.export.export(acting.eval(), inputs, dynamic_shapes=free).module()
        first.graph.eliminate_dead_code()
        needed = torch.fx.GraphModule(first, first.graph)
        found = torch.export.export(needed, inputs, dynamic_shapes=free)
    for node in found.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return found
