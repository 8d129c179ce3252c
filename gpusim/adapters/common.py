"""What adapters share: the checks of what a trainer can use, and the one copy of a step to the host."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from gpusim.checks import as_tensor
from gpusim.errors import InputError
from gpusim.stepped import SteppedVectorEnv
from gpusim.wrappers import ClipAction, Wrapper

Adaptable = SteppedVectorEnv | Wrapper
"""What adapters are made of."""
HABITS = {
    "same_step": "resets environments within the step",
    "next_step": "resets environments at the step after the last",
    "disabled": "resets environments itself, by a mask",
}


def require_env(env: object, function: str) -> None:
    """Refuses what is no gpusim environment."""
    if not isinstance(env, Adaptable):
        raise InputError(
            f"{function} takes what gpusim.make gives, or a wrapper of gpusim.wrappers around it, not {type(env).__name__}."
        )


def require_mode(env: Adaptable, modes: str | tuple[str, ...], trainer: str) -> None:
    """Refuses an autoreset mode that is none of `modes` (of "same_step", "next_step", "disabled"; the preferred first)."""
    modes = (modes,) if isinstance(modes, str) else modes
    mode = env.autoreset_mode.name.lower()
    if mode not in modes:
        wanted = " or ".join(f'autoreset_mode="{m}"' for m in modes)
        raise InputError(f'{trainer} {HABITS[modes[0]]}: make this one with {wanted}, not "{mode}".')


def require_continuous(env: Adaptable, trainer: str) -> None:
    """Refuses discrete actions."""
    if not isinstance(env.single_action_space, Box):
        raise InputError(
            f"{trainer} has continuous actions only, and those of {env.unwrapped.task.id} are {env.single_action_space}: "
            "use an environment with a Box, as Pendulum-v1, or another trainer."
        )


def require_discrete(env: Adaptable, trainer: str) -> None:
    """Refuses continuous actions."""
    if not isinstance(env.single_action_space, Discrete):
        raise InputError(
            f"{trainer} has discrete actions only, and those of {env.unwrapped.task.id} are {env.single_action_space}: "
            "use an environment with a Discrete, as CartPole-v1, or another trainer."
        )


def require_several(env: Adaptable, trainer: str) -> None:
    """Refuses a single environment."""
    if env.num_envs < 2:
        raise InputError(f"{trainer} needs at least two environments: make this one with num_envs=2 or more.")


def require_copy(env: Adaptable, trainer: str) -> None:
    """Refuses an environment that fills the same tensors at every step."""
    if not env.copy:
        raise InputError(f"{trainer} keeps the tensors of earlier steps: make this environment with copy=True.")


def clipped(env: Adaptable) -> Adaptable:
    """The environment, its continuous actions clipped to the action space; discrete ones need no clipping."""
    return ClipAction(env) if isinstance(env.single_action_space, Box) else env


@contextmanager
def idling(env: Adaptable) -> Iterator[None]:
    """Where environments that are over may be stepped: their rows repeat themselves, and nobody complains."""
    base = env.unwrapped
    validate, base.validate = base.validate, False
    try:
        yield
    finally:
        base.validate = validate


def to_device(actions: Any, env: Adaptable) -> Tensor:
    """A trainer's actions (an array or a tensor, from anywhere) as `env.step` takes them, which refuses what is no action:
    numbers only become wider or narrower, and a column of discrete ones `[N, 1]` a lane."""
    space, given = env.single_action_space, as_tensor("actions", actions)
    if given.is_complex():
        raise InputError(f"actions must be real numbers, not {given.dtype}.")
    if isinstance(space, Discrete):
        dtype = given.dtype if given.is_floating_point() else torch.int64
        given = given.squeeze(1) if given.shape == (env.num_envs, 1) else given
    else:
        dtype = torch.float32
    return as_tensor("actions", given, env.device).to(dtype)


class Host:
    """Brings tensors to the host as arrays that are the caller's own.

    From a GPU they travel packed, in one transfer through pinned memory and with one wait. On the CPU nothing is copied,
    unless the environment fills the same tensors anew (`copy=False`).
    """

    def __init__(self, env: Adaptable):
        self.copy = not env.copy
        self._pinned: dict[int, Tensor] = {}

    def __call__(self, *tensors: Tensor) -> list[np.ndarray]:
        if tensors[0].device.type == "cpu":
            arrays = [t.numpy() for t in tensors]
            return [a.copy(order="K") for a in arrays] if self.copy else arrays
        return self._transferred(tensors)

    def _transferred(self, tensors: tuple[Tensor, ...]) -> list[np.ndarray]:
        flat = [_flat(t) for t in tensors]
        order = sorted(range(len(flat)), key=lambda i: -tensors[i].element_size())  # so that all are aligned
        packed = torch.cat([flat[i].view(torch.uint8) for i in order])
        pinned = self._pinned.get(len(packed))
        if pinned is None:
            pinned = self._pinned[len(packed)] = torch.empty(len(packed), dtype=torch.uint8, pin_memory=packed.is_cuda)
        pinned.copy_(packed, non_blocking=True)
        if packed.is_cuda:
            torch.cuda.current_stream(packed.device).synchronize()
        host, arrays, start = pinned.numpy().copy(), {}, 0
        for i in order:
            piece = host[start : start + flat[i].nbytes].view(_numpy_dtype(tensors[i]))
            arrays[i] = _shaped(piece, tensors[i])
            start += flat[i].nbytes
        return [arrays[i] for i in range(len(tensors))]


def _columns(tensor: Tensor) -> bool:
    """Whether the tensor's memory runs along its columns, as observations' does."""
    return not tensor.is_contiguous() and tensor.permute(*reversed(range(tensor.ndim))).is_contiguous()


def _flat(tensor: Tensor) -> Tensor:
    """The tensor's elements in the order of its memory."""
    return (tensor.permute(*reversed(range(tensor.ndim))) if _columns(tensor) else tensor).reshape(-1)


def _shaped(piece: np.ndarray, tensor: Tensor) -> np.ndarray:
    return piece.reshape(tensor.shape, order="F" if _columns(tensor) else "C")


def _numpy_dtype(tensor: Tensor) -> np.dtype:
    return torch.empty(0, dtype=tensor.dtype).numpy().dtype
