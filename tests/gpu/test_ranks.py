"""Two GPUs learn as one does: sums by NCCL, within what a CUDA graph holds."""

import pytest
import torch

from tests.agents.ranks import fused, iterated, together

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="two GPUs are needed"),
    pytest.mark.skipif(not torch.distributed.is_nccl_available(), reason="torch has no NCCL"),
]
SETTINGS = {"device": "cuda", "num_envs": 256, "num_steps": 16, "shards": 4, "minibatches": 4, "total_steps": 10**6}


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_by_kernels(env):
    changes = SETTINGS | {"normalize_obs": True, "normalize_reward": True}
    (alone,), ranks = together(1, fused, env, changes), together(2, fused, env, changes)
    for field, whole in alone["rollout"].items():
        assert torch.equal(torch.cat([rank["rollout"][field].to(whole) for rank in ranks], -1), whole), field
    assert torch.equal(ranks[0]["weights"], ranks[1]["weights"].to(ranks[0]["weights"]))
    torch.testing.assert_close(ranks[0]["weights"], alone["weights"], atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("error:.*cannot be captured")
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_by_torch_in_graphs(env):
    changes = SETTINGS | {"backend": "compile"}
    alone, ranks = iterated("ppo", env, changes, 3), together(2, iterated, "ppo", env, changes, 3)
    assert torch.equal(ranks[0]["weights"], ranks[1]["weights"].to(ranks[0]["weights"]))
    assert ranks[0]["reading"]["return"] == pytest.approx(alone["reading"]["return"], rel=0.1, nan_ok=True)
