"""PPO by kernels alone, under Triton's interpreter; and that nothing in it waits for a GPU."""

from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

from gpusim.agents.parts import world
from gpusim.agents.ppo import PPO, Config
from gpusim.kernels.launch import recording
from tests import interpreter

pytest.importorskip("triton", reason="Triton is not installed")
HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("half", ["on_torch", "on_kernels", "not on_torch and not on_kernels"])
def test_in_the_interpreter(half):
    interpreter.passes(HERE / "fused_in_interpreter.py", "-k", half)


@pytest.mark.parametrize(("env", "ranks"), [("CartPole-v1", 1), ("Pendulum-v1", 1), ("CartPole-v1", 2)])
def test_an_iteration_looks_at_no_value(env, ranks, monkeypatch):
    """Fake tensors have none: waiting for a value, or a shape that depends on data, would raise. Of two ranks the sums are
    left out."""
    sums = list[torch.Tensor]()
    for name in ("broadcast", "all_gather"):
        monkeypatch.setattr(torch.distributed, name, lambda *_: None)
    monkeypatch.setattr(torch.distributed, "all_reduce", sums.append)
    monkeypatch.setattr(world, "_here", [world.World(ranks - 1, ranks, 0, ranks > 1)])
    monkeypatch.setattr(torch.nn.utils, "skip_init", lambda kind, *sizes: kind(*sizes))  # these two swap tensors,
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, _: module)  # which fake ones cannot
    settings = {"num_envs": 48, "num_steps": 5, "minibatches": 3, "epochs": 2, "hidden": (16, 16), "total_steps": 1000}
    settings |= {"shards": 2 * ranks if ranks > 1 else 0}
    with FakeTensorMode(), recording() as launches:
        learner = PPO(
            Config(env=env, device="cpu", backend="triton", normalize_obs=True, normalize_reward=True, **settings)
        )
        assert learner.path == "fused kernels"
        launches.clear()
        sums.clear()
        for _ in range(2):
            losses = learner.iterate()
            reading = torch.stack([*losses.values(), *learner.window.of_all().mean()])
        with pytest.raises(DataDependentOutputException):
            reading.sum().item()
    kernels = [launch.kernel.fn.__name__ for launch in launches]
    assert kernels.count("rollout_kernel") == kernels.count("gae_kernel") == 2
    assert kernels.count("ppo_gradient_kernel") == 2 * 2 * 3
    assert kernels.count("sum_parts_kernel") == ranks * 2 * 2 * 3
    assert sum(x.shape == learner.fused.workspace.grad.shape for x in sums) == (ranks > 1) * 2 * 2 * 3
    assert kernels.count("adam_kernel") == 2 * 2 * 3
