"""What the kernels' choices of tensor-core arithmetic cost in accuracy, with their roundings made by hand, on a CPU.

    python benchmarks/precision.py

Values of a critic of two hidden tanh layers (orthogonal weights, normal observations of 4 entries) against float64. The
product of the hidden layers is taken as each choice has it, from operands cut or rounded as tensor cores do; its sums are
exact here, and rounded by a tensor core. Tanh is made of the same instructions as in the kernels, each of which errs by at
most an assumed bound, up or down at random.
"""

import torch
from torch import Tensor

PRECISIONS = ("float32", "tf32x3", "tf32", "bf16")
NETWORKS, ROWS = 20, 4096
EX2, RCP, TANH = 2.0**-22, 2.0**-23, 2.0**-11  # the largest relative errors of special-function units


def tf32(x: Tensor) -> Tensor:
    """Cut to 10 bits of mantissa, as a tensor core does with what it is given."""
    return (x.view(torch.int32) & ~((1 << 13) - 1)).view(torch.float32)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """As `gpusim.kernels.mlp_triton.halves`."""
    coarse = tf32(x * (1.0 + 2.0**-11))
    return coarse, tf32(x - coarse)


def exact(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double()).float()


def product(a: Tensor, b: Tensor, precision: str) -> Tensor:
    if precision == "float32":
        return a @ b
    if precision == "bf16":
        return exact(a.bfloat16(), b.bfloat16())
    if precision == "tf32":
        return exact(tf32(a), tf32(b))
    (coarse_a, fine_a), (coarse_b, fine_b) = halves(a), halves(b)
    return exact(fine_a, coarse_b) + exact(coarse_a, fine_b) + exact(coarse_a, coarse_b)


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
        h1 = tanh(x @ w1, precision, generator)
        value = tanh(product(h1, w2.contiguous(), precision), precision, generator) @ w3
        error = value.double() - truth
        worst.append(float(error.abs().max()))
        relative.append(float(error.pow(2).mean().sqrt() / truth.pow(2).mean().sqrt()))
    return max(worst), sum(relative) / NETWORKS


def tanh_error(precision: str) -> float:
    """The largest error of tanh."""
    x = torch.linspace(-12, 12, 2**20)
    return float((tanh(x, precision, torch.Generator().manual_seed(0)).double() - x.double().tanh()).abs().max())


def main() -> None:
    print(
        "| hidden layers | precision | tanh: largest error | value: largest error | error / value, root mean square |"
    )
    print("|---:|---|---:|---:|---:|")
    for width in (64, 256):
        for precision in PRECISIONS:
            worst, relative = errors(width, precision)
            print(f"| 2×{width} | {precision} | {tanh_error(precision):.1e} | {worst:.1e} | {relative:.1e} |")


if __name__ == "__main__":
    main()
