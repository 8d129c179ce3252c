"""Run by test_minatar.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU."""

import pytest
import torch

import gpusim
from gpusim.envs.minatar import GAMES
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


@pytest.mark.parametrize("env", GAMES, ids=lambda e: e.id)
def test_the_same_as_eagerly(env):
    """Bit for bit: the state, the statistics and the last board; and for the two that are quick every transition."""
    whole = env.id in ("MinAtar/Breakout-v1", "MinAtar/Asterix-v1")
    rolled, states = [], []
    for backend in ("triton", "eager"):
        vec = gpusim.make(env, 3, device="cpu", backend=backend, validate=False, max_episode_steps=2)
        vec.reset(seed=3)
        rolled.append(vec.rollout(3, transitions=whole))
        states.append(vec.get_state().state)
    torch.testing.assert_close(*rolled, rtol=0, atol=0)
    torch.testing.assert_close(*states, rtol=0, atol=0)
