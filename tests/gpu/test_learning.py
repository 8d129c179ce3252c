"""Learning on the GPU's path is learning on the CPU's: the curves of several seeds lie within each other's spread."""

import pytest
import torch

from gpusim.agents.loop import run
from gpusim.agents.run import make_learner, preset

pytestmark = pytest.mark.gpu
SEEDS = range(8)


def curve(env, device, seed):
    """The training return at every fifth of the run."""
    metrics = run(make_learner("ppo", preset("ppo", env, device=device, seed=seed, log_every=1))).metrics
    values = torch.tensor([m["return"] for m in metrics])
    return torch.stack([part[~part.isnan()].mean() for part in values.tensor_split(5)])


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_curves(env):
    """At every fifth the difference of the means is within four standard errors, or a fiftieth of the curve's height."""
    gpu, cpu = (torch.stack([curve(env, device, seed) for seed in SEEDS]) for device in ("cuda", "cpu"))
    error = ((gpu.var(0) + cpu.var(0)) / len(SEEDS)).sqrt()
    height = cpu.mean(0).max() - cpu.mean(0).min()
    assert ((gpu.mean(0) - cpu.mean(0)).abs() < 4 * error + 0.02 * height).all(), (gpu.mean(0), cpu.mean(0), error)
    assert (gpu.mean(0)[-1] - gpu.mean(0)[0]) > 0.8 * (cpu.mean(0)[-1] - cpu.mean(0)[0])
