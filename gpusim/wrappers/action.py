"""Continuous actions, clipped or from another range."""

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim import checks
from gpusim.errors import InputError
from gpusim.wrappers.wrapper import Wrappable, Wrapper


class _BoxAction(Wrapper):
    def __init__(self, env: Wrappable):
        super().__init__(env)
        space = self.single_action_space
        if not isinstance(space, Box):
            raise InputError(f"{type(self).__name__} needs continuous actions, a Box, and those of {env} are {space}.")
        self.low, self.high = self._bounds(space)

    def _bounds(self, space: Box) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False):
            return torch.from_numpy(space.low).to(self.device), torch.from_numpy(space.high).to(self.device)


class ClipAction(_BoxAction):
    """Takes any action, and brings it to the nearest one that the environment takes."""

    def __init__(self, env: Wrappable):
        super().__init__(env)
        self.single_action_space = Box(-np.inf, np.inf, self.low.shape)

    def _act(self, actions: Any) -> Tensor:
        return torch.clamp(self.check_actions(actions), self.low, self.high)


def _numbers(value: Any) -> np.ndarray:
    array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "iuf":
        raise TypeError
    return array.astype(np.float32)


class RescaleAction(_BoxAction):
    """Takes actions in [min_action, max_action] and stretches them to the bounds of the environment's.

    Args:
        min_action, max_action: numbers, or arrays `[d]` with one for each entry.

    Raises:
        InputError: the actions have no bounds, or `min_action` is not below `max_action` everywhere.
    """

    def __init__(self, env: Wrappable, min_action: Any, max_action: Any):
        super().__init__(env)
        inner = self.single_action_space
        if not checks.bounded(inner):  # type: ignore[arg-type]
            raise InputError(f"RescaleAction needs bounds to rescale to, and {inner} has none on some side.")
        try:
            low, high = (np.broadcast_to(_numbers(x), self.low.shape) for x in (min_action, max_action))
        except (TypeError, ValueError, RuntimeError, OverflowError):
            low = high = np.zeros(1, np.float32)
        if not (np.isfinite([low, high]).all() and (low < high).all()):
            raise InputError(
                f"min_action must be below max_action, both finite and numbers or arrays of shape {inner.shape}, "
                f"not {checks.told(min_action)} and {checks.told(max_action)}."
            )
        self.single_action_space = space = Box(low, high)
        self.min_action, self.max_action = self._bounds(space)
        self.ratio = (self.high - self.low) / (self.max_action - self.min_action)

    def _act(self, actions: Any) -> Tensor:
        stretched = self.low + (self.check_actions(actions) - self.min_action) * self.ratio
        return torch.clamp(stretched, self.low, self.high)  # rounding may lead beyond
