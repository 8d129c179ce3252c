"""What learners need of environments, wherever these step: on the device (gpusim's) or on the host (any of Gymnasium's)."""

import os
from typing import Any, NamedTuple, Protocol

import gymnasium
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

import gpusim
from gpusim import checks, source
from gpusim.adapters import gymnasium_host
from gpusim.agents.parts.finite import Watched
from gpusim.agents.parts.world import ALONE, World
from gpusim.base import TensorVectorEnv
from gpusim.env import Task as Task
from gpusim.errors import InputError
from gpusim.host import HostEnv, HostVectorEnv
from gpusim.policy import Policy
from gpusim.registry import nearest, spec, unknown
from gpusim.rollout import Rollout, Steppable
from gpusim.stepped import SteppedVectorEnv
from gpusim.tables import digest
from gpusim.tree import plain
from gpusim.wrappers import Wrapper


class Shown(NamedTuple):
    """The `Task` that environments show which somebody made: a wrapper's spaces, a limit of its own."""

    id: str
    observation_space: Box
    action_space: Discrete | Box
    max_episode_steps: int | None
    reward_threshold: float | None  # None where parameters were changed, which make another task of it


class Made(Watched, Protocol):
    """Environments without what is wrapped around them."""

    @property
    def task(self) -> Task: ...
    @property
    def backend(self) -> str: ...
    @property
    def max_episode_steps(self) -> int | None: ...


class Environments(Steppable, Protocol):
    """N environments of one task: a `gpusim.VectorEnv`, a `gpusim.PhysicsVectorEnv` or another
    `gpusim.sim.stateful.SimulatorVectorEnv`, a `gpusim.host.HostVectorEnv`, or a `gpusim.wrappers.Wrapper` around them."""

    @property
    def backend(self) -> str: ...
    @property
    def autoreset_mode(self) -> AutoresetMode: ...
    @property
    def unwrapped(self) -> Made: ...
    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Tensor, dict]: ...
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]: ...
    def rollout(self, num_steps: int, policy: Policy | None = None, *, policy_state: Any = None) -> Rollout: ...
    def close(self) -> None: ...


Makeable = gpusim.Env | gpusim.PhysicsEnv | HostEnv
"""A task that environments can be made of."""
Given = Environments | Makeable
"""What a learner may be handed."""


_HOSTED: dict[str, tuple[object, HostEnv]] = {}  # by id, with the entry of Gymnasium's registry that each was made by


def _hosted(id: str) -> HostEnv:
    entry, task = _HOSTED.get(id, (None, None))
    if task is None or entry is not gymnasium.registry.get(id):
        task = gymnasium_host.host_env(id)
        _HOSTED[id] = gymnasium.registry.get(id), task
    return task


def describe(id: str | Task) -> Makeable:
    """The `Task` of that id, gpusim's own, else Gymnasium's; a task is returned as it is.

    Of `mine:Mine-v0` and `path/to/mine.py:Mine-v0` the module or file is imported, and may have registered it with either.

    Raises:
        InputError: neither has it, a library is missing, or what was to be imported cannot be.
    """
    if isinstance(id, HostEnv):
        return id
    if isinstance(id, gpusim.Env | gpusim.PhysicsEnv):
        return spec(id)
    if not isinstance(id, str | os.PathLike):
        return spec(id)  # type: ignore[arg-type]  # `spec` refuses it
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


def compiles(id: str | Makeable, device: str, backend: str) -> bool:
    """Whether its first step compiles by torch, Triton or Warp, which takes seconds and is not announced by them."""
    task = describe(id)
    if isinstance(task, gpusim.PhysicsEnv):
        return True
    return isinstance(task, gpusim.Env) and make(task, 1, device, backend).backend not in ("eager", "native")


def threshold(id: str) -> float | None:
    """The mean return at which a task counts as solved, where that is known without importing or making anything."""
    name = source.name(id).removeprefix("gpusim/")
    known: Any = spec(name) if name in gpusim.env_ids() else gymnasium.registry.get(name)
    return getattr(known, "reward_threshold", None)


def make(
    id: str | Makeable,
    num_envs: int,
    device: str | torch.device = "auto",
    backend: str = "auto",
    world: World = ALONE,
) -> Environments:
    """The `Environments` of a task, given by its id or itself, of `num_envs` this rank's share; not reset yet.

    Raises:
        InputError: they cannot be made so.
    """
    task = describe(id)
    check_bounds(task)
    own = num_envs // world.size
    if isinstance(task, HostEnv):
        return HostVectorEnv(task, own, device=device, engine=backend, first_env=world.rank * own)
    if isinstance(task, gpusim.Env) and not world.alone:  # what steps all of them, however few are this rank's
        backend = checks.backend(backend, checks.device(device), task, num_envs)
    return gpusim.make(task, own, device=device, backend=backend, first_env=world.rank * own)


def check_bounds(task: Task) -> None:
    """Raises InputError where actions have no bounds."""
    space = task.action_space
    if isinstance(space, Box) and not checks.bounded(space):
        raise InputError(
            f"the actions of {task.id} have no bounds that learners could stretch theirs to: let its action_space say which "
            f"are meant, as Box(-1, 1, {space.shape}), instead of {space}."
        )


def shown(env: Environments) -> Shown:
    """The task of environments that were made already.

    Raises:
        InputError: they are none, or none that learners can use.
    """
    if not isinstance(env, TensorVectorEnv | Wrapper):
        raise InputError(
            "a learner's env must be what gpusim.make or gpusim.adapters.from_gymnasium gives, a simulator's "
            "SimulatorVectorEnv, a wrapper of gpusim.wrappers around any of these, a gpusim.PhysicsEnv or a gpusim.Env, not "
            f"{checks.told(env)}."
        )
    base: Made = env.unwrapped
    changed = changed_params(base)
    threshold = None if changed else base.task.reward_threshold
    observation, action = env.single_observation_space, env.single_action_space
    checks.spaces(base.task.id, observation, action)
    task = Shown(base.task.id, observation, action, base.max_episode_steps, threshold)
    check_bounds(task)
    return task


def task(env: Given) -> Task:
    """What is to be learned in `env`, environments or a task itself.

    Raises:
        InputError: it is neither.
    """
    return env if isinstance(env, Makeable) else shown(env)


def tables(given: Given | Task) -> dict[str, str] | None:
    """Of each table of the task its digest, see `gpusim.tables.digest`; None where there are none."""
    whole = getattr(given, "unwrapped", None)
    task = given if whole is None else whole.task
    return digest(task) if isinstance(task, gpusim.Env) else None


def changed_params(env: Made) -> dict[str, Any]:
    """The parameters of unwrapped environments that are not their task's own."""
    task: Any = env.task
    now: Any = getattr(env, "params", ())
    if not now:
        return {}
    return {k: v for k, v in now._asdict().items() if isinstance(v, Tensor | tuple) or v != getattr(task.params, k)}


def handed(env: Given) -> str:
    """What was handed to a learner, in words: it can be made again by nobody else."""
    if isinstance(env, Makeable):
        return f"the environment {env.id!r}, which no id names"
    changed = {k: "one for each" if isinstance(v, Tensor) else v for k, v in changed_params(env.unwrapped).items()}
    params = ", ".join(f"{name}={value}" for name, value in changed.items())
    return f"{env!r}{f' with {params}' if params else ''}"


def name_of(env: object) -> str:
    """The id that a configuration's `env` is, or that its task has."""
    return env if isinstance(env, str) else str(getattr(env, "id", env))


def on_host(env: object) -> bool:
    """Whether environments (or a task) step on the host, where no CUDA graph and no kernel can hold them."""
    return isinstance(env, HostVectorEnv | HostEnv)


def remark(env: Environments) -> str:
    """What is to be said of environments that step on the host, in a line; nothing of others."""
    if not isinstance(env, HostVectorEnv):
        return ""
    return f"{env.task.id} is Gymnasium's: stepped on the host {env.where}, so without CUDA graphs and fused kernels\n"


def saved_state(env: Environments) -> Any:
    """The state that a checkpoint keeps, in dicts of tensors and numbers; None where it lies in other processes."""
    return plain(env.get_state()) if isinstance(env, SteppedVectorEnv | Wrapper) else None


def restore(env: Environments, state: Any, seed: int) -> None:
    """Environments where `saved_state` found them; where it found nothing, new episodes, seeded by `seed`."""
    if state is None:
        env.reset(seed=seed)
    else:
        assert isinstance(env, SteppedVectorEnv | Wrapper)
        env.set_state(state)
