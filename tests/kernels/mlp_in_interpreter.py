"""Run by test_mlp.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU.

What kernels with networks are made of; what is to be filled holds NaN before.
"""

import pytest
import torch
import triton
import triton.language as tl

from gpusim.kernels.launch import launch
from gpusim.kernels.mlp import MlpShape, actor_torch
from gpusim.kernels.mlp_triton import forward_in_pieces, halves, normalized, tanh
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


def nan(*shape):
    return torch.full(shape, torch.nan)


@triton.jit
def forward_kernel(
    inputs, weights, out, n, C1: tl.constexpr, C2: tl.constexpr, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr,
    HIDDEN2: tl.constexpr, OUTPUTS: tl.constexpr, RELU: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = ()
    for k in tl.static_range(INPUTS):
        x = x + (tl.load(inputs + k * n + row, mask=row < n, other=0.0),)
    y = forward_in_pieces(x, weights, C1, C2, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, RELU, PRECISION)
    for k in tl.static_range(OUTPUTS):
        tl.store(out + k * n + row, y[k], mask=row < n)


@triton.jit
def tanh_kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tanh(tl.load(x + i), "tf32x3"))


@triton.jit
def halves_kernel(x, coarse, fine, N: tl.constexpr):
    i = tl.arange(0, N)
    a, b = halves(tl.load(x + i))
    tl.store(coarse + i, a)
    tl.store(fine + i, b)


@triton.jit
def normalized_kernel(x, mean, scale, out, N: tl.constexpr):
    i = tl.arange(0, N)
    y = normalized((tl.load(x + i), tl.load(x + N + i)), mean, scale)
    tl.store(out + i, y[0])
    tl.store(out + N + i, y[1])


TOLERANCE = {"tf32x3": 1e-6, "tf32": 1e-6, "bf16": 3e-2}  # the interpreter multiplies tf32 in float32


@pytest.mark.parametrize(
    ("widths", "pieces", "precision"),
    [((16, 16), (16, 16), "tf32x3"), ((32, 64), (16, 32), "tf32"), ((64, 64), (64, 16), "bf16"),
     ((100, 48), (16, 64), "tf32x3"), ((256, 128), (64, 64), "tf32x3"), ((256, 256), (64, 128), "bf16")],
)  # fmt: skip
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_forward(widths, pieces, precision, activation):
    shape = MlpShape(5, *widths, 3, activation, True)
    generator = torch.Generator().manual_seed(1)
    flat, x = torch.randn(shape.size, generator=generator) * 0.15, torch.randn(37, 5, generator=generator)
    out = nan(3, 37)
    launch(
        forward_kernel, (2,), x.T.contiguous(), flat[shape.actor :], out, 37, C1=pieces[0], C2=pieces[1], INPUTS=5,
        HIDDEN1=widths[0], HIDDEN2=widths[1], OUTPUTS=3, RELU=activation == "relu", PRECISION=precision, BLOCK=32,
    )  # fmt: skip
    expected = actor_torch(flat.double(), shape, x.double())
    torch.testing.assert_close(
        out.T.double(), expected, rtol=0, atol=TOLERANCE[precision] * max(1, expected.abs().max())
    )


def test_tanh():
    ends = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38, -3e38, -100.0, -0.0, 1e-45])
    x = torch.cat([torch.linspace(-12, 12, 4096), torch.logspace(-20, 2, 4088), ends])
    out = nan(8192)
    launch(tanh_kernel, (1,), x, out, N=8192)
    torch.testing.assert_close(out.double(), x.double().tanh(), rtol=0, atol=2e-7, equal_nan=True)


def test_halves_of_a_number():
    """Ten bits of mantissa, near x, and all that they lack; three products of such halves, the finer ones cut again as a
    tensor core does, are as near to float64 as float32's own. NaN is in both."""
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 6, 4096)
    coarse, fine = nan(4096), nan(4096)
    launch(halves_kernel, (1,), x, coarse, fine, N=4096)
    assert torch.equal(coarse + fine, x)
    assert not (coarse.view(torch.int32) & 0x1FFF).any()
    assert (fine.abs() <= 2.0**-10.9 * x.abs()).all()
    assert 0.2 < (fine * x > 0).float().mean() < 0.6  # of either sign
    cut = (fine.view(torch.int32) & ~0x1FFF).view(torch.float32).double()
    by = x.flip(0).double()
    near = coarse.double() * coarse.flip(0) + cut * coarse.flip(0) + coarse * cut.flip(0)
    assert (near - x * by).abs().max() / (x * by).abs().max() < 2.0**-21
    ends = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0]), nan(4), nan(4)
    ends[0].view(torch.int32)[3] = 0x7FFFFFFF  # the NaN that GPUs make
    launch(halves_kernel, (1,), *ends, N=4)
    assert ends[1].isnan().tolist() == [True, False, False, True]
    assert ends[2].isnan().all()


def test_normalized():
    x = torch.tensor([[1.0, 2.0, 99.0, -99.0], [torch.nan, 0.0, 0.0, 0.0]])
    mean, scale = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 0.5])
    out = nan(2, 4)
    launch(normalized_kernel, (1,), x, mean, scale, out, N=4)
    torch.testing.assert_close(out, torch.tensor([[0.0, 2.0, 10.0, -10.0], [torch.nan, -1, -1, -1]]), equal_nan=True)
