"""What `VectorEnv.get_state` gives, and how it is put back."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpusim import checks
from gpusim.book import Book
from gpusim.engine import Carry
from gpusim.errors import InputError


class VectorState(NamedTuple):
    """What `VectorEnv.get_state` gives; `[N]` unless said otherwise."""

    state: Any  # the environment's State, every field a lane
    params: Any  # its Params, every field a number or a lane
    elapsed: Tensor  # steps since the reset, float32
    episode_return: Tensor  # float32
    terminated: Tensor  # whether the last step ended the episode (not kept in SAME_STEP), bool
    truncated: Tensor  # whether it reached the time limit (likewise), bool
    episode: Tensor  # resets before this one since seeding, int64
    seed: Tensor  # int64 scalar, or [N] where there are several vectors
    clock: int  # steps since seeding


class Snapshot(NamedTuple):
    """What `VectorEnv.snapshot` gives of K environments, on the CPU."""

    state: Any  # the environment's State, every field `[K]` or `[K, entities]`
    params: Any  # its Params, every field a number or `[K]`
    actions: list  # [K] arrays: the last action of each; None before the first of an episode, or where it is not known


def vector_state(c: Carry, clock: int) -> VectorState:
    """A carry that is settled, as users see it; the tensors are its own."""
    return VectorState(c.state, c.params, *c.book, episode=c.episode, seed=c.seed, clock=clock)


def carry_of(s: VectorState) -> Carry:
    book = Book(s.elapsed, s.episode_return, s.terminated, s.truncated)
    return Carry(s.state, s.params, book, s.episode, s.seed)


def fitted(given: object, like: VectorState, num_envs: int, device: torch.device) -> VectorState:
    """A copy of what was given, a `VectorState` or its nested `_asdict()`, in the form of `like`.

    Raises:
        InputError: a field is missing, or has another shape or dtype.
    """
    fields = given._asdict() if isinstance(given, VectorState) else given
    if not isinstance(fields, dict):
        raise InputError(f"a state must be what get_state gives, not {type(given).__name__}.")
    return fit({"clock": 0} | fields, like, num_envs, device)


def fit(given: Any, like: Any, num_envs: int, device: torch.device, name: str = "") -> Any:
    """`given`, field by field in the form of `like`, on this device; `name` is what it is called in a refusal."""
    if hasattr(like, "_fields"):
        fields, before = given._asdict() if hasattr(given, "_asdict") else given, f"{name}." if name else ""
        if missing := [f for f in like._fields if not isinstance(fields, dict) or f not in fields]:
            raise InputError(f"the state lacks {before + missing[0]!r}: it is of another environment or version.")
        return type(like)(*(fit(fields[f], getattr(like, f), num_envs, device, before + f) for f in like._fields))
    if isinstance(like, dict):
        if missing := [key for key in like if not isinstance(given, dict) or key not in given]:
            raise InputError(f"the state lacks '{name}.{missing[0]}': it is of another environment or version.")
        return {key: fit(given[key], value, num_envs, device, f"{name}.{key}") for key, value in like.items()}
    if name.startswith("params."):
        return checks.param(name.removeprefix("params."), given, num_envs, device)
    if isinstance(like, int):
        return _count(name, given)
    try:
        tensor = torch.as_tensor(given, device=device)
    except (TypeError, ValueError, RuntimeError):
        tensor = torch.empty(0)
    if tensor.shape != like.shape or tensor.dtype != like.dtype:
        raise InputError(
            f"{name} of the state must be {like.dtype} of shape {tuple(like.shape)}, "
            f"not {tensor.dtype} of shape {tuple(tensor.shape)}."
        )
    return tensor.clone()


def _count(name: str, given: object) -> int:
    count = checks.whole(f"{name} of the state", given)
    if count not in range(2**62):
        raise InputError(f"{name} of the state must be a whole number from 0 to 2**62, not {checks.told(given)}.")
    return count


def possible(state: VectorState) -> None:
    """Raises InputError where counts of a state are none; looks at values."""
    if (least := int(state.seed.min())) < 0:
        raise InputError(f"seed of the state must be at least 0, not {least}.")
    for name in ("elapsed", "episode"):
        if not bool((getattr(state, name) >= 0).all()):
            raise InputError(f"{name} of the state must be at least 0.")
    for name, value in state.params._asdict().items():
        if bool(torch.as_tensor(value).isnan().any()):
            raise InputError(f"parameter {name!r} of the state is not a number (nan).")
