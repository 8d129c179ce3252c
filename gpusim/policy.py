"""Policies: functions of an observation, networks that kernels hold, and those that remember."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from gpusim.errors import InputError, told
from gpusim.kernels.policy import MlpPolicy
from gpusim.tree import tensors, tree_map

T = TypeVar("T")


@runtime_checkable
class StatefulPolicy(Protocol):
    """Acts in N environments by what it has seen of their episodes: its state, a tensor `[N, ...]` or a tuple, NamedTuple or
    dict of such, row i of which belongs to environment i. The state is kept by whoever calls."""

    def initial_state(self, num_envs: int, device: torch.device) -> Any:
        """The state of environments of which nothing has been seen."""

    def act(self, obs: Tensor, state: Any, begun: Tensor) -> tuple[Any, dict[str, Tensor], Any]:
        """One step of every environment.

        Args:
            obs: `[N, *obs]`.
            state: what `initial_state` or the last call gave.
            begun: `[N]` bool, where `obs` is the first of an episode: the state of what was seen before counts no more,
                see `begin_anew`.

        Returns:
            action: as the environments take them.
            extras: tensors `[N, ...]` to keep beside the actions, by name.
            state: with what was seen now, of the same shapes and dtypes.
        """


Policy = Callable[[Tensor], Any] | MlpPolicy | StatefulPolicy


def begin_anew(state: T, initial: T, begun: Tensor) -> T:
    """The rows of `initial` where `begun` `[N]`, elsewhere those of `state`."""
    return tree_map(lambda x, first: torch.where(begun.view(-1, *[1] * (x.ndim - 1)), first, x), state, initial)


def form(state: object) -> Any:
    """What the states of a policy have in common, in words."""
    return tree_map(lambda x: f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)} on {x.device}", state)


def starting_state(policy: StatefulPolicy, num_envs: int, device: torch.device, given: Any = None) -> Any:
    """The state to begin with, the caller's own: a copy of the one that is given, else the policy's initial one.

    Raises:
        InputError: it is none for so many environments on that device.
    """
    initial = policy.initial_state(num_envs, device)
    found = tensors(initial)
    if not found or any(x.shape[:1] != (num_envs,) or x.device != device for x in found):
        raise InputError(
            f"a policy's initial_state must give tensors of shape ({num_envs}, ...) on {device}, not {told(form(initial))}."
        )
    if given is None:
        return tree_map(torch.clone, initial)
    require_form("policy_state", given, form(initial))
    return tree_map(torch.clone, given)


def require_form(name: str, state: object, wanted: object) -> None:
    """Raises InputError where a state, called `name`, is not of that form."""
    if form(state) != wanted:
        raise InputError(
            f"{name} must be as the policy's initial_state gives it, {told(wanted)}, not {told(form(state))}."
        )
