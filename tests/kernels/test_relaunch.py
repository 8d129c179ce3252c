"""A kernel launched again is the form that Triton would have chosen, though Triton is not asked."""

import json
import os
import subprocess
import sys

import pytest
import torch

from tests.interpreter import ROOT

pytest.importorskip("triton", reason="Triton is not installed")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the stub driver is for machines without a GPU")
def test_the_form_that_fits_is_launched_without_asking(tmp_path):
    environ = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.kernels.relaunched"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[0])
    assert told["wrong"] == []
    assert 15 < told["forms"] <= told["asked"] < told["cases"]  # each form once, or nearly, in two passes
    assert told["options"] == [1, 0, 1]  # whether Triton was asked: other warps, the same again, other rounding
    assert told["hooked"] == [1, 1]  # who wants to know of launches is told
    assert told["after"] == 0
    assert told["launches"] == 1
    assert "STEP has changed" in told["changed"]
