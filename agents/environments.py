"""What learners need of environments, wherever these step: on the device (gpusim's) or on the host (any of Gymnasium's)."""

import os
from collections.abc import Callable
from typing import Any, Protocol

import gymnasium
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

import gpusim
from gpusim import checks, source
from gpusim.adapters import gymnasium_host
from gpusim.errors import InputError
from gpusim.host import HostEnv, HostVectorEnv
from gpusim.registry import nearest, spec, unknown
from gpusim.rollout import Rollout
from gpusim.tree import plain
from gpusim.vector import VectorEnv


class Task(Protocol):
    """What is to be learned: a `gpusim.Env` or a `gpusim.host.HostEnv`."""

    @property
    def id(self) -> str: ...
    @property
    def observation_space(self) -> Box: ...
    @property
    def action_space(self) -> Discrete | Box: ...
    @property
    def max_episode_steps(self) -> int | None: ...
    @property
    def reward_threshold(self) -> float | None: ...


class Environments(Protocol):
    """N environments of one task: a `gpusim.VectorEnv` or a `gpusim.host.HostVectorEnv`."""

    num_envs: int
    device: torch.device
    backend: str
    single_observation_space: Any
    single_action_space: Any
    clock: int

    @property
    def env(self) -> Any: ...
    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Tensor, dict]: ...
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]: ...
    def rollout(self, num_steps: int, policy: Callable[[Tensor], Any] | None = None) -> Rollout: ...
    def close(self) -> None: ...


_HOSTED: dict[str, tuple[Any, HostEnv]] = {}  # by id, with the entry of Gymnasium's registry that each was made by


def _hosted(id: str) -> HostEnv:
    entry, task = _HOSTED.get(id, (None, None))
    if task is None or entry is not gymnasium.registry.get(id):
        task = gymnasium_host.host_env(id)
        _HOSTED[id] = gymnasium.registry.get(id), task
    return task


def describe(id: str | Any) -> Any:
    """The `Task` of that id, gpusim's own, else Gymnasium's; a task is returned as it is.

    Of `mine:Mine-v0` and `path/to/mine.py:Mine-v0` the module or file is imported, and may have registered it with either.

    Raises:
        InputError: neither has it, a library is missing, or what was to be imported cannot be.
    """
    if isinstance(id, HostEnv):
        return id
    if isinstance(id, gpusim.Env):
        return spec(id)
    if not isinstance(id, str | os.PathLike):
        return spec(id)  # which refuses it
    name = source.loaded(str(id))
    try:
        return spec(name)
    except InputError:
        if gymnasium_host.known(name):
            return _hosted(name)
        ours = gpusim.env_ids()
        near = nearest(name, dict.fromkeys([*ours, *gymnasium_host.ids()]))
        named = [other if other in ours else f"Gymnasium's {other}" for other in near]
        raise InputError(unknown(str(id), named)) from None


def compiles(id: str | Any, device: str, backend: str) -> bool:
    """Whether its first step compiles, which takes seconds."""
    task = describe(id)
    return isinstance(task, gpusim.Env) and make(task, 1, device, backend).backend != "eager"


def threshold(id: str) -> float | None:
    """The mean return at which a task counts as solved, where that is known without importing or making anything."""
    name = source.name(id).removeprefix("gpusim/")
    known: Any = spec(name) if name in gpusim.env_ids() else gymnasium.registry.get(name)
    return getattr(known, "reward_threshold", None)


def make(id: str | Any, num_envs: int, device: Any = "auto", backend: str = "auto") -> Any:
    """The `Environments` of a task, given by its id or itself; not reset yet.

    Raises:
        InputError: they cannot be made so.
    """
    task = describe(id)
    space = task.action_space
    if isinstance(space, Box) and not checks.bounded(space):
        raise InputError(
            f"the actions of {task.id} have no bounds that learners could stretch theirs to: let its action_space say which "
            f"are meant, as Box(-1, 1, {space.shape}), instead of {space}."
        )
    if isinstance(task, HostEnv):
        return HostVectorEnv(task, num_envs, device=device, engine=backend)
    return gpusim.make(task, num_envs, device=device, backend=backend)


def on_host(env: Any) -> bool:
    """Whether environments (or a task) step on the host, where no CUDA graph and no kernel can hold them."""
    return isinstance(env, HostVectorEnv | HostEnv)


def remark(env: Any) -> str:
    """What is to be said of environments that step on the host, in a line; nothing of others."""
    if not on_host(env):
        return ""
    return f"{env.env.id} is Gymnasium's: stepped on the host {env.where}, so without CUDA graphs and fused kernels\n"


def kept(env: Any) -> Any:
    """The state that a checkpoint keeps, in dicts of tensors and numbers; None where it lies in other processes."""
    return plain(env.get_state()) if isinstance(env, VectorEnv) else None


def bring_back(env: Any, state: Any, seed: int) -> None:
    """Environments where `kept` found them; where it found nothing, new episodes, seeded by `seed`."""
    if state is None:
        env.reset(seed=seed)
    else:
        env.set_state(state)
