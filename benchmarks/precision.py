"""What the kernels' choices of tensor-core arithmetic cost in accuracy, with their roundings made by hand, on a CPU.

    python benchmarks/precision.py

Against float64: a critic's values, as the rollout's kernel makes them, and the gradient of PPO's loss. Networks have two
hidden tanh layers (orthogonal weights, normal observations of 4 entries). Products are taken as each choice has it, from
operands cut, rounded or split as in the kernels; their sums are exact here, and rounded by a tensor core. Tanh is made of
the same instructions as in the kernels, each of which errs by at most an assumed bound, up or down at random.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gpusim.kernels.mlp import MlpShape, actor_torch, critic_torch
from gpusim.kernels.update import NARROW, Data, Loss, make_workspace, ppo_gradient_torch

PRECISIONS = ("float32", "tf32x3", "tf32", "bf16")
NETWORKS, ROWS, INPUTS = 20, 4096, 4
BATCH = 350  # rows of a gradient, as in tests/gpu
EX2, RCP, TANH = 2.0**-22, 2.0**-23, 2.0**-11  # the largest relative errors of special-function units


def tf32(x: Tensor) -> Tensor:
    """Cut to 10 bits of mantissa, as a tensor core does with what it is given."""
    return (x.view(torch.int32) & ~((1 << 13) - 1)).view(torch.float32)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """As `gpusim.kernels.mlp_triton.halves`."""
    coarse = tf32(x * (1.0 + 2.0**-11))
    return coarse, tf32(x - coarse)


def thirds(x: Tensor) -> list[Tensor]:
    """As `gpusim.kernels.product_triton.prepared`: three of bfloat16."""
    parts: list[Tensor] = []
    for _ in range(3):
        parts.append(x.bfloat16().float())
        x = x - parts[-1]
    return parts


def exact(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double()).float()


def product(a: Tensor, b: Tensor, precision: str) -> Tensor:
    """As `gpusim.kernels.mlp_triton.product`: the rollout's, and the gradient's of layers of more than 64 units."""
    if precision == "float32":
        return a @ b
    if precision == "bf16":
        return exact(a.bfloat16(), b.bfloat16())
    if precision == "tf32":
        return exact(tf32(a), tf32(b))
    (coarse_a, fine_a), (coarse_b, fine_b) = halves(a), halves(b)
    return exact(fine_a, coarse_b) + exact(coarse_a, fine_b) + exact(coarse_a, coarse_b)


def multiply(a: Tensor, b: Tensor, precision: str) -> Tensor:
    """As `gpusim.kernels.product_triton.multiply`: the gradient's of layers of at most 64 units."""
    if precision != "tf32x3":
        return product(a, b, precision)
    left, right = thirds(a), thirds(b)
    total = torch.zeros(())
    for i, j in ((2, 0), (1, 1), (1, 0), (0, 2), (0, 1), (0, 0)):
        total = total + exact(left[i], right[j])
    return total


def tanh(x: Tensor, precision: str, generator: torch.Generator) -> Tensor:
    """As `gpusim.kernels.mlp_triton.tanh` on a GPU of NVIDIA's."""

    def unit(exact: Tensor, error: float) -> Tensor:
        share = torch.rand(exact.shape, generator=generator) * 2 - 1
        return (exact * (1 + share * error)).float()

    if precision == "float32":
        return x.tanh()
    if precision == "bf16":
        return unit(x.double().tanh(), TANH)
    power = unit((x * (2 / torch.tensor(2.0).log())).double().exp2(), EX2)
    share = unit(1 / (power + 1.0).double(), RCP)
    return (1 - 2 * share.double()).float()


class Rounded(TorchDispatchMode):
    """Within it torch's products and tanh are those of the gradient's kernels; last layers' outputs are sums, in float32."""

    def __init__(self, precision: str, shape: MlpShape, generator: torch.Generator) -> None:
        super().__init__()
        self.precision, self.generator, self.inputs, self.outputs = precision, generator, shape.inputs, shape.outputs
        self.narrow = max(shape.hidden1, shape.hidden2) <= NARROW
        self.product = multiply if self.narrow else product

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten = torch.ops.aten
        if func is aten.tanh.default:
            return tanh(args[0], self.precision, self.generator)
        if func is aten.mm.default and min(args[0].shape[1], args[1].shape[1]) > self.outputs and self.inside(args[0]):
            return self.product(args[0], args[1], self.precision)
        if func is aten.addmm.default and args[2].shape[1] > self.outputs:
            bias, x, weights = args
            if x.shape[1] != self.inputs:  # not the first layer, whose bias goes with its weights
                return self.product(x, weights, self.precision) + bias
            ones = torch.ones_like(x[:, :1])
            return self.product(torch.cat([x, ones], 1), torch.cat([weights, bias[None]]), self.precision)
        if func is aten.sum.dim_IntList and self.narrow and args[0].ndim == 2 and args[0].shape[1] > self.outputs:
            return self.product(torch.ones_like(args[0][:, :1]).T, args[0], self.precision)  # a column of features is 1
        return func(*args, **(kwargs or {}))

    def inside(self, a: Tensor) -> bool:
        """Whether a product is one in the kernel, as those of `a` by the last weights are in narrow networks alone."""
        return self.narrow or len(a) > self.outputs


def orthogonal(width: int, outputs: int, generator: torch.Generator) -> list[Tensor]:
    """The weights of a perceptron, each `[in, out]`."""
    sizes = ((width, INPUTS, 2**0.5), (width, width, 2**0.5), (outputs, width, 1.0))
    made = (torch.nn.init.orthogonal_(torch.empty(m, n), gain, generator=generator) for m, n, gain in sizes)
    return [weights.T.contiguous() for weights in made]


def value_errors(width: int, precision: str) -> tuple[float, float]:
    """The largest error of a value, and the root mean square of errors over that of values."""
    worst, relative = [], []
    for seed in range(NETWORKS):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(ROWS, INPUTS, generator=generator)
        w1, w2, w3 = orthogonal(width, 1, generator)
        truth = ((x.double() @ w1.double()).tanh() @ w2.double()).tanh() @ w3.double()
        h1 = tanh(x @ w1, precision, generator)
        value = tanh(product(h1, w2, precision), precision, generator) @ w3
        error = value.double() - truth
        worst.append(float(error.abs().max()))
        relative.append(float(error.pow(2).mean().sqrt() / truth.pow(2).mean().sqrt()))
    return max(worst), sum(relative) / NETWORKS


def gradient_errors(width: int, precision: str) -> tuple[float, float]:
    """Of PPO's gradient: the largest error over the largest entry, and the root mean squares' quotient."""
    worst, relative = [], []
    for seed in range(NETWORKS):
        generator = torch.Generator().manual_seed(seed)
        arguments = minibatch(width, generator)
        truth = gradient(*double(arguments))
        with Rounded(precision, arguments[1], generator):
            error = gradient(*arguments) - truth
        worst.append(float(error.abs().max() / truth.abs().max()))
        relative.append(float(error.pow(2).mean().sqrt() / truth.pow(2).mean().sqrt()))
    return max(worst), sum(relative) / NETWORKS


def minibatch(width: int, generator: torch.Generator) -> tuple[Tensor, MlpShape, Data]:
    """An actor of two actions and a critic, and what a rollout left that was made by others a little different."""
    shape = MlpShape(INPUTS, width, width, 2, "tanh", False)
    parts = [*orthogonal(width, 2, generator), *orthogonal(width, 1, generator)]
    flat = torch.cat([x for w in parts for x in (w.T.flatten(), 0.1 * torch.randn(w.shape[1], generator=generator))])
    obs, advantage, *noise = (torch.randn(BATCH, k, generator=generator) for k in (INPUTS, 1, 1, 1))
    sample = torch.randint(0, 2, (BATCH,), generator=generator)
    log_prob = actor_torch(flat, shape, obs).log_softmax(-1).gather(1, sample[:, None])
    value = critic_torch(flat, shape, obs)[:, None]
    lanes = (log_prob + 0.2 * noise[0], value + 0.3 * noise[1], advantage)
    return flat, shape, Data(obs.T[None].contiguous(), sample.int()[None], *(x.T.contiguous() for x in lanes))


def gradient(flat: Tensor, shape: MlpShape, data: Data) -> Tensor:
    """By autograd, in the dtype of what it is given. Nothing is clipped, as a border that is crossed counts for more."""
    workspace = make_workspace(shape, BATCH, "cpu", 1)
    workspace = workspace._replace(partials=workspace.partials.to(flat.dtype))
    order = torch.arange(BATCH, dtype=torch.int32)
    ppo_gradient_torch(flat, shape, data, order, 0, BATCH, Loss(1e9, 0.5, 0.01, False, False), workspace)
    return workspace.partials[0, : shape.size].double()


def double(arguments: tuple[Tensor, MlpShape, Data]) -> tuple[Tensor, MlpShape, Data]:
    flat, shape, data = arguments
    return flat.double(), shape, Data(*(x.double() if x.is_floating_point() else x for x in data))


def tanh_error(precision: str) -> float:
    """The largest error of tanh."""
    x = torch.linspace(-12, 12, 2**20)
    return float((tanh(x, precision, torch.Generator().manual_seed(0)).double() - x.double().tanh()).abs().max())


def main() -> None:
    columns = ("tanh: largest", "value: largest", "value: r.m.s.", "gradient: largest", "gradient: r.m.s.")
    print(f"| hidden layers | precision | {' | '.join(columns)} |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for width in (64, 256):
        for precision in PRECISIONS:
            found = (tanh_error(precision), *value_errors(width, precision), *gradient_errors(width, precision))
            print(f"| 2×{width} | {precision} | {' | '.join(f'{x:.1e}' for x in found)} |", flush=True)


if __name__ == "__main__":
    main()
