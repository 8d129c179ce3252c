"""Observations and rewards, changed by a function of the user's own."""

from collections.abc import Callable
from typing import Any

import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim.errors import InputError, told
from gpusim.wrappers.wrapper import Returned, Wrappable, Wrapper


def _callable(func: Any) -> Any:
    if not callable(func):
        raise InputError(f"func must be a function of a tensor, not {told(func)}.")
    return func


class TransformObservation(Wrapper):
    """`func(obs)` for every observation, `final_obs` too.

    Args:
        func: obs `[N, *obs]` → `[N, *new_obs]`, row by row and always the same.
        single_observation_space: a `Box` of what `func` gives for one environment; None where it stays what it was.

    Raises:
        InputError: `func` is no function, or what it gives does not fit the space.
    """

    def __init__(
        self, env: Wrappable, func: Callable[[Tensor], Tensor], *, single_observation_space: Box | None = None
    ):
        super().__init__(env)
        self.func = _callable(func)
        if single_observation_space is not None:
            if not isinstance(single_observation_space, Box):
                raise InputError(f"single_observation_space must be a Box, not {told(single_observation_space)}.")
            self.single_observation_space = single_observation_space

    def _stepped(self, step: Returned) -> Returned:
        return step._replace(obs=self._seen(step.obs)).inform(final_obs=self._seen(step.infos["final_obs"]))

    def _seen(self, obs: Tensor) -> Tensor:
        new, space = self.func(obs), self.single_observation_space
        shape, dtype = (self.num_envs, *space.shape), getattr(torch, space.dtype.name)
        if not isinstance(new, Tensor) or new.shape != shape or new.dtype != dtype or new.device != self.device:
            raise InputError(
                f"the function of TransformObservation gives {_described(new)}, not {dtype} of shape {tuple(shape)} on "
                f'"{self.device}": give the single_observation_space that it leads to.'
            )
        return new


class TransformReward(Wrapper):
    """`func(reward)` for every reward, as float32; rows that are no transition keep their 0. `episode` keeps the true ones.

    It works on what comes out. `gpusim.Env.with_reward` makes a reward of state and action too, and runs in kernels.

    Args:
        func: reward `[N]` → `[N]`.

    Raises:
        InputError: `func` is no function, or gives something else.
    """

    def __init__(self, env: Wrappable, func: Callable[[Tensor], Tensor]):
        super().__init__(env)
        self.func = _callable(func)

    def _stepped(self, step: Returned) -> Returned:
        valid, new = step.valid, self.func(step.reward)
        if not isinstance(new, Tensor) or new.shape != step.reward.shape or new.device != self.device:
            raise InputError(
                f"the function of TransformReward gives {_described(new)}, not one number for each environment, "
                f'[{self.num_envs}] on "{self.device}".'
            )
        return step._replace(reward=torch.where(valid, new, 0.0).float())


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f'{value.dtype} of shape {tuple(value.shape)} on "{value.device}"'
