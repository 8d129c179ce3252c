"""Learning on the GPU's path is learning on the CPU's: the curves of several seeds lie within each other's spread."""

import pytest
import torch

from tests.gpu.curves import ENVS, SEEDS, curve, kept

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("env", ENVS)
def test_curves(env):
    """At every fifth the difference of the means is within four standard errors, or a fiftieth of the curve's height."""
    gpu, cpu = torch.stack([curve(env, "cuda", seed) for seed in SEEDS]), kept(env)
    error = (gpu.var(0) / len(gpu) + cpu.var(0) / len(cpu)).sqrt()
    height = cpu.mean(0).max() - cpu.mean(0).min()
    assert ((gpu.mean(0) - cpu.mean(0)).abs() < 4 * error + 0.02 * height).all(), (gpu.mean(0), cpu.mean(0), error)
    assert (gpu.mean(0)[-1] - gpu.mean(0)[0]) > 0.8 * (cpu.mean(0)[-1] - cpu.mean(0)[0])
