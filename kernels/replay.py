"""A replay ring on the device: insertion, uniform and prioritized draws, and returns of n steps. Torch alone: no kernel yet.

A ring holds C transitions of N environments that step together, N a divisor of C: place `(t * N + e) % C` has step t of
environment e, so `N` places further on, modulo C, is the same environment's next step. `count` is how many transitions
were ever put in. It lies on the device, so that nothing here waits for the host.

    oldest = count - min(count, C)        the ring wraps there, not at place 0; no window of n steps crosses it
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def insert(ring: Sequence[Tensor], steps: Sequence[Tensor], count: Tensor) -> Tensor:
    """Writes M new transitions over the oldest, and returns the places they took, int64 `[M]`.

    Args:
        ring: tensors `[C, ...]`.
        steps: as many tensors `[M, ...]`, M ≤ C, in the order of time, then of environment.
        count: int64, 0-dim; M is added to it.

    Raises:
        ValueError: there are more transitions than places.
    """
    size, new = len(ring[0]), len(steps[0])
    if new > size:
        raise ValueError(f"{new} transitions do not fit into a ring of {size}.")
    place = (count + torch.arange(new, device=count.device)) % size
    for kept, step in zip(ring, steps, strict=True):
        kept.index_copy_(0, place, step.to(kept.dtype))
    count.add_(new)
    return place


def draw_uniform(u: Tensor, count: Tensor, size: int, num_envs: int, n_step: int) -> Tensor:
    """Places, int64 like `u`, each as likely as another, of steps that have `n_step` - 1 younger ones behind them.

    Args:
        u: float64 in [0, 1).
        count: of transitions ever put in, at least `num_envs * n_step`.
        size: C.
    """
    held = count.clamp(max=size)
    age = (u * (held - (n_step - 1) * num_envs)).long()
    return (count - held + age) % size


def draw_prioritized(u: Tensor, priority: Tensor) -> tuple[Tensor, Tensor]:
    """Places, int64 like `u`, drawn in proportion to `priority`, and the probability of each, float32.

    By prefix sums in float64, which a million float32 priorities are added up in without loss; entry i is drawn where
    u times the sum of all falls into [sum before i, sum with i), so a priority of 0 is never drawn.

    Args:
        u: float64 in [0, 1).
        priority: float32 `[C]`, not negative, not all 0.
    """
    upto = priority.double().cumsum(0)
    total = upto[-1]
    place = torch.searchsorted(upto, u * total, right=True)
    # u * total may be rounded up to total itself, beyond the last entry that is not 0
    place = torch.minimum(place, torch.searchsorted(upto, total))
    return place, (priority[place] / total).float()


def n_step_return(
    reward: Tensor, terminated: Tensor, done: Tensor, place: Tensor, num_envs: int, n_step: int, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Σ γ^i r_i from each place on, for `n_step` steps or to the end of the episode, whichever comes first.

    Args:
        reward: float32 `[C]`.
        terminated: bool `[C]`.
        done: bool `[C]`, terminated or truncated.
        place: int64 `[B]`, of first steps; `n_step` - 1 younger ones are in the ring.

    Returns:
        returns: float32 `[B]`.
        discount: float32 `[B]`, what the value of the last step's next observation is multiplied by: γ^steps, also where
            the last step was truncated; 0 where it terminated.
        last: int64 `[B]`, the place of the last step.
    """
    returns, last = reward[place], place
    runs_on, discount = ~done[place], torch.full_like(returns, gamma)
    for i in range(1, n_step):
        here = (place + i * num_envs) % len(reward)
        returns = returns + gamma**i * reward[here] * runs_on
        last = torch.where(runs_on, here, last)
        discount = torch.where(runs_on, gamma ** (i + 1), discount)
        runs_on = runs_on & ~done[here]
    return returns, discount * ~terminated[last], last
