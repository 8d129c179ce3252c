"""Plays a policy that `gpusim export --format onnx` or `--format json` wrote. Needs NumPy, and for ONNX onnxruntime: copy
this file wherever the policy goes.

    python policy_numpy.py policy.onnx < observations.jsonl > actions.jsonl

A line is a batch of observations, as a list; the answer is the list of their actions. For JSON, `OPERATIONS` is all that
another language has to have.
"""

import json
import operator
import sys
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray


# -------------------------------------------------------------------------------------------------------- operations


def flatten(x: Array, start: int = 0, end: int = -1) -> Array:
    start, end = start % x.ndim, end % x.ndim
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


def unflatten(x: Array, dim: int, sizes: list[int]) -> Array:
    dim %= x.ndim
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def cut(x: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def chunk(x: Array, count: int, dim: int = 0) -> list[Array]:
    size = -(-x.shape[dim] // count)
    return [cut(x, dim, i, i + size) for i in range(0, x.shape[dim], size)]


def softmax(x: Array, dim: int) -> Array:
    powers = np.exp(x - x.max(dim, keepdims=True))
    return powers / powers.sum(dim, keepdims=True)


def layer_norm(x: Array, shape: list[int], weight: Array, bias: Array, eps: float = 1e-5, _: bool = True) -> Array:
    axes = tuple(range(-len(shape), 0))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + np.float32(eps)) * weight + bias


def conv2d(x: Array, weight: Array, bias: Array, stride: tuple[int, int] = (1, 1)) -> Array:
    """Of `[N, C, H, W]` by `[F, C, h, w]`, without padding."""
    patches = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))[:, :, :: stride[0], :: stride[1]]
    rows = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, weight[0].size)
    out = (rows @ weight.reshape(len(weight), -1).T + bias).reshape(len(x), *patches.shape[2:4], len(weight))
    return out.transpose(0, 3, 1, 2)


OPERATIONS: dict[str, Any] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "rsub": lambda x, y: y - x, "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y, "neg": lambda x: -x, "exp": np.exp, "log": np.log,
    "lt": lambda x, y: x < y, "where": np.where, "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "relu": lambda x: np.maximum(x, 0),
    "clamp": lambda x, low=None, high=None: np.clip(x, low, high),
    "addcmul": lambda x, y, z: x + y * z, "lerp": lambda x, y, share: x + share * (y - x),
    "masked_fill": lambda x, mask, value: np.where(mask, np.asarray(value, x.dtype), x),
    "linear": lambda x, weight, bias: x @ weight.T + bias, "matmul": lambda x, y: x @ y,
    "baddbmm": lambda x, y, z: x + y @ z, "conv2d": conv2d, "layer_norm": layer_norm, "softmax": softmax,
    "mean": lambda x, dim, keep=False: x.mean(tuple(dim), keepdims=keep), "argmax": lambda x, dim: x.argmax(dim),
    "to": lambda x, dtype: x.astype(dtype), "sym_size": lambda x, dim: x.shape[dim],
    "flatten": flatten, "unflatten": unflatten, "movedim": np.moveaxis,
    "unsqueeze": np.expand_dims, "squeeze": np.squeeze,
    "slice": cut, "select": lambda x, dim, index: np.take(x, index, dim), "chunk": chunk,
    "stack": lambda xs, dim=0: np.stack(xs, dim), "cat": lambda xs, dim=0: np.concatenate(xs, dim),
    "unbind": lambda x, dim=0: list(np.moveaxis(x, dim, 0)), "getitem": operator.getitem,
}  # fmt: skip
"""By the names of torch's operators, of which they are the part that policies have need of."""


# -------------------------------------------------------------------------------------------------------- the policy


class Graph:
    """The operations of a JSON file, in their order. A string among arguments names what was computed before.

    Args:
        content: of the file.
        real: the type of all numbers with a fraction.
    """

    def __init__(self, content: dict, real: type = np.float32):
        self.content, self.real = content, real
        weights = {
            name: np.array(x["values"], x["dtype"]).reshape(x["shape"]) for name, x in content["weights"].items()
        }
        self.weights = {name: self.typed(x) for name, x in weights.items()}

    def typed(self, x: Any) -> Any:
        return x.astype(self.real) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x

    def __call__(self, inputs: dict[str, Array]) -> dict[str, Array]:
        known: dict[str, Any] = self.weights | {name: self.typed(x) for name, x in inputs.items()}

        def value(x: Any) -> Any:
            return [value(y) for y in x] if isinstance(x, list) else known[x] if isinstance(x, str) else x

        with np.errstate(divide="ignore", over="ignore"):  # the logarithm of 0, and exp of much, are meant
            for step in self.content["operations"]:
                arguments = [*map(value, step["args"]), *([step["dtype"]] if "dtype" in step else [])]
                known[step["name"]] = self.typed(OPERATIONS[step["op"]](*arguments))
        return {name: known[source] for name, source in self.content["outputs"].items()}


def load(path: str) -> tuple[Any, dict]:
    """What runs the file, and what it says of itself."""
    if path.endswith(".json"):
        content = json.loads(Path(path).read_text())
        return Graph(content), content["card"]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # networks are small
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_outputs()]
    card = json.loads(session.get_modelmeta().custom_metadata_map["card"])
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)), card


class Policy:
    """From observations `[N, *obs]` to actions; what it remembers, it keeps from call to call."""

    def __init__(self, path: str | Path, seed: int = 0):
        self.run, self.card = load(str(path))
        self.generator, self.memory = np.random.default_rng(seed), dict[str, Array]()

    def __call__(self, obs: Any, begun: Any = None) -> Array:
        """Actions; `begun` `[N]` says where an episode begins: at the first call everywhere, then nowhere, if it is None."""
        inputs: dict[str, Array] = {}
        for given in self.card["inputs"]:
            name, shape = given["name"], (len(obs), *given["shape"][1:])
            if name == "obs":
                inputs[name] = np.asarray(obs, given["dtype"])
            elif name == "noise":
                draw = self.generator.standard_normal if given["drawn"] == "normal" else self.generator.random
                inputs[name] = draw(shape, np.float32)
            elif name == "begun":
                inputs[name] = np.full(shape, not self.memory) if begun is None else np.asarray(begun, bool)
            else:
                inputs[name] = self.memory.get(name, np.zeros(shape, given["dtype"]))
        outputs = self.run(inputs)
        self.memory = {name[5:]: x for name, x in outputs.items() if name.startswith("next_")}
        return outputs["action"]


if __name__ == "__main__":
    policy = Policy(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(policy(json.loads(line)).tolist()), flush=True)
