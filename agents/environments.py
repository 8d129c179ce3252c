"""What learners need of environments, wherever these step: on the device (gpusim's) or on the host (any of Gymnasium's)."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

import gpusim
from gpusim.adapters import gymnasium_host
from gpusim.errors import InputError
from gpusim.host import HostEnv, HostVectorEnv
from gpusim.registry import either, nearest, spec
from gpusim.rollout import Rollout
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


@functools.cache
def _hosted(id: str) -> HostEnv:
    return gymnasium_host.host_env(id)


def describe(id: str | Any) -> Any:
    """The `Task` of that id, gpusim's own, else Gymnasium's; a task is returned as it is.

    Raises:
        InputError: neither has it, or a library is missing.
    """
    if isinstance(id, HostEnv):
        return id
    try:
        return spec(id)
    except InputError:
        if gymnasium_host.known(str(id)):
            return _hosted(str(id))
        ours = gpusim.env_ids()
        near = nearest(str(id), dict.fromkeys([*ours, *gymnasium_host.ids()]))
        if set(near) <= set(ours):
            raise
        named = either([other if other in ours else f"Gymnasium's {other}" for other in near])
        raise InputError(f"no environment has the id {id!r}; did you mean {named}?") from None


def make(id: str | Any, num_envs: int, device: Any = "auto", backend: str = "auto") -> Any:
    """The `Environments` of a task, given by its id or itself; not reset yet.

    Raises:
        InputError: they cannot be made so.
    """
    task = describe(id)
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
    return _plain(env.get_state()) if isinstance(env, VectorEnv) else None


def bring_back(env: Any, state: Any, seed: int) -> None:
    """Environments where `kept` found them; where it found nothing, new episodes, seeded by `seed`."""
    if state is None:
        env.reset(seed=seed)
    else:
        env.set_state(state)


def _plain(tree: Any) -> Any:
    """Tuples with named fields become dicts."""
    return {k: _plain(v) for k, v in tree._asdict().items()} if hasattr(tree, "_asdict") else tree
