"""A replay ring on the device: insertion, uniform and prioritized draws, and returns of n steps.

A ring holds C transitions of N environments that step together, N a divisor of C: place `(t * N + e) % C` has step t of
environment e, so `N` places further on, modulo C, is the same environment's next step. `count` is how many transitions
were ever put in. It lies on the device, so that nothing here waits for the host.

    oldest = count - min(count, C)        the ring wraps there, not at place 0; no window of n steps crosses it

Random numbers u are arguments: a kernel and its twin draw the same places for the same u, and the generator they come from
is one that a checkpoint keeps and a CUDA graph registers already.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gpusim.kernels.launch import runs_on

SMALLEST = 1e-6  # what is added to |δ|, so that nothing is never drawn again
UNIT = 2.0**20  # weight of a priority of 1
GATHER = 0x0102040810204080  # times eight bytes of 0 or 1, the first the lowest, it has their bits in its highest byte
HEAVIEST = 2.0**38  # weight of the greatest priority that is told from greater ones; 2**24 of these can be added up


class Form(NamedTuple):
    """An observation as environments give it. The ring keeps it so, but for bools, of which it keeps bits."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def cells(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> bool:
        return self.dtype == torch.bool

    @property
    def kept(self) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape and dtype in the ring."""
        return ((-(-self.cells // 8),), torch.uint8) if self.bits else (self.shape, self.dtype)


class Transitions(NamedTuple):
    """What a ring keeps, `[C, ...]`; or T steps of N environments, `[T, N, ...]`."""

    obs: Tensor  # [..., *obs], in a ring as `Form.kept`
    next_obs: Tensor  # likewise
    action: Tensor  # integers
    reward: Tensor  # float32
    terminated: Tensor  # bool
    done: Tensor  # bool, terminated or truncated


class Priorities(NamedTuple):
    """By which transitions are drawn."""

    value: Tensor  # float32 [C], |δ|^α; 0 where nothing is held, or n steps are not complete
    greatest: Tensor  # float32, 0-dim: of those so far, which new transitions get


class Sample(NamedTuple):
    """Transitions drawn, `[B]`; the reward is that of n steps."""

    place: Tensor  # in the ring, int64
    obs: Tensor  # [B, *obs]
    action: Tensor  # int64
    returns: Tensor  # Σ γ^i r_i
    discount: Tensor  # of the value of next_obs: γ^steps, 0 where the episode terminated
    next_obs: Tensor  # [B, *obs], the true one after the last step
    probability: Tensor  # with which each was drawn


# ---------------------------------------------------------------------------------------------------------- insert


def insert(
    ring: Transitions, steps: Transitions, count: Tensor, priorities: Priorities | None = None, late: int = 0
) -> None:
    """Writes M = T · N new transitions over the oldest.

    Args:
        count: int64, 0-dim; M is added to it.
        priorities: what has its n steps by now gets the greatest, and what has not, 0.
        late: of how many of the youngest n steps are not complete.

    Raises:
        ValueError: there are more transitions than places.
    """
    size, new = len(ring.reward), steps.reward.numel()
    if new + late > size:
        raise ValueError(f"{new + late} transitions do not fit into a ring of {size}.")
    if runs_on(count.device):
        from gpusim.kernels.replay_triton import insert_triton

        return insert_triton(ring, steps, count, priorities, late)
    return insert_torch(ring, steps, count, priorities, late)


def insert_torch(
    ring: Transitions, steps: Transitions, count: Tensor, priorities: Priorities | None = None, late: int = 0
) -> None:
    """The specification of `insert`."""
    size, new = len(ring.reward), steps.reward.numel()
    place = (count + torch.arange(new, device=count.device)) % size
    for kept, step in zip(ring, steps, strict=True):
        step = step.flatten(0, 1)
        packed = step.dtype == torch.bool and kept.dtype == torch.uint8
        kept.index_copy_(0, place, pack(step) if packed else step.to(kept.dtype))
    if priorities:
        priorities.value.index_fill_(0, place, 0.0)
        complete = count - late + torch.arange(new, device=count.device)
        priorities.value.index_copy_(0, complete % size, torch.where(complete >= 0, priorities.greatest, 0.0))
    count.add_(new)


def pack(cells: Tensor) -> Tensor:
    """Bools `[M, ...]` as bits in uint8 `[M, bytes]`: bit b of byte j is cell 8 j + b."""
    flat = cells.flatten(1)
    eights = torch.nn.functional.pad(flat.view(torch.uint8), (0, -flat.shape[1] % 8)).view(torch.int64)
    return (eights * GATHER >> 56).to(torch.uint8)


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The bools `[M, *shape]` that were packed."""
    byte, bit = (torch.arange(n, dtype=torch.uint8, device=packed.device) for n in (256, 8))
    eights = ((byte[:, None] >> bit) & 1).bool().view(torch.int64)
    flat = eights.index_select(0, packed.flatten().int()).view(torch.bool).view(len(packed), -1)
    return flat[:, : math.prod(shape)].unflatten(1, shape)


# ---------------------------------------------------------------------------------------------------------- sample


def sample_uniform(
    u: Tensor, ring: Transitions, form: Form, count: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    """Transitions of which each is as likely as another.

    Args:
        u: float64 `[B]` in [0, 1).
        count: of transitions ever put in, at least `num_envs * n_step`.
    """
    if runs_on(u.device):
        from gpusim.kernels.replay_triton import sample_uniform_triton

        return sample_uniform_triton(u, ring, form, count, num_envs, n_step, gamma)
    return sample_uniform_torch(u, ring, form, count, num_envs, n_step, gamma)


def sample_uniform_torch(
    u: Tensor, ring: Transitions, form: Form, count: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    """The specification of `sample_uniform`."""
    size = len(ring.reward)
    place = draw_uniform(u, count, size, num_envs, n_step)
    held = count.clamp(max=size) - (n_step - 1) * num_envs
    return _gather(ring, form, place, (1.0 / held).float().expand(len(u)), num_envs, n_step, gamma)


def sample_prioritized(
    u: Tensor, ring: Transitions, form: Form, priority: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    """Transitions drawn in proportion to `priority`, as `draw_prioritized` does."""
    if runs_on(u.device):
        from gpusim.kernels.replay_triton import sample_prioritized_triton

        return sample_prioritized_triton(u, ring, form, priority, num_envs, n_step, gamma)
    return sample_prioritized_torch(u, ring, form, priority, num_envs, n_step, gamma)


def sample_prioritized_torch(
    u: Tensor, ring: Transitions, form: Form, priority: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    """The specification of `sample_prioritized`."""
    return _gather(ring, form, *draw_prioritized(u, priority), num_envs, n_step, gamma)


def _gather(
    ring: Transitions, form: Form, place: Tensor, probability: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    returns, discount, last = n_step_return(ring.reward, ring.terminated, ring.done, place, num_envs, n_step, gamma)
    obs, next_obs = ring.obs.index_select(0, place), ring.next_obs.index_select(0, last)
    if form.bits:
        obs, next_obs = unpack(obs, form.shape), unpack(next_obs, form.shape)
    return Sample(place, obs, ring.action.index_select(0, place).long(), returns, discount, next_obs, probability)


def draw_uniform(u: Tensor, count: Tensor, size: int, num_envs: int, n_step: int) -> Tensor:
    """Places, int64 like `u`, each as likely as another, of steps that have `n_step` - 1 younger ones behind them."""
    held = count.clamp(max=size)
    age = (u * (held - (n_step - 1) * num_envs)).long()
    return (count - held + age) % size


def draw_prioritized(u: Tensor, priority: Tensor) -> tuple[Tensor, Tensor]:
    """Places, int64 like `u`, drawn in proportion to `priority`, and the probability of each, float32.

    By prefix sums of whole numbers, which are the same in whatever order they are added up. Entry i is drawn where u times
    the sum of all falls into [sum before i, sum with i), so a priority of 0 is never drawn.

    Args:
        u: float64 in [0, 1).
        priority: float32 `[C]`, not negative, not all 0.
    """
    weight = _weight(priority)
    upto = weight.cumsum(0)
    total = upto[-1]
    # the product may be rounded up to the total itself, beyond the last entry that is not 0
    place = torch.searchsorted(upto, torch.minimum((u * total).long(), total - 1), right=True)
    return place, (weight[place].double() / total).float()


def _weight(priority: Tensor) -> Tensor:
    """Priorities in whole numbers, int64: rounded up, so that what is not 0 does not become 0."""
    return torch.where(priority > 0, (priority * UNIT).ceil().clamp(max=HEAVIEST), 0.0).long()


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
    going, discount = ~done[place], torch.full_like(returns, gamma)
    for i in range(1, n_step):
        here = (place + i * num_envs) % len(reward)
        returns = returns + gamma**i * reward[here] * going
        last = torch.where(going, here, last)
        discount = torch.where(going, gamma ** (i + 1), discount)
        going = going & ~done[here]
    return returns, discount * ~terminated[last], last


# ------------------------------------------------------------------------------------------------------ priorities


def update_priorities(priorities: Priorities, place: Tensor, error: Tensor, alpha: float) -> None:
    """Sets |δ|^α of what was drawn; of a transition drawn twice, one of the two.

    Args:
        place: int64 `[B]`.
        error: δ, float32 `[B]`.
    """
    if runs_on(place.device):
        from gpusim.kernels.replay_triton import update_priorities_triton

        return update_priorities_triton(priorities, place, error, alpha)
    return update_priorities_torch(priorities, place, error, alpha)


def update_priorities_torch(priorities: Priorities, place: Tensor, error: Tensor, alpha: float) -> None:
    """The specification of `update_priorities`."""
    priority = (error.abs() + SMALLEST) ** alpha
    priorities.value.index_copy_(0, place, priority)
    priorities.greatest.copy_(torch.maximum(priorities.greatest, priority.max()))
