"""Replay on the device: what thousands of environments did, kept in one ring to draw from.

A transition holds its observation and its next one. The second is not read off the following step, as a truncated step
needs its true final observation, which no other step holds, and how many of those there are depends on the data; a vector
observation costs a few bytes, and the cell of a board one bit. So a draw of one step looks at one place alone.
"""

import math

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from gpusim.agents.parts.world import here
from gpusim.errors import InputError
from gpusim.kernels.replay import (
    Form,
    Priorities,
    Sample,
    Transitions,
    insert,
    sample_prioritized,
    sample_uniform,
    update_priorities,
)
from gpusim.memory import free_memory, size_of
from gpusim.rollout import Rollout


class Replay(nn.Module):
    """A ring of transitions; its tensors are its buffers, which a checkpoint keeps. Of several ranks each has its own, for
    its share of the environments.

    Vectors are kept as float32, images of bytes as bytes, boards of bools as bits, discrete actions as small integers,
    continuous ones as float32; `sample` gives each as it came.

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

    counted = ("count",)

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        observation_space: Box,
        action_space: Discrete | Box,
        n_step: int,
        gamma: float,
        alpha: float | None,
        device: torch.device,
    ):
        super().__init__()
        self.num_envs, self.n_step, self.gamma, self.alpha = num_envs, n_step, gamma, alpha
        self.capacity = capacity // num_envs * num_envs
        self.form = form(observation_space)
        self.bytes = transition_bytes(observation_space, action_space, alpha is not None)
        check_memory(self.capacity, self.bytes, num_envs, device)
        self.count: Tensor
        self.done: Tensor
        self.priority: Tensor
        self.greatest: Tensor
        flag = ((), torch.bool)
        fields = (self.form.stored, self.form.stored, stored(action_space), ((), torch.float32), flag, flag)
        for name, (shape, dtype) in zip(Transitions._fields, fields, strict=True):
            self.register_buffer(name, torch.zeros(self.capacity, *shape, dtype=dtype, device=device))
        if alpha is not None:
            self.register_buffer("priority", torch.zeros(self.capacity, device=device))
            self.register_buffer("greatest", torch.ones((), device=device))
        self.by_env = tuple(name for name, buffer in self.named_buffers() if buffer.ndim)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64, device=device))

    @property
    def memory(self) -> str:
        return memory(self.capacity, self.bytes)

    @property
    def ring(self) -> Transitions:
        return Transitions(*(getattr(self, name) for name in Transitions._fields))

    @property
    def priorities(self) -> Priorities | None:
        return None if self.alpha is None else Priorities(self.priority, self.greatest)

    @torch.no_grad()
    def add(self, rollout: Rollout) -> None:
        """All steps of a rollout `[T, N]`."""
        done = rollout.terminated | rollout.truncated
        steps = Transitions(rollout.obs, rollout.next_obs, rollout.action, rollout.reward, rollout.terminated, done)
        insert(self.ring, steps, self.count, self.priorities, 0 if self.alpha is None else self._incomplete)

    @property
    def _incomplete(self) -> int:
        """How many of the newest transitions do not have their n successors yet."""
        return (self.n_step - 1) * self.num_envs

    @torch.no_grad()
    def clear(self) -> None:
        """Forgets everything."""
        self.count.zero_()
        if self.alpha is not None:
            self.priority.zero_()
            self.greatest.fill_(1.0)

    @torch.no_grad()
    def cut(self) -> None:
        """The episodes break off where they are, as by a time limit: what is added next begins others."""
        last = self.count - 1 - torch.arange(self.num_envs, device=self.count.device)
        self.done[last[last >= 0] % self.capacity] = True

    @torch.no_grad()
    def sample(self, size: int, generator: torch.Generator) -> Sample:
        """`size` transitions, with replacement; there must be `n_step` steps of every environment to draw from."""
        world = here()
        every = (size * world.size,)
        u = world.own(torch.rand(every, dtype=torch.float64, device=self.count.device, generator=generator))
        if self.alpha is None:
            return sample_uniform(u, self.ring, self.form, self.count, self.num_envs, self.n_step, self.gamma)
        return sample_prioritized(u, self.ring, self.form, self.priority, self.num_envs, self.n_step, self.gamma)

    @torch.no_grad()
    def weights(self, probability: Tensor, beta: float | Tensor) -> Tensor:
        """Importance weights (n p)^−β, the greatest of them 1; n falls out of that."""
        return (here().least(probability.min()) / probability) ** beta

    @torch.no_grad()
    def update_priority(self, place: Tensor, error: Tensor) -> None:
        """Priorities |δ|^α of what was drawn; of a transition drawn twice, one of the two."""
        assert self.priorities is not None
        assert self.alpha is not None
        update_priorities(self.priorities, place, error, self.alpha)


def form(space: Box) -> Form:
    """How the environments show an observation: a vector as float32, an image as its space says."""
    return Form(space.shape, torch.float32 if len(space.shape) < 2 else getattr(torch, str(space.dtype)))


def stored(space: Discrete | Box) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape and dtype of an action in the ring."""
    if isinstance(space, Box):
        return space.shape, torch.float32
    return (), torch.uint8 if int(space.n) <= 256 else torch.int32


def transition_bytes(observation_space: Box, action_space: Discrete | Box, prioritized: bool) -> int:
    """Of one transition."""
    fields = (form(observation_space).stored, form(observation_space).stored, stored(action_space))
    return sum(dtype.itemsize * math.prod(shape) for shape, dtype in fields) + 4 + 2 + (4 if prioritized else 0)


def memory(capacity: int, each: int) -> str:
    """As in "1,000,000 × 40 B = 38 MiB"."""
    return f"{capacity:,} × {each} B = {size_of(capacity * each)}"


def check_memory(capacity: int, each: int, num_envs: int, device: torch.device) -> None:
    """Raises InputError where a ring of `capacity` does not fit, and names the largest that does."""
    free = free_memory(device)
    if free is not None and capacity * each > free:
        most = free // each // num_envs * num_envs
        raise InputError(
            f"a replay of {memory(capacity, each)} does not fit into the {size_of(free)} that are free on {device}; "
            f"the largest capacity that does is {most}."
        )
