"""The stub driver: kernels compiled and launched for a GPU that is not there."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the stub is for machines without a GPU")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(code: str, folder: Path) -> str:
    """What the code prints, in a process of its own whose Triton caches in `folder`."""
    environ = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(folder)}
    code = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


ONE_KERNEL = """
import json, os, shutil, torch, triton
from pathlib import Path
import kernel_archive, stub.driver
stub.driver.start()
from compilations import listen
loaded = listen()
from gpusim.kernels import relaunch
from gpusim.kernels.gae import gae
from gpusim.kernels.gae_triton import gae_kernel
x, flag = torch.zeros(8, 100), torch.zeros(8, 100, dtype=torch.bool)
cache = Path(os.environ["TRITON_CACHE_DIR"])
for folder in (cache, cache.parent / "moved"):
    if folder != cache:
        kernel_archive.pack(cache, folder.with_suffix(".tar.gz"))
        shutil.rmtree(cache)
        kernel_archive.unpack(folder.with_suffix(".tar.gz"), folder)
        triton.knobs.cache.dir = str(folder)
        gae_kernel.device_caches.clear()  # as in a new process
        relaunch.forget()
    for _ in range(3):
        gae(x, x, x, flag, flag, 0.99, 0.95)
by_hand = stub.driver.launches()
import stub.gpu
stub.gpu.pretend()
x, flag = torch.empty(8, 100, device="cuda"), torch.zeros(8, 100, dtype=torch.bool).cuda()
gae(x, x, x, flag, flag, 0.99, 0.95)
event = torch.cuda.Event(enable_timing=True)
facts = [x.device.type, float(x.sum()), event.elapsed_time(event), torch.cuda.is_available()]
print(json.dumps([loaded, by_hand, stub.driver.launches() - by_hand, facts]))
"""


def test_a_kernel_is_compiled_once_and_found_again(tmp_path):
    loaded, launches, pretended, facts = json.loads(run(ONE_KERNEL, tmp_path / "cache"))
    assert [(kernel, hit) for kernel, _, hit in loaded] == [("gae_kernel", hit) for hit in (False, True)]
    assert (launches, pretended) == (6, 1)
    assert facts == ["cuda", 0.0, 1e300, True]
    (cubin,) = tmp_path.rglob("*.cubin")
    assert json.loads(cubin.with_suffix(".json").read_text())["target"]["arch"] == 90


def test_what_travels_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    archive = importlib.import_module("kernel_archive")
    cache, path, there = tmp_path / "cache", tmp_path / "kernels.tar.gz", tmp_path / "there"
    for name in ("A/k.cubin", "A/k.json", "A/__grp__k.json", "A/k.ptx", "B/launcher.so", "C/l.cubin"):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text(json.dumps({"child_paths": {f"k.{x}": f"{cache}/A/k.{x}" for x in ("ptx", "cubin")}}))
    assert archive.pack(cache, path) == 2
    archive.unpack(path, there)
    found = {str(file.relative_to(there)) for file in there.rglob("*") if file.is_file()}
    assert found == {"A/__grp__k.json", "A/k.cubin", "A/k.json", "C/l.cubin"}
    assert json.loads((there / "A/__grp__k.json").read_text()) == {"child_paths": {"k.cubin": f"{there}/A/k.cubin"}}
    assert [file.name for file in tmp_path.glob("kernels*")] == ["kernels.tar.gz"]


CHILD = "import torch; print(torch.cuda.is_available(), torch.ones(2, device='cuda').device)"


@pytest.mark.slow
def test_a_python_whose_children_are_over_the_stub_too(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "stub" / "python.py"), str(tmp_path / "it")]
    program = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout.strip()
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}], check=True)"
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "True cuda:0\n", done.stderr
