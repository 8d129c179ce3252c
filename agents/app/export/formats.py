"""How the graph of a policy is written, and by what it is run again."""

import logging
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import Node

from gpusim.agents.app.export import policy_numpy, policy_torch
from gpusim.agents.app.export.program import quiet
from gpusim.agents.folder.strict_json import dumps
from gpusim.errors import InputError

Card = dict[str, Any]
Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class Format(NamedTuple):
    """A kind of file."""

    suffix: str
    write: Callable[[ExportedProgram, Path, Card], None]
    load: Callable[[Path], Run]


# -------------------------------------------------------------------------------------------------------------- ONNX


def write_onnx(program: ExportedProgram, path: Path, card: Card) -> None:
    """As onnxruntime runs it, the card among the file's metadata.

    Raises:
        InputError: a library is missing.
    """
    require("onnx", "onnxscript", "onnxruntime")
    import onnx_ir

    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with quiet():
            optimize = card["precision"] == "float32"  # else the weights would be written as float32 after all
            written = torch.onnx.export(program, dynamo=True, verbose=False, optimize=optimize)
    finally:
        logger.setLevel(before)
    assert written is not None
    model = written.model
    for values, described in ((model.graph.inputs, card["inputs"]), (model.graph.outputs, card["outputs"])):
        for value, known in zip(values, described, strict=True):
            value.name = known["name"]
            value.shape = onnx_ir.Shape(known["shape"])
    for node in model.graph:
        node.metadata_props.clear()  # stack traces, with paths of this machine
    model.metadata_props["card"] = dumps(card)
    with quiet():
        written.save(path)


def require(*libraries: str) -> None:
    """Raises InputError where one of them is not installed."""
    for name in libraries:
        try:
            __import__(name)
        except ModuleNotFoundError:
            raise InputError(f'ONNX needs {name}, which is not installed: pip install "gpusim[export]"') from None


# ------------------------------------------------------------------------------------------------------------- torch


def write_torch(program: ExportedProgram, path: Path, card: Card) -> None:
    """As `torch.export.load` reads it, the card among the extra files."""
    with quiet():
        torch.export.save(program, path, extra_files={"card.json": dumps(card)})


def write_aot(program: ExportedProgram, path: Path, card: Card) -> None:
    """Compiled by AOTInductor for the processor of this machine.

    Raises:
        InputError: there is no compiler.
    """
    options = {"aot_inductor.metadata": {"card": dumps(card)}}
    try:
        with quiet():
            torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"AOTInductor could not compile it (it needs a C++ compiler, as g++ is): {reason}") from None


def run_torch(path: Path) -> Run:
    run, _ = policy_torch.load(str(path))

    def call(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = run({name: torch.from_numpy(x) for name, x in inputs.items()})
        return {name: x.numpy() for name, x in outputs.items()}

    return call


# -------------------------------------------------------------------------------------------------------------- JSON


def write_json(program: ExportedProgram, path: Path, card: Card) -> None:
    """As `policy_numpy.Graph` reads it."""
    path.write_text(dumps(listed(program, card)))


def listed(program: ExportedProgram, card: Card) -> dict[str, Any]:
    """Weights, and operations in their order, by the names of torch's operators."""
    signature = program.graph_signature
    kept = program.state_dict | program.constants
    places = signature.inputs_to_parameters | signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
    names = dict(zip(signature.user_inputs, (x["name"] for x in card["inputs"]), strict=True)) | places
    outputs = program.graph.output_node().args[0]
    needed = _needed(outputs)
    operations = []
    for node in program.graph.nodes:
        if node in needed and node.op == "call_function":
            names[node.name] = node.name
            operations.append(_operation(node, names))
    return {
        "card": card,
        "weights": {
            places[node.name]: _weights(kept[places[node.name]])
            for node in program.graph.nodes
            if node in needed and node.name in places
        },
        "operations": operations,
        "outputs": {x["name"]: names[node.name] for x, node in zip(card["outputs"], outputs, strict=True)},
    }


def _needed(outputs: Any) -> dict[Node, None]:
    """The nodes that these are computed of."""
    found, left = dict[Node, None](), list(outputs)
    while left:
        node = left.pop()
        if node not in found:
            found[node] = None
            left += node.all_input_nodes
    return found


def _operation(node: Node, names: dict[str, str]) -> dict[str, Any]:
    """Such as {"name": "tanh_1", "op": "tanh", "args": ["linear_1"]}."""

    def plain(x: Any) -> Any:
        if isinstance(x, Node):
            return names[x.name]
        if isinstance(x, list | tuple):
            return [plain(y) for y in x]
        return None if x == END else x

    op = "getitem" if node.target is operator.getitem else str(node.target).split(".")[1].rstrip("_")
    dtypes = [str(x).removeprefix("torch.") for x in node.args if isinstance(x, torch.dtype)]
    assert not node.kwargs, node
    args = [plain(x) for x in node.args if not isinstance(x, torch.dtype)]
    return {"name": node.name, "op": op, "args": args} | ({"dtype": dtypes[0]} if dtypes else {})


END = 2**63 - 1  # of a slice that goes to the end


def _weights(tensor: torch.Tensor) -> dict[str, Any]:
    """The fewest digits that float32 is read back from."""
    array = tensor.detach().to(torch.float32 if tensor.dtype == torch.bfloat16 else tensor.dtype).numpy()
    values = [float(str(x)) if array.dtype == np.float32 else x.item() for x in array.ravel()]
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": values}


def run_numpy(path: Path) -> Run:
    return policy_numpy.load(str(path))[0]


FORMATS = {
    "onnx": Format(".onnx", write_onnx, run_numpy),
    "torch": Format(".pt2", write_torch, run_torch),
    "json": Format(".json", write_json, run_numpy),
}
AOT = Format(".aot.pt2", write_aot, run_torch)
