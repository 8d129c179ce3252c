"""Whatever a GPU is benchmarked by, once, for what it launches: run by pytest with the plugin beside this file."""

import contextlib
from collections.abc import Callable
from typing import Any

import gpu
import gpu_smoke
import pytest

from gpusim.agents.train.run import make_learner
from tests.gpu import curves

pytestmark = pytest.mark.gpu
gpu.ENVS = 2**12  # whole numbers, and multiples of 16, like the real ones; the memory is the CPU's
MADE = [(name, make) for name in gpu.MAKERS for make in gpu.MAKERS[name]()]


def named(section: str, make: Any) -> str:
    return f"{section}-{'-'.join(map(str, make.args))}"


@pytest.mark.parametrize("make", [make for _, make in MADE], ids=[named(*pair) for pair in MADE])
def test_benchmark(make: Callable[[], gpu.Thing]) -> None:
    make().call()


def iterated(learner: Any) -> None:
    for _ in range(2):
        learner.iterate()


@pytest.mark.parametrize("num_envs", gpu.SOLVERS)
def test_solver(num_envs: int) -> None:
    iterated(gpu.solver(num_envs, 0))


@pytest.mark.parametrize("env", curves.ENVS)
def test_curve(env: str) -> None:
    iterated(make_learner("ppo", curves.config(env, "cuda", 0)))


@pytest.mark.parametrize("check", gpu_smoke.CHECKS, ids=lambda check: check.__name__)
def test_smoke(check: Callable[[], str]) -> None:
    with contextlib.suppress(AssertionError):  # of what no kernel has computed
        check()
