"""Tests that need a CUDA GPU; they ask for nothing beyond torch, triton, gymnasium and pytest.

python -m pytest -m gpu tests/gpu
"""

import pytest
import torch


@pytest.fixture(autouse=True)
def _gpu():
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} finds no CUDA GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # the twins are the oracle
    yield
    torch.cuda.synchronize()


@pytest.fixture
def no_sync(_gpu):
    """Within it whatever makes the host wait for the GPU raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")
