"""A pytest plugin: tests for a GPU run over the stub, for what they launch.

    python -O -m pytest --assert=plain -W "ignore:ASSERTIONS ARE NOT" -p stub.plugin -m gpu tests/gpu

Nothing that they compare has been computed, so nothing is compared; without assertions (`-O`) they run to their end.
"""

from typing import Any

import pytest
import torch

from stub import gpu

NOT_HERE = ("test_sanitizer", "test_learning")  # a process of its own; long runs, of which `launched.py` begins each
ON_BOTH = {"test_a_gpu_is_given_what_the_cpu_is", "test_the_same_on_the_cpu"}  # here every tensor is on the GPU


def pytest_configure(config: pytest.Config) -> None:
    gpu.pretend()
    torch.testing.assert_close = lambda *args, **kwargs: None


def pytest_ignore_collect(collection_path: Any) -> bool | None:
    return True if collection_path.stem in NOT_HERE else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = [item for item in items if item.name not in ON_BOTH]
    config.hook.pytest_deselected(items=[item for item in items if item.name in ON_BOTH])
    items[:] = here
