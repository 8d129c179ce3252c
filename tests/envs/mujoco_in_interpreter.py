"""Run by test_mujoco.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU."""

import pytest
import torch

import gpusim
from gpusim import Uniform
from gpusim.envs.mujoco import MUJOCO
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out
each_robot = pytest.mark.parametrize("env", MUJOCO, ids=lambda e: e.id)


@each_robot
@pytest.mark.parametrize("drawn", [False, True])
def test_a_rollout(env, drawn):
    """Of two steps, the second after a reset; `drawn`: physics are lanes, so that nothing is folded."""
    names = [n for n in env.params._fields if n == "gravity" or (n.endswith("_scale") and n != "reset_noise_scale")]
    params = {n: Uniform(0.9 * getattr(env.params, n), 1.1 * getattr(env.params, n)) for n in names} if drawn else None
    both = [
        gpusim.make(env, 7, device="cpu", backend=backend, params=params, max_episode_steps=1)
        for backend in ("triton", "eager")
    ]
    for vec in both:
        vec.reset(seed=11)
    ours, theirs = (vec.rollout(2) for vec in both)
    for field in ("obs", "next_obs", "reward"):
        torch.testing.assert_close(getattr(ours, field), getattr(theirs, field), rtol=2e-5, atol=2e-5)
    assert torch.equal(ours.action, theirs.action)
    assert torch.equal(ours.terminated, theirs.terminated)
    assert ours.truncated.all()
    torch.testing.assert_close(both[0].get_state()[:-1], both[1].get_state()[:-1], rtol=2e-5, atol=2e-5)
