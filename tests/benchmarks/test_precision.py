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


def test_three_passes_are_as_exact_as_float32(tool):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(512, 64, generator=generator), torch.randn(64, 64, generator=generator)
    truth = a.double() @ b.double()
    worst = {p: float((tool.product(a, b, p).double() - truth).abs().max()) for p in tool.PRECISIONS}
    assert worst["tf32x3"] < worst["float32"] < 1e-4 < 5e-3 < worst["tf32"] < worst["bf16"] < 0.2
