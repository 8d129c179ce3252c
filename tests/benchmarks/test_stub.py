"""The stub driver: kernels compiled and launched for a GPU that is not there."""

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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


ONE_KERNEL = """
import json, torch
import stub.driver
stub.driver.start()
from compilations import listen
loaded = listen()
from gpusim.kernels.gae import gae
from gpusim.kernels.gae_triton import gae_kernel
x, flag = torch.zeros(8, 100), torch.zeros(8, 100, dtype=torch.bool)
for _ in range(2):
    for _ in range(3):
        gae(x, x, x, flag, flag, 0.99, 0.95)
    gae_kernel.device_caches.clear()  # as in a new process
print(json.dumps([loaded, stub.driver.launches()]))
"""


def test_a_kernel_is_compiled_once_and_found_again(tmp_path):
    loaded, launches = json.loads(run(ONE_KERNEL, tmp_path))
    assert [(kernel, hit) for kernel, _, hit in loaded] == [("gae_kernel", False), ("gae_kernel", True)]
    assert launches == 6
    (cubin,) = tmp_path.rglob("*.cubin")
    assert json.loads(cubin.with_suffix(".json").read_text())["target"]["arch"] == 90
