"""An environment is one file of `gpusim/envs/`: nothing else has to know of it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gpusim
from gpusim.envs import ENVIRONMENTS
from gpusim.envs.classic import CLASSIC, STATELESS
from gpusim.envs.found import found

ROOT = Path(__file__).parent.parent.parent
COIN = '''"""Coin-v0: guess what stands still for an episode of five throws."""

from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim.env import Env
from gpusim.kernels.lang import Lane, false_like, uniform4, where


class State(NamedTuple):
    side: Lane


class Params(NamedTuple):
    prize: Lane = 1.0


def init(rng, p):
    return State(where(uniform4(rng, 0, 0.0, 1.0)[0] < 0.5, 0.0, 1.0))


def step(s, action, rng, p):
    return s, where(action == s.side, p.prize, 0.0), false_like(s.side)


def observe(s, p):
    return (s.side,)


COIN = Env("Coin-v0", init, step, observe, Params(), Box(0.0, 1.0, (1,), np.float32), Discrete(2), 5, reward_threshold=4.9)
'''
USE = """
import gpusim
from gpusim.testing import check_vector_env
from gpusim.agents import ppo

check_vector_env(gpusim.make("Coin-v0", 8, device="cpu", backend="eager"))
found = ppo.train(ppo.Config(env="Coin-v0", device="cpu", num_envs=64, num_steps=20, total_steps=30_000))
print(gpusim.env_ids(), found.metrics[-1]["return"] > 4.9)
"""


def test_one_file_adds_an_environment(tmp_path):
    """In a copy of the package, of which nothing else is changed: it is known, keeps its promises, and is learned."""
    shutil.copytree(ROOT / "gpusim", tmp_path / "gpusim", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "gpusim" / "envs" / "coin.py").write_text(COIN)
    done = run(tmp_path, "-c", USE)
    assert done.returncode == 0, done.stderr
    ids, classic = [env.id for env in ENVIRONMENTS], len(CLASSIC) + len(STATELESS)
    robots = gpusim.env_ids(gpusim.PhysicsEnv)
    assert done.stdout.strip() == f"{[*ids[:classic], 'Coin-v0', *ids[classic:], *robots]} True"


POLE = """'A pole of another family, held to the numbers of the first.'

from tests.envs.classic.cartpole import ORACLE as ORACLE
"""
ROW = "| Pole-v0 | 4 | 2 | 500 | Gymnasium's `CartPoleEnv` |\n"


@pytest.mark.slow
def test_a_file_and_one_beside_it_are_all_that_the_table_and_the_parity_tests_need(tmp_path):
    """In a copy of the tree, into which an environment and its oracle are put, and where a wrong one is seen."""
    for folder in ("gpusim", "tests/envs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("benchmarks", "docs"):
        (tmp_path / folder).mkdir()
    for file in (
        "README.md",
        "docs/environments.md",
        "pyproject.toml",
        "benchmarks/readme.py",
        "tests/__init__.py",
        "tests/interpreter.py",
    ):
        shutil.copy(ROOT / file, tmp_path / file)
    for folder in ("gpusim/envs/poles", "tests/envs/poles"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    source = (ROOT / "gpusim" / "envs" / "classic" / "cartpole.py").read_text()
    pole = tmp_path / "gpusim" / "envs" / "poles" / "pole.py"
    pole.write_text(source.replace('id="CartPole-v1"', 'id="Pole-v0"'))
    (tmp_path / "tests" / "envs" / "poles" / "pole.py").write_text(POLE)
    assert ROW not in (tmp_path / "docs" / "environments.md").read_text()
    assert run(tmp_path, "benchmarks/readme.py").returncode == 0
    assert (tmp_path / "docs" / "environments.md").read_text().count(ROW) == 1
    cases = "Pole-v0 and (declaration or one_step or whole)"
    parity = ("-m", "pytest", "-n", "0", "-rA", "tests/envs/test_parity.py", "-k", cases)
    done = run(tmp_path, *parity)
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"^PASSED .*Pole-v0\]$", done.stdout, re.MULTILINE)) == 4
    pole.write_text(pole.read_text().replace("gravity: Lane = 9.8", "gravity: Lane = 9.9"))
    assert len(re.findall(r"^FAILED .*Pole-v0\]", run(tmp_path, *parity).stdout, re.MULTILINE)) == 3


def run(folder, *command):
    command, environment = [sys.executable, *command], os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_each_is_found_once_in_the_order_of_the_files():
    assert found("gpusim.envs", gpusim.Env) == ENVIRONMENTS
    assert [env.id for env in ENVIRONMENTS] == gpusim.env_ids()[: len(ENVIRONMENTS)]
    assert len({env.id for env in ENVIRONMENTS}) == len(ENVIRONMENTS) >= 15
