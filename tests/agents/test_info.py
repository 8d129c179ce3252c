"""`gpusim info` judges made-up machines, and describes this one without falling over."""

import dataclasses
import importlib.util
import subprocess
import sys

import pytest

from gpusim.agents.app import info
from gpusim.agents.bench import machine
from gpusim.agents.bench.machine import Gpu, Machine

H100 = Gpu("NVIDIA H100", (9, 0), 80.0)
WANTS = (("gpusim", "torch", ">=2.11,<2.14"), ("gpusim", "triton", ">=3.6"), ("torch", "triton", "==3.7.0"))
GPU_BOX = Machine(
    torch="2.13.0+cu130",
    torch_cuda="13.0",
    torch_archs=("sm_80", "sm_90", "sm_100", "compute_120"),
    torch_sees_gpu=True,
    triton="3.7.0",
    gymnasium="1.4.0",
    driver="580.95.05",
    nvidia_card=True,
    device_files=True,
    gpus=(H100,),
    c_compiler="/usr/bin/cc",
    wants=WANTS,
    declined=(("triton", "cpu", "it needs a CUDA GPU"), ("native", "cuda", "it is the CPU's")),
)
CPU_BOX = dataclasses.replace(
    GPU_BOX,
    torch="2.13.0+cpu",
    torch_cuda=None,
    torch_archs=(),
    torch_sees_gpu=False,
    driver=None,
    nvidia_card=False,
    device_files=False,
    gpus=(),
)
UNSEEN = dataclasses.replace(GPU_BOX, torch_sees_gpu=False)


def works(m: Machine) -> dict[tuple[str, str], bool]:
    return {(b.name, b.device): b.problem is None for b in info.backends(m)}


def test_a_machine_that_is_in_order_has_no_problems():
    assert info.problems(GPU_BOX) == []
    assert info.problems(CPU_BOX) == []


def test_backends_where_there_is_a_gpu_and_where_there_is_none():
    gpu = works(GPU_BOX)
    assert gpu == {
        ("eager", "cpu"): True,
        ("native", "cpu"): True,
        ("compile", "cpu"): True,
        ("triton", "cpu"): False,
        ("eager", "cuda"): True,
        ("native", "cuda"): False,
        ("compile", "cuda"): True,
        ("triton", "cuda"): True,
    }
    assert works(CPU_BOX) == {k: v and k[1] == "cpu" for k, v in gpu.items()}


@pytest.mark.parametrize(
    ("box", "change", "words"),
    [
        (CPU_BOX, {"driver": "580.95.05", "gpus": (H100,)}, ["built for the CPU only", "torch>=2.11,<2.14"]),
        (CPU_BOX, {"nvidia_card": True}, ["no NVIDIA driver answers"]),
        (UNSEEN, {"driver": None}, ["no NVIDIA driver answers"]),
        (UNSEEN, {"driver": "535.104.05"}, ["535.104.05 is too old", "CUDA 13.0", "580.65"]),
        (UNSEEN, {"driver": "515.65.01", "torch_cuda": "12.6"}, ["515.65.01 is too old", "525.60"]),
        (UNSEEN, {"device_files": False}, ["--gpus all"]),
        (UNSEEN, {"visible_devices": "-1"}, ["CUDA_VISIBLE_DEVICES"]),
        (UNSEEN, {"visible_devices": ""}, ["CUDA_VISIBLE_DEVICES"]),
        (UNSEEN, {"driver_says": "Driver/library version mismatch"}, ["version mismatch", "restart"]),
        (UNSEEN, {"torch_says": "CUDA unknown error"}, ["CUDA unknown error"]),
        (GPU_BOX, {"gpus": (Gpu("Tesla P100", (6, 0)),)}, ["no code for the Tesla P100", "6.0", "sm_80"]),
        (GPU_BOX, {"torch": "2.10.1"}, ["torch 2.10.1 is outside >=2.11,<2.14"]),
        (GPU_BOX, {"torch": "2.14.0"}, ["torch 2.14.0 is outside"]),
        (
            GPU_BOX,
            {"triton": "3.5.1"},
            ["triton 3.5.1 is outside >=3.6, which gpusim", "triton 3.5.1 is outside ==3.7.0"],
        ),
        (GPU_BOX, {"triton": "3.9.0"}, ["triton 3.9.0 is outside ==3.7.0, which torch asks for"]),
        (GPU_BOX, {"torch_hip": "6.4", "torch_cuda": None}, ["ROCm 6.4"]),
        (GPU_BOX, {"torch": None}, ["torch cannot be imported"]),
    ],
)
def test_each_mismatch_is_told_in_words(box, change, words):
    told = info.problems(dataclasses.replace(box, **change))
    assert len(told) == (2 if change == {"triton": "3.5.1"} else 1)
    assert all(word in " ".join(told) for word in words), told


@pytest.mark.parametrize(
    ("change", "device", "word"),
    [
        ({"python_headers": False}, "cuda", "Python.h"),
        ({"c_compiler": None}, "cuda", "C compiler"),
        ({"triton": None}, "cuda", "triton is not installed"),
        ({"gpus": (Gpu("Tesla P100", (6, 0)),)}, "cuda", "7.0"),
        ({"declined": (("compile", "cpu", "no `g++` here"),)}, "cpu", "g++"),
        ({"torch_sees_gpu": False, "driver": "470.1"}, "cuda", "see below"),
    ],
)
def test_why_compile_does_not_work(change, device, word):
    found = {(b.name, b.device): b.problem for b in info.backends(dataclasses.replace(GPU_BOX, **change))}
    assert word in (found["compile", device] or "")
    assert found["eager", "cpu"] is None


@pytest.mark.parametrize(
    ("arch", "capability", "runs"),
    [
        ("sm_80", (8, 0), True),
        ("sm_80", (8, 9), True),
        ("sm_86", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("compute_80", (9, 0), True),
        ("compute_90", (8, 0), False),
        ("sm_90a", (9, 0), True),
        ("sm_120", (12, 1), True),
        ("gfx942", (9, 4), False),
    ],
)
def test_which_code_runs_on_which_gpu(arch, capability, runs):
    assert info._runs_on(arch, capability) is runs


@pytest.mark.parametrize(
    ("version", "wanted", "inside"),
    [
        ("2.11.0", ">=2.11,<2.14", True),
        ("2.13.1+cu130", "<2.14,>=2.11", True),
        ("2.14.0", ">=2.11,<2.14", False),
        ("2.9", ">=2.11,<2.14", False),
        ("3.7.0", "==3.7.0", True),
        ("3.7.1", "==3.7.0", False),
        ("3.6", ">=3.6.0", True),
    ],
)
def test_version_ranges(version, wanted, inside):
    assert info._within(version, wanted) is inside


def test_the_report_names_what_was_asked_for():
    broken = dataclasses.replace(UNSEEN, driver="535.1")
    report = "\n".join(info.plain(info.describe(broken), info.backends(broken), info.problems(broken)))
    for word in (
        "NVIDIA H100",
        "capability 9.0",
        "535.1",
        "CUDA 13.0",
        "3.7.0",
        "1.4.0",
        "3.11.0",
        "eager",
        "! The NVIDIA",
    ):
        assert word in report


def test_libraries_of_the_host_are_told_with_their_versions():
    told = dict(info.describe(dataclasses.replace(GPU_BOX, ale_py="0.12.1", box2d="2.3.10")))
    assert [told[name] for name in ("ale-py", "Box2D", "EnvPool")] == ["0.12.1", "2.3.10", "not installed"]


def test_what_compiles_for_the_cpu_is_told():
    told = dict(info.describe(dataclasses.replace(GPU_BOX, cpp_compiler="/usr/bin/g++")))
    assert told["C++ compiler"] == "/usr/bin/g++ (on the CPU, backend auto is native from 16 environments on)"
    assert dict(info.describe(GPU_BOX))["C++ compiler"] == "none found"


def test_this_machine_is_found_and_described():
    found = machine.probe()
    assert found.torch
    assert found.cores >= 1
    assert found.triton or sys.platform != "linux"
    assert bool(found.ale_py) == bool(importlib.util.find_spec("ale_py"))
    assert bool(found.box2d) == bool(importlib.util.find_spec("Box2D"))
    assert dict(info.describe(found))["Python"].startswith(found.python)
    assert next(b for b in info.backends(found) if (b.name, b.device) == ("eager", "cpu")).problem is None


def test_a_probe_that_finds_nothing_still_answers(monkeypatch):
    monkeypatch.setattr(machine, "_version", lambda _: None)
    monkeypatch.setattr(machine, "_torch_facts", dict)
    monkeypatch.setattr(machine, "_processor", lambda: 1 / 0)
    found = machine.probe()
    assert found.torch is None
    assert info.problems(found)
    assert info.plain(info.describe(found), info.backends(found), info.problems(found))


def test_it_prints_tables_on_a_terminal(capsys):
    broken = dataclasses.replace(UNSEEN, driver="535.1")
    info._show(info.describe(broken), info.backends(broken), info.problems(broken))
    printed = " ".join(capsys.readouterr().out.split())
    for word in ("NVIDIA H100", "backend", "torch sees no GPU", "! The NVIDIA driver 535.1 is too old"):
        assert word in printed


def test_it_prints_plain_lines_where_there_is_no_terminal():
    command = [sys.executable, "-c", "from gpusim.agents.app.info import main; main()"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("gpusim")
    assert "\x1b" not in printed


TOPOLOGY = """\
\x1b[4m\tGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\x1b[0m
GPU0\t X \tNV18\tSYS\tPIX\t0-31
GPU1\tNV18\t X \tSYS\tPXB\t0-31
GPU2\tSYS\tSYS\t X \tSYS\t32-63
NIC0\tPIX\tPXB\tSYS\t X

Legend:
  X    = Self
"""


def test_links_are_read_and_told():
    links = machine.links_of(TOPOLOGY)
    assert links == ((0, 1, "NV18"), (0, 2, "SYS"), (1, 2, "SYS"))
    assert machine.links_of("no devices") == ()
    facts = info.describe(dataclasses.replace(GPU_BOX, gpus=(H100,) * 3, links=links, nccl="2.29.7", gloo=True))
    assert [name for name, _ in facts].count("GPU") == 3
    told = [value for name, value in facts if name == "GPU links"]
    assert told == ["NV18 (NVLink) between 0–1", "SYS (two CPUs) between 0–2, 1–2"]
    assert dict(facts)["ranks"] == "gloo between CPUs, NCCL 2.29.7 between GPUs"


def test_what_adds_up_between_ranks_is_told():
    assert dict(info.describe(dataclasses.replace(CPU_BOX, gloo=True)))["ranks"].startswith(
        "gloo between CPUs, no NCCL"
    )
