"""What Gymnasium's vector interface on torch tensors has in common, wherever the environments step."""

import warnings
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cached_property

import gymnasium
import torch
from gymnasium.vector.utils import batch_space
from torch import Tensor

from gpusim import checks
from gpusim.env import Task
from gpusim.errors import InputError


def apart() -> AbstractContextManager:
    """Within it nothing is recorded for a gradient, and tensors are no inference tensors, wherever the caller is."""
    if not torch.is_inference_mode_enabled():
        return torch.no_grad() if torch.is_grad_enabled() else nullcontext()
    both = ExitStack()
    both.enter_context(torch.inference_mode(False))
    both.enter_context(torch.no_grad())
    return both


class TensorVectorEnv(gymnasium.vector.VectorEnv[Tensor, Tensor, Tensor]):
    """The base of `VectorEnv` and `HostVectorEnv`."""

    task: Task
    device: torch.device

    @property
    def env(self) -> Task:
        """The name that `task` had until 0.1; it goes with 0.2."""
        sentence = f"{type(self).__name__}.env is {type(self).__name__}.task now; the old name goes with gpusim 0.2."
        warnings.warn(sentence, DeprecationWarning, stacklevel=2)
        return self.task

    @cached_property
    def observation_space(self) -> gymnasium.Space:  # type: ignore[override]
        return batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def action_space(self) -> gymnasium.Space:  # type: ignore[override]
        return batch_space(self.single_action_space, self.num_envs)

    def require_reset(self) -> None:
        """Raises InputError where this has been closed, ResetNeeded where it was never reset."""
        raise NotImplementedError

    def _masked(self, seed: object, options: dict | None, validate: bool) -> Tensor | None:
        """The mask `[N]` in what `reset` was given; None: all environments are to be reset. `validate`: whether to look at
        its values."""
        if not isinstance(options, dict | None):
            raise InputError(f"options must be a dict, not {type(options).__name__}.")
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        if options:
            others = checks.told(sorted(options, key=str))
            raise InputError(f'reset knows the option "reset_mask" and no other, not {others}.')
        if mask is None:
            return None
        mask = checks.mask(mask, self.num_envs, self.device)
        if seed is not None:
            raise InputError("a seed belongs to all environments: call reset(seed=...) without a reset_mask.")
        self.require_reset()
        if validate and not mask.any():
            raise InputError("reset_mask is all False: at least one environment must be reset.")
        return mask
