"""Tanh by special-function units, which no interpreter has."""

import pytest
import torch
import triton
import triton.language as tl

from gpusim.kernels.launch import launch
from gpusim.kernels.mlp_triton import tanh

ENDS = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38, -3e38, 100.0, -100.0, 0.0])


@triton.jit
def tanh_kernel(x, out, PRECISION: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tanh(tl.load(x + i), PRECISION))


@pytest.mark.parametrize(("precision", "error"), [("bf16", 5e-4), ("tf32", 5e-7), ("tf32x3", 5e-7)])
def test_tanh(precision, error):
    x = torch.cat([torch.linspace(-12, 12, 2048), torch.logspace(-20, 2, 2040), ENDS]).cuda()
    out = torch.full_like(x, torch.nan)
    launch(tanh_kernel, (1,), x, out, PRECISION=precision, N=4096)
    torch.testing.assert_close(out.double(), x.double().tanh(), rtol=0, atol=error, equal_nan=True)
    assert out[-7:-1].tolist() == [1, -1, 1, -1, 1, -1]
