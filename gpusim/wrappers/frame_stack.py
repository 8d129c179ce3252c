"""The last observations, one upon the other."""

import math
from typing import NamedTuple

import torch
from gymnasium.spaces import Box
from gymnasium.vector.utils import batch_space
from torch import Tensor

from gpusim import checks
from gpusim.memory import require
from gpusim.wrappers.wrapper import Returned, Wrappable, Wrapper


class Frames(NamedTuple):
    frames: Tensor  # [N, stack_size, *obs], the newest last


class FrameStackObservation(Wrapper):
    """Observations `[N, stack_size, *obs]`: the last ones of this episode, the newest last, in `final_obs` too.

    Args:
        stack_size: how many.
        padding_type: what stands for those before the episode began, `"reset"` (its first observation) or `"zero"`.

    Raises:
        InputError: one of these is something else.
    """

    def __init__(self, env: Wrappable, stack_size: int, *, padding_type: str = "reset"):
        super().__init__(env)
        self.stack_size = checks.positive("stack_size", stack_size)
        self.padding_type = checks.one_of("padding_type", padding_type, ("reset", "zero"))
        space = self.single_observation_space
        frames = self.num_envs * self.stack_size * math.prod(space.shape) * space.dtype.itemsize
        require(f"{self.stack_size:,} frames of {self.num_envs:,} environments", frames, self.device)
        stacked = batch_space(space, self.stack_size)
        assert isinstance(stacked, Box)
        self.single_observation_space = stacked
        shape = (self.num_envs, self.stack_size, *space.shape)
        with torch.inference_mode(False):
            self.own = Frames(torch.zeros(shape, dtype=getattr(torch, space.dtype.name), device=self.device))

    def _first(self, obs: Tensor) -> Tensor:
        """The stack of an episode that begins with `obs`."""
        before = obs if self.padding_type == "reset" else torch.zeros_like(obs)
        return torch.stack([before] * (self.stack_size - 1) + [obs], 1)

    def _begun(self, obs: Tensor, mask: Tensor) -> Tensor:
        self.own = Frames(self._where(mask, self._first(obs), self.own.frames))
        return self._seen(obs)

    def _stepped(self, step: Returned) -> Returned:
        frames, valid, reset = self.own.frames, step.valid, step.infos["reset"]
        pushed = torch.cat([frames[:, 1:], step.infos["final_obs"].unsqueeze(1)], 1)
        first = self._first(step.obs)
        final = self._where(valid, pushed, self._where(reset, first, frames))
        self.own = Frames(self._where(reset, first, final))
        return step._replace(obs=self._seen(step.obs)).inform(final_obs=final)

    def _seen(self, obs: Tensor) -> Tensor:
        return self.own.frames.clone()

    def _where(self, mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
        return torch.where(mask.view(-1, *[1] * (old.ndim - 1)), new, old)
