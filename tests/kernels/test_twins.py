"""A kernel is two files: one with its specification, by which it is found, chosen and compared, and one that launches it."""

import inspect
import sys
from pathlib import Path

import pytest
import torch

import gpusim.kernels
from gpusim.kernels import tune
from gpusim.kernels import twin as twin_module
from gpusim.kernels.launch import recording
from gpusim.kernels.twin import twins
from tests import interpreter

pytest.importorskip("triton", reason="Triton is not installed")
SPECIFICATION = '''
import torch
from gpusim.kernels.twin import bit_for_bit, twin

def doubled_torch(times, x, out=None):
    """Twice x."""
    return 2 * x

def check(times, x, out=None):
    if x.ndim != 1:
        raise ValueError("x must be [N].")

doubled = twin(
    doubled_torch, "doubled_triton", on="x", check=check, example=lambda n: (1, torch.ones(n)), close=bit_for_bit,
    cases=[{"n": 3}],
)
'''
LAUNCHER = """
def doubled_triton(times, x, out=None):
    return "launched"
"""


@pytest.fixture
def _doubled(tmp_path, monkeypatch):
    """A kernel that is thrown away."""
    (tmp_path / "doubled.py").write_text(SPECIFICATION)
    (tmp_path / "doubled_triton.py").write_text(LAUNCHER)
    monkeypatch.setattr(gpusim.kernels, "__path__", [*gpusim.kernels.__path__, str(tmp_path)])
    monkeypatch.setattr(twin_module, "_twins", dict(twin_module._twins))
    yield
    for name in ("doubled", "doubled_triton"):
        sys.modules.pop(f"gpusim.kernels.{name}", None)
        gpusim.kernels.__dict__.pop(name, None)


@pytest.mark.usefixtures("_doubled")
def test_two_files_are_a_kernel():
    found = twins()["doubled"]
    doubled, x = found.function, torch.tensor([1.0, 2.0])
    assert doubled(1, x).tolist() == doubled(1, x=x).tolist() == [2.0, 4.0]
    assert "gpusim.kernels.doubled_triton" not in sys.modules
    with recording():
        assert doubled(1, x) == doubled(1, x=x, out=None) == "launched"
        with pytest.raises(ValueError, match="x must be"):
            doubled(1, x[None])
    assert doubled(1, x).tolist() == [2.0, 4.0]
    assert doubled.__name__ == "doubled"
    assert doubled.__doc__ == "Twice x."
    assert list(inspect.signature(doubled).parameters) == ["times", "x", "out"]
    assert found.cases == ({"n": 3},)


def test_examples_are_the_same_every_time():
    for twin in twins().values():
        first, again = (gpusim.tree.tensors(twin.example(**twin.cases[0])) for _ in "ab")
        assert first
        assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, again, strict=True)), twin.name


def test_a_launch_is_known_again():
    """For which its constants have to come in the order of the kernel's arguments (`gpusim.kernels.relaunch`)."""
    for twin in twins().values():
        with recording() as launches:
            twin.function(*twin.example(**twin.cases[0]))
        assert launches, twin.name
        for launch in launches:
            assert launch.kernel.arg_names[len(launch.args) :] == list(launch.constants), twin.name


def test_sizes_are_those_of_the_architecture(monkeypatch):
    """Of the GPU that a tensor is on; of the CPU, that for which kernels are written down."""
    monkeypatch.setitem(tune.OTHERWISE, "sm_80", {"gae": {"BLOCK": 64}})
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, device.index))
    gae = twins()["gae"]

    def block():
        with recording() as launches:
            gae.function(*gae.example(steps=2, envs=300))
        return launches[0].constants["BLOCK"], launches[0].num_warps, launches[0].grid

    assert block() == (128, 4, (3,))
    with tune.assumed("sm_80"):
        assert block() == (64, 4, (5,))
    with tune.assumed("sm_90", {"gae": {"BLOCK": 32}}):
        assert block() == (32, 4, (10,))
    assert block() == (128, 4, (3,))
    assert [tune.sizes("gae", torch.device("cuda", k))["BLOCK"] for k in (0, 6)] == [64, 128]
    tune.architecture.cache_clear()


@pytest.mark.parametrize(
    "which",
    [
        "not gradient and not sample and not insert",
        pytest.param("gradient", marks=pytest.mark.slow),
        pytest.param("sample or insert", marks=pytest.mark.slow),
    ],
)
def test_kernels_in_the_interpreter(which):
    interpreter.passes(Path(__file__).with_name("twins_in_interpreter.py"), "-k", which)
