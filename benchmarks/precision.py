"""What the kernels' choices of tensor-core arithmetic cost in accuracy, by rounding as the tensor cores do, on a CPU.

    python benchmarks/precision.py

Values of a critic of two hidden tanh layers (orthogonal weights, normal observations of 4 entries) against float64. The
product of the hidden layers is taken as each choice has it; its sums are exact here, and rounded by a tensor core.
"""

import torch
from torch import Tensor

PRECISIONS = ("float32", "tf32x3", "tf32", "bf16")
NETWORKS, ROWS = 20, 4096


def tf32(x: Tensor) -> Tensor:
    """The nearest number with 10 bits of mantissa, ties away from zero."""
    return ((x.view(torch.int32) + (1 << 12)) & ~((1 << 13) - 1)).view(torch.float32)


def exact(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double()).float()


def product(a: Tensor, b: Tensor, precision: str) -> Tensor:
    if precision == "float32":
        return a @ b
    if precision == "bf16":
        return exact(a.bfloat16(), b.bfloat16())
    high_a, high_b = tf32(a), tf32(b)
    if precision == "tf32":
        return exact(high_a, high_b)
    return exact(tf32(a - high_a), high_b) + exact(high_a, tf32(b - high_b)) + exact(high_a, high_b)


def errors(width: int, precision: str) -> tuple[float, float]:
    """The largest error of a value, and the root mean square of errors over that of values."""
    worst, relative = [], []
    for seed in range(NETWORKS):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(ROWS, 4, generator=generator)
        sizes = ((width, 4, 2**0.5), (width, width, 2**0.5), (1, width, 1.0))
        w1, w2, w3 = (
            torch.nn.init.orthogonal_(torch.empty(rows, columns), gain, generator=generator).T
            for rows, columns, gain in sizes
        )
        truth = ((x.double() @ w1.double()).tanh() @ w2.double()).tanh() @ w3.double()
        value = product((x @ w1).tanh(), w2.contiguous(), precision).tanh() @ w3
        error = value.double() - truth
        worst.append(float(error.abs().max()))
        relative.append(float(error.pow(2).mean().sqrt() / truth.pow(2).mean().sqrt()))
    return max(worst), sum(relative) / NETWORKS


def main() -> None:
    print("| hidden layers | precision | largest error | error / value, root mean square |\n|---:|---|---:|---:|")
    for width in (64, 256):
        for precision in PRECISIONS:
            worst, relative = errors(width, precision)
            print(f"| 2×{width} | {precision} | {worst:.1e} | {relative:.1e} |")


if __name__ == "__main__":
    main()
