"""`MlpPolicy` in rollouts: on torch here; inside the kernel in Triton's interpreter, in a process of its own."""

from pathlib import Path

import pytest
import torch

import gpusim
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.policy import MlpPolicy
from tests import interpreter

HERE = Path(__file__).parent
SHAPE = MlpShape(4, 16, 16, 2, "tanh", False)
POLICY = MlpPolicy(0.3 * torch.randn(SHAPE.size, generator=torch.Generator().manual_seed(0)), SHAPE)


def cartpole(num_envs, backend="eager"):
    env = gpusim.make("CartPole-v1", num_envs, device="cpu", backend=backend)
    env.reset(seed=2)
    return env


@pytest.mark.slow
def test_the_kernel_in_the_interpreter():
    pytest.importorskip("triton", reason="Triton is not installed")
    interpreter.passes(HERE / "policy_in_interpreter.py")


def test_draws_depend_on_neither_num_envs_nor_chunks():
    many, few = cartpole(9).rollout(12, POLICY), cartpole(4)
    parts = [few.rollout(5, POLICY), few.rollout(7, POLICY)]
    assert torch.equal(torch.cat([p.action for p in parts]), many.action[:, :4])


def test_what_is_kept_is_what_the_policy_says():
    rollout = cartpole(6).rollout(40, POLICY)
    value, next_value = POLICY.value(rollout.obs), POLICY.value(rollout.next_obs)
    torch.testing.assert_close(rollout.extras["value"], value)
    torch.testing.assert_close(rollout.extras["next_value"], next_value.where(~rollout.terminated, 0.0))
    assert rollout.terminated.any()
    assert torch.equal(rollout.action, rollout.extras["sample"])


def test_statistics_without_transitions():
    whole, bare = cartpole(6).rollout(40, POLICY), cartpole(6).rollout(40, POLICY, transitions=False)
    assert (whole.episodes, whole.return_sum) == (bare.episodes, bare.return_sum)
    assert bare.obs is None
