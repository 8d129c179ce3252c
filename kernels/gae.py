"""Generalized advantage estimation (Schulman et al., 2016) that tells a terminated step from a truncated one."""

import torch
from torch import Tensor

from gpusim.kernels.launch import runs_on


def gae(
    reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, done: Tensor, gamma: float, lam: float
) -> Tensor:
    """Advantages, all `[T, N]`: float32 but for `terminated` and `done`, which are bool.

    Args:
        value: V(s_t).
        next_value: V of the true observation after step t, from before any reset. A truncated step bootstraps from it.
        terminated: a terminated step does not bootstrap.
        done: terminated or truncated; no advantage flows back across it.
        gamma: discount in [0, 1].
        lam: λ in [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    tensors = (reward, value, next_value, terminated, done)
    if reward.ndim != 2 or any(x.shape != reward.shape for x in tensors):
        raise ValueError(f"gae takes five tensors of one shape [T, N], not {[tuple(x.shape) for x in tensors]}.")
    if runs_on(reward.device):
        from gpusim.kernels.gae_triton import gae_triton

        return gae_triton(*tensors, gamma, lam)
    return gae_torch(*tensors, gamma, lam)


def gae_torch(
    reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, done: Tensor, gamma: float, lam: float
) -> Tensor:
    """The specification: δ_t = r_t + γ V(s_{t+1}) − V(s_t), A_t = δ_t + γ λ A_{t+1}, each cut where it should be."""
    delta = reward + gamma * next_value * ~terminated - value
    decay = gamma * lam * ~done
    advantage = torch.empty_like(reward)
    running = torch.zeros_like(reward[0])
    for t in reversed(range(len(reward))):
        running = torch.addcmul(delta[t], decay[t], running, out=advantage[t])
    return advantage
