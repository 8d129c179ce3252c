"""Where observations and rewards of a rollout stop being numbers, written down on the device, so that no host waits."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gpusim.kernels.launch import runs_on

QUANTITIES = ("observation", "next observation", "reward")  # of one step, in this order
NONE = 2**62


class Found(NamedTuple):
    """The first that was not finite, int64 `[6]` when on the device; all 0 where there was none."""

    found: int
    quantity: int  # a place in QUANTITIES
    step: int  # of the rollout
    environment: int
    episode: int  # of that environment, since seeding
    length: int  # steps of that episode, with this one


def note_unfinite(
    noted: Tensor,
    obs: Tensor,
    next_obs: Tensor,
    reward: Tensor,
    length: Tensor,
    done: Tensor,
    episode: Tensor,
    value: Tensor | None = None,
) -> None:
    """Writes into `noted`, unless something stands there, the first NaN or infinity of a rollout: the earliest step's, of it
    the environment's of the lowest index, of it the quantity that comes first in QUANTITIES.

    Args:
        noted: int64 `[6]`, see `Found`.
        obs: `[T, N, *obs]`, contiguous, or contiguous as `[T, *obs, N]`; whole numbers are finite.
        next_obs: likewise; or its value, with `value`.
        reward: float32 `[T, N]`.
        length: float32 `[T, N]`, steps of the episode.
        done: bool `[T, N]`.
        episode: int64 `[N]`, number of the episode after the last step.
        value: float32 `[T, N]` of `obs` by a network; what is given for `next_obs` is then looked at where this is finite.
    """
    if runs_on(reward.device):
        from gpusim.kernels.finite_triton import note_unfinite_triton

        note_unfinite_triton(noted, obs, next_obs, reward, length, done, episode, value)
    else:
        note_unfinite_torch(noted, obs, next_obs, reward, length, done, episode, value)


def all_finite(x: Tensor) -> bool:
    """Whether a tensor on the CPU is finite; the sum, which is cheap, tells it but where it overflows."""
    return not x.is_floating_point() or math.isfinite(float(x.sum())) or bool(torch.isfinite(x).all())


@torch.no_grad()
def note_unfinite_torch(
    noted: Tensor,
    obs: Tensor,
    next_obs: Tensor,
    reward: Tensor,
    length: Tensor,
    done: Tensor,
    episode: Tensor,
    value: Tensor | None = None,
) -> None:
    """The specification; it looks at no value."""
    steps, envs = reward.shape
    each = [~torch.isfinite(x).reshape(steps, envs, -1).all(-1) for x in (obs, next_obs, reward)]
    if value is not None:
        each[1] &= value.isfinite()
    bad = torch.stack(each, -1).flatten()
    place = bad.int().argmax()
    step, env, quantity = place // (3 * envs), place // 3 % envs, place % 3
    column = done.index_select(1, env.view(1)).squeeze(1)
    ended = (column & (torch.arange(steps, device=done.device) >= step)).sum()
    age = length.flatten().index_select(0, (step * envs + env).view(1)).squeeze(0).long()
    number = episode.index_select(0, env.view(1)).squeeze(0) - ended
    new = torch.stack([torch.ones_like(step), quantity, step, env, number, age])
    noted.copy_(torch.where(bad.any() & (noted[0] == 0), new, noted))
