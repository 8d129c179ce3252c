"""The kernels' arithmetic with its roundings made by hand."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
ENDS = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38, -3e38, 100.0, -100.0, 0.0])


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return importlib.import_module("precision")


@pytest.mark.parametrize(("precision", "error"), [("float32", 7e-8), ("tf32x3", 5e-7), ("tf32", 5e-7), ("bf16", 5e-4)])
def test_tanh_of_special_function_units(tool, precision, error):
    """Within what the kernel's own says of itself, and right where its exponential is infinite or 0."""
    generator = torch.Generator().manual_seed(0)
    assert tool.tanh_error(precision) <= error
    torch.testing.assert_close(tool.tanh(ENDS, precision, generator), ENDS.tanh(), rtol=0, atol=error, equal_nan=True)


@pytest.mark.parametrize("way", ["product", "multiply"])
def test_several_passes_are_as_exact_as_float32(tool, way):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(512, 64, generator=generator), torch.randn(64, 64, generator=generator)
    truth = a.double() @ b.double()
    worst = {p: float((getattr(tool, way)(a, b, p).double() - truth).abs().max()) for p in tool.PRECISIONS}
    assert worst["tf32x3"] < worst["float32"] < 1e-4 < 5e-3 < worst["tf32"] < worst["bf16"] < 0.2


def test_three_bfloat16_are_a_number(tool):
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    parts = tool.thirds(x)
    assert all(torch.equal(part, part.bfloat16().float()) for part in parts)
    torch.testing.assert_close(sum(parts), x, rtol=2**-24, atol=0)


@pytest.mark.parametrize("width", [64, 80])
def test_what_a_gradient_multiplies(tool, width):
    """Products are the kernels'; of the last layer they are sums in float32, as are wide layers' sums over rows."""
    generator = torch.Generator().manual_seed(0)
    a, b, last = (torch.randn(width, n, generator=generator) for n in (width, width, 2))
    rounded = tool.multiply(a, b, "bf16")
    by_rows = tool.multiply(torch.ones(1, width), a, "bf16")[0] if width == 64 else a.sum(0)
    shape = tool.MlpShape(4, width, width, 2, "tanh", False)
    with tool.Rounded("bf16", shape, generator):
        found = a @ b, torch.addmm(b[0], a, b), a.sum([0]), a @ last
    for ours, theirs in zip(found, (rounded, rounded + b[0], by_rows, a @ last), strict=True):
        torch.testing.assert_close(ours.reshape(theirs.shape), theirs, rtol=0, atol=0)


@pytest.mark.parametrize("width", [64, 80])  # in registers, and wider
def test_gradients_err_by_their_products(tool, monkeypatch, width):
    monkeypatch.setattr(tool, "NETWORKS", 2)
    float32, tf32x3, tf32, bf16 = (tool.gradient_errors(width, p)[0] for p in tool.PRECISIONS)
    assert float32 < tf32x3 * 4 < 1e-5 < 1e-4 < tf32 < bf16 < 5e-2
    assert tool.gradient(*tool.minibatch(width, torch.Generator().manual_seed(0))).abs().max() > 0.01
