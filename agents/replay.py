"""Replay on the device: what thousands of environments did, kept in one ring to draw from.

A transition holds its observation and its next one. The second is not read off the following step, as a truncated step
needs its true final observation, which no other step holds, and how many of those there are depends on the data; a vector
observation costs a few bytes. So a draw of one step looks at one place alone.
"""

import math
import os
from typing import NamedTuple

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from gpusim.errors import InputError
from gpusim.kernels.replay import draw_prioritized, draw_uniform, insert, n_step_return
from gpusim.rollout import Rollout

SMALLEST = 1e-6  # what is added to |δ|, so that nothing is never drawn again


class Sample(NamedTuple):
    """Transitions drawn, `[B]`; the reward is that of n steps."""

    place: Tensor  # in the ring, int64
    obs: Tensor  # [B, *obs]
    action: Tensor  # int64
    returns: Tensor  # Σ γ^i r_i
    discount: Tensor  # of the value of next_obs: γ^steps, 0 where the episode terminated
    next_obs: Tensor  # [B, *obs], the true one after the last step
    probability: Tensor  # with which each was drawn


class Replay(nn.Module):
    """A ring of transitions; its tensors are its buffers, which a checkpoint keeps.

    Args:
        capacity: transitions, rounded down to whole steps of `num_envs`.
        num_envs: N.
        observation_space, action_space: of one environment.
        n_step: steps of a return.
        gamma: discount.
        alpha: exponent of the priorities; None draws uniformly.
        device: where it lies.

    Raises:
        InputError: it does not fit into the memory that is free there.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        observation_space: Box,
        action_space: Discrete,
        n_step: int,
        gamma: float,
        alpha: float | None,
        device: torch.device,
    ):
        super().__init__()
        self.num_envs, self.n_step, self.gamma, self.alpha = num_envs, n_step, gamma, alpha
        self.capacity = capacity // num_envs * num_envs
        shape = observation_space.shape
        small = torch.uint8 if int(action_space.n) <= 256 else torch.int32
        self.bytes = transition_bytes(math.prod(shape), small.itemsize, alpha is not None)
        check_memory(self.capacity, self.bytes, num_envs, device)
        self.obs: Tensor
        self.next_obs: Tensor
        self.action: Tensor
        self.reward: Tensor
        self.terminated: Tensor
        self.done: Tensor
        self.priority: Tensor  # |δ|^α; 0 where nothing is held, or n steps are not complete
        self.greatest: Tensor  # of the priorities so far, which new transitions get
        self.count: Tensor
        for name, entry, dtype in (
            ("obs", shape, torch.float32),
            ("next_obs", shape, torch.float32),
            ("action", (), small),
            ("reward", (), torch.float32),
            ("terminated", (), torch.bool),
            ("done", (), torch.bool),
        ):
            self.register_buffer(name, torch.zeros(self.capacity, *entry, dtype=dtype, device=device))
        if alpha is not None:
            self.register_buffer("priority", torch.zeros(self.capacity, device=device))
            self.register_buffer("greatest", torch.ones((), device=device))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64, device=device))

    @property
    def memory(self) -> str:
        return memory(self.capacity, self.bytes)

    @torch.no_grad()
    def add(self, rollout: Rollout) -> None:
        """All steps of a rollout `[T, N]`."""
        done = rollout.terminated | rollout.truncated
        steps = (rollout.obs, rollout.next_obs, rollout.action, rollout.reward, rollout.terminated, done)
        ring = (self.obs, self.next_obs, self.action, self.reward, self.terminated, self.done)
        before = self.count.clone()
        place = insert(ring, [x.flatten(0, 1) for x in steps], self.count)
        if self.alpha is not None:
            late = (self.n_step - 1) * self.num_envs  # so many of the youngest have not their n steps yet
            self.priority.index_fill_(0, place, 0.0)
            complete = before - late + torch.arange(len(place), device=place.device)
            self.priority.index_copy_(0, complete % self.capacity, torch.where(complete >= 0, self.greatest, 0.0))

    @torch.no_grad()
    def sample(self, size: int, generator: torch.Generator) -> Sample:
        """`size` transitions, with replacement; there must be `n_step` steps of every environment to draw from."""
        u = torch.rand(size, dtype=torch.float64, device=self.count.device, generator=generator)
        if self.alpha is None:
            place = draw_uniform(u, self.count, self.capacity, self.num_envs, self.n_step)
            held = self.count.clamp(max=self.capacity) - (self.n_step - 1) * self.num_envs
            probability = (1.0 / held).float().expand(size)
        else:
            place, probability = draw_prioritized(u, self.priority)
        returns, discount, last = n_step_return(
            self.reward, self.terminated, self.done, place, self.num_envs, self.n_step, self.gamma
        )
        action = self.action.index_select(0, place).long()
        obs, next_obs = self.obs.index_select(0, place), self.next_obs.index_select(0, last)
        return Sample(place, obs, action, returns, discount, next_obs, probability)

    @torch.no_grad()
    def weights(self, probability: Tensor, beta: float | Tensor) -> Tensor:
        """Importance weights (n p)^−β, the greatest of them 1; n falls out of that."""
        return (probability.min() / probability) ** beta

    @torch.no_grad()
    def update_priority(self, place: Tensor, error: Tensor) -> None:
        """Priorities |δ|^α of what was drawn; of a transition drawn twice, one of the two."""
        assert self.alpha is not None
        priority = (error.abs() + SMALLEST) ** self.alpha
        self.priority.index_copy_(0, place, priority)
        self.greatest.copy_(torch.maximum(self.greatest, priority.max()))


def transition_bytes(entries: int, action: int, prioritized: bool) -> int:
    """Of one transition, whose observation has so many `entries`, its action so many bytes."""
    return 2 * 4 * entries + action + 4 + 2 + (4 if prioritized else 0)


def memory(capacity: int, each: int) -> str:
    """As in "1,000,000 × 40 B = 38 MiB"."""
    return f"{capacity:,} × {each} B = {_size(capacity * each)}"


def check_memory(capacity: int, each: int, num_envs: int, device: torch.device) -> None:
    """Raises InputError where a ring of `capacity` does not fit, and names the largest that does."""
    free = free_memory(device)
    if free is not None and capacity * each > free:
        most = free // each // num_envs * num_envs
        raise InputError(
            f"a replay of {memory(capacity, each)} does not fit into the {_size(free)} that are free on {device}; "
            f"the largest capacity that does is {most}."
        )


def free_memory(device: torch.device) -> int | None:
    """Bytes; None where this cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (OSError, ValueError):
            return None


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.0f} GiB" if number >= 10 else f"{number:.1f} GiB"
