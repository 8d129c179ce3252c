"""PPO by kernels alone, under Triton's interpreter; and that nothing in it waits for a GPU."""

from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

from gpusim.agents.ppo import PPO, Config
from gpusim.kernels.launch import recording
from tests import interpreter

pytest.importorskip("triton", reason="Triton is not installed")
HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("half", ["on_torch", "not on_torch"])
def test_in_the_interpreter(half):
    interpreter.passes(HERE / "fused_in_interpreter.py", "-k", half)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_an_iteration_looks_at_no_value(env, monkeypatch):
    """Fake tensors have none: waiting for a value, or a shape that depends on data, would raise."""
    monkeypatch.setattr(torch.nn.utils, "skip_init", lambda kind, *sizes: kind(*sizes))  # these two swap tensors,
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, _: module)  # which fake ones cannot
    settings = {"num_envs": 48, "num_steps": 5, "minibatches": 3, "epochs": 2, "hidden": (16, 16), "total_steps": 1000}
    with FakeTensorMode(), recording() as launches:
        learner = PPO(
            Config(env=env, device="cpu", backend="triton", normalize_obs=True, normalize_reward=True, **settings)
        )
        assert learner.path == "fused kernels"
        launches.clear()
        for _ in range(2):
            losses = learner.iterate()
            reading = torch.stack([*losses.values(), *learner.window.mean()])
        with pytest.raises(DataDependentOutputException):
            reading.sum().item()
    kernels = [launch.kernel.fn.__name__ for launch in launches]
    assert kernels.count("rollout_kernel") == kernels.count("gae_kernel") == 2
    assert kernels.count("ppo_gradient_kernel") == kernels.count("sum_parts_kernel") == 2 * 2 * 3
    assert kernels.count("adam_kernel") == 2 * 2 * 3
