"""Small cases under compute-sanitizer, where it is installed: no access out of bounds, no race in shared memory.

Each tool slows a program down a hundredfold, so there is one environment of each form: a vector, a vector with actions that
are numbers, and a board.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu
SCRIPT = """
import gpusim, torch
from gpusim.agents import dqn
from gpusim.agents.ppo import PPO, Config
for env in ("CartPole-v1", "Pendulum-v1", "MinAtar/Breakout-v1"):
    vec = gpusim.make(env, 37, device="cuda", max_episode_steps=3)
    vec.reset(seed=0)
    vec.rollout(5)
    vec.rollout(5, transitions=False)
for env in ("CartPole-v1", "Pendulum-v1"):
    for hidden in ((64, 64), (96, 80)):
        PPO(Config(env=env, num_envs=37, num_steps=5, minibatches=3, hidden=hidden, device="cuda")).iterate()
for prioritized in (False, True):
    config = dqn.Config(num_envs=37, learning_starts=256, prioritized=prioritized, device="cuda", env="MinAtar/Breakout-v1")
    dqn.DQN(config).iterate()
torch.cuda.synchronize()
print("done")
"""


def sanitizer() -> str | None:
    """The program, on the path or where CUDA is usually installed."""
    usual = [
        str(Path(home, "bin", "compute-sanitizer")) for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if home
    ]
    return next(filter(None, map(shutil.which, ("compute-sanitizer", *usual))), None)


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck"])
def test_small_cases(tool):
    program = sanitizer()
    if program is None:
        pytest.skip("compute-sanitizer is not installed")
    command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", SCRIPT]
    environ = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environ)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "done" in done.stdout
