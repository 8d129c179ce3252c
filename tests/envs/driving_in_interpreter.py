"""Run by test_driving.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU."""

import pytest
import torch

from tests.envs.fused_in_interpreter import poison  # noqa: F401
from tests.envs.test_driving import ENVS, make
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


@pytest.mark.parametrize("env", ENVS[::2], ids=lambda e: e.id)  # the second is as the first, and takes long
def test_rollout(env):
    both = [make(env, 3, backend=b, max_episode_steps=3) for b in ("triton", "eager")]
    torch.testing.assert_close(*(vec.reset(seed=11)[0] for vec in both), rtol=1e-4, atol=1e-4)
    ours, theirs = (vec.rollout(4) for vec in both)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert torch.equal(ours.terminated, theirs.terminated)
    assert ours.episodes > 2
