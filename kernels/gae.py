"""Generalized advantage estimation (Schulman et al., 2016) that tells a terminated step from a truncated one."""

import torch
from torch import Tensor

from gpusim.kernels.twin import twin, within


def gae_torch(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    done: Tensor,
    gamma: float | Tensor,
    lam: float | Tensor,
) -> Tensor:
    """Advantages: δ_t = r_t + γ V(s_{t+1}) − V(s_t), A_t = δ_t + γ λ A_{t+1}, each cut where it should be.

    All are `[T, N]`: float32 but for `terminated` and `done`, which are bool.

    Args:
        value: V(s_t).
        next_value: V of the true observation after step t, from before any reset. A truncated step bootstraps from it.
        terminated: a terminated step does not bootstrap.
        done: terminated or truncated; no advantage flows back across it.
        gamma: discount in [0, 1]; the specification, not the kernel, takes `[N]` too, as it does for `lam`.
        lam: λ in [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    delta = reward + gamma * next_value * ~terminated - value
    decay = gamma * lam * ~done
    advantage = torch.empty_like(reward)
    running = torch.zeros_like(reward[0])
    for t in reversed(range(len(reward))):
        running = torch.addcmul(delta[t], decay[t], running, out=advantage[t])
    return advantage


def _check(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    done: Tensor,
    gamma: float | Tensor,
    lam: float | Tensor,
) -> None:
    tensors = (reward, value, next_value, terminated, done)
    if reward.ndim != 2 or any(x.shape != reward.shape for x in tensors):
        raise ValueError(f"gae takes five tensors of one shape [T, N], not {[tuple(x.shape) for x in tensors]}.")


def _example(steps: int, envs: int) -> tuple:
    generator = torch.Generator().manual_seed(0)
    reward, value, next_value = torch.randn(3, steps, envs, generator=generator)
    terminated, truncated = torch.rand(2, steps, envs, generator=generator) < 0.2
    return reward, value, next_value, terminated, terminated | truncated, 0.99, 0.95


gae = twin(
    gae_torch, "gae_triton", on="reward", check=_check, example=_example, close=within(1e-5, 1e-5),
    cases=[{"steps": t, "envs": n} for t, n in ((1, 1), (7, 3), (7, 33), (16, 128), (5, 300))],
    large=[{"steps": t, "envs": n} for t, n in ((128, 1000), (64, 4099))],
)  # fmt: skip
