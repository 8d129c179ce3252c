"""The specification of GAE against arithmetic and a plain loop."""

import pytest
import torch

from gpusim.kernels.gae import gae, gae_torch
from gpusim.kernels.twin import twins


def column(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)[:, None]


def example(steps, envs):
    return twins()["gae"].example(steps=steps, envs=envs)[:5]


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
