"""An environment is one file of `gpusim/envs/`: nothing else has to know of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import gpusim
from gpusim.envs import ENVIRONMENTS
from gpusim.envs.classic import CLASSIC
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
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", USE]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    classic, others = [env.id for env in CLASSIC], [env.id for env in ENVIRONMENTS[len(CLASSIC) :]]
    assert done.stdout.strip() == f"{[*classic, 'Coin-v0', *others]} True"


def test_each_is_found_once_in_the_order_of_the_files():
    assert found("gpusim.envs") == ENVIRONMENTS
    assert [env.id for env in ENVIRONMENTS] == gpusim.env_ids()[: len(ENVIRONMENTS)]
    assert len({env.id for env in ENVIRONMENTS}) == len(ENVIRONMENTS) >= 15
