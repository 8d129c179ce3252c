"""GAE: the twin against arithmetic and a plain loop, the kernel against the twin."""

import os
import subprocess
import sys

import pytest
import torch

from gpusim.kernels.gae import gae, gae_torch


def column(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)[:, None]


def example(steps, envs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    reward, value, next_value = torch.randn(3, steps, envs, generator=generator)
    terminated, truncated = torch.rand(2, steps, envs, generator=generator) < 0.2
    return reward, value, next_value, terminated, terminated | truncated


def test_by_hand():
    """γ = ½, λ = ½, V = 1 everywhere but V(s') = 3 at the truncated step.

    Step 3 runs on: δ = 1 + ½ − 1 = ½, A = ½. Step 2 is truncated: δ = 1 + 1.5 − 1 = 1.5, A = 1.5, nothing from step 3.
    Step 1 terminated: δ = 1 − 1 = 0, A = 0. Step 0 runs on: δ = ½, A = ½ + ¼ · 0.
    """
    advantage = gae_torch(
        reward=column(1.0, 1.0, 1.0, 1.0),
        value=column(1.0, 1.0, 1.0, 1.0),
        next_value=column(1.0, 9.0, 3.0, 1.0),
        terminated=column(False, True, False, False, dtype=torch.bool),
        done=column(False, True, True, False, dtype=torch.bool),
        gamma=0.5,
        lam=0.5,
    )
    assert advantage[:, 0].tolist() == [0.5, 0.0, 1.5, 0.5]


def test_lambda_flows_where_nothing_ends():
    nothing = torch.zeros(3, 1, dtype=torch.bool)
    advantage = gae_torch(column(0.0, 0.0, 1.0), torch.zeros(3, 1), torch.zeros(3, 1), nothing, nothing, 0.5, 0.5)
    assert advantage[:, 0].tolist() == [1 / 16, 1 / 4, 1.0]


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (33, 130)])
def test_against_a_loop_over_scalars_in_float64(shape):
    reward, value, next_value, terminated, done = example(*shape)
    expected = torch.zeros(shape, dtype=torch.float64)
    for n in range(shape[1]):
        running = 0.0
        for t in reversed(range(shape[0])):
            bootstrap = 0.0 if terminated[t, n] else 0.97 * next_value[t, n].item()
            running = (
                reward[t, n].item() + bootstrap - value[t, n].item() + (0.0 if done[t, n] else 0.97 * 0.9 * running)
            )
            expected[t, n] = running
    torch.testing.assert_close(
        gae(reward, value, next_value, terminated, done, 0.97, 0.9).double(), expected, atol=1e-5, rtol=1e-5
    )


def test_shapes_are_checked():
    reward, *others = example(4, 2)
    with pytest.raises(ValueError, match=r"one shape \[T, N\]"):
        gae(reward[:3], *others, 0.9, 0.9)


COMPARE = """
import torch
from gpusim.kernels.gae import gae_torch
from gpusim.kernels.gae_triton import gae_triton
from tests.kernels.test_gae import example
for shape in [(1, 1), (7, 3), (16, 128), (5, 300)]:
    inputs = example(*shape)
    empty_like = torch.empty_like
    torch.empty_like = lambda x: torch.full_like(x, float("nan"))
    made = gae_triton(*inputs, 0.99, 0.95)
    torch.empty_like = empty_like
    torch.testing.assert_close(made, gae_torch(*inputs, 0.99, 0.95), atol=1e-5, rtol=1e-5)
print("agreed")
"""


def test_the_kernel_agrees_with_its_twin_under_the_interpreter():
    done = subprocess.run(
        [sys.executable, "-c", COMPARE], env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "agreed", done.stderr
