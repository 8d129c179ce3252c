"""Shaping rewards: a step and a reward function become one step, which runs and is lowered as any other."""

import inspect
import keyword
from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gpusim.errors import InputError, said, told
from gpusim.kernels.lang import to_float, zeros_like
from gpusim.precision import float32
from gpusim.trial import ALL, SOME, Trial, alike, described, is_number, line, not_finite, on
from gpusim.watch import Forbidden, watched

ARGUMENTS = ("state", "action", "next_state", "reward", "terminated", "params")
MADE_OF = "__made_of__"  # the attribute that tells what a class of parameters was joined of


def shaped(step: Callable, reward: Callable) -> Callable:
    """`step` with the reward that `reward` makes of each transition; what it gives becomes a float32 lane."""

    def shaped_step(state, action, rng, params):
        new, given, terminated = step(state, action, rng, params)
        given = to_float(given)
        value = reward(state, action, new, given, terminated, params)
        return new, to_float(zeros_like(given) + value), terminated

    shaped_step.unshaped = getattr(step, "unshaped", step)  # type: ignore[attr-defined]
    shaped_step.recipe = (shaped, (step, reward))  # type: ignore[attr-defined]
    return shaped_step


def widened(params: Any, more: Any, tables: tuple[str, ...] = ()) -> Any:
    """`params` followed by the numbers of `more`, a dict or `NamedTuple`; `tables` are names that are taken too.

    Raises:
        InputError: a name is taken or none, or a value is no number.
    """
    more = more._asdict() if hasattr(more, "_asdict") else more
    if not isinstance(more, Mapping):
        raise InputError(f"the params of a reward must be a dict of numbers by name, not {type(more).__name__}.")
    for name, value in more.items():
        if name in params._fields:
            raise InputError(f"the environment has a parameter {name!r} already; give the reward's another name.")
        if name in tables:
            raise InputError(f"the environment has a table {name!r} already; give the reward's parameter another name.")
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise InputError(f"{told(name)} cannot be the name of a parameter.")
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InputError(
                f"the reward's parameter {name!r} must be a number, not {told(value)}; gpusim.make(..., params=...) takes "
                "ranges and a value for each environment."
            )
        if wrong := not_finite(value):
            raise InputError(f"the reward's parameter {name!r} is {wrong}.")
    return _joined(type(params), tuple(more), (*params, *more.values()))


def _joined(kind: Any, more: tuple[str, ...], values: tuple) -> Any:
    """A tuple of the class `kind` with more fields, which is pickled as what it was made of."""
    first, before = getattr(kind, MADE_OF, (kind, ()))
    names, make = (*kind._fields, *more), namedtuple  # by another name, or mypy asks for literal fields
    wider: Any = make(kind.__name__, names, defaults=values, module=kind.__module__)
    made_of = first, (*before, *more)
    setattr(wider, MADE_OF, made_of)
    wider.__reduce__ = lambda self: (_joined, (*made_of, tuple(self)))
    return wider()


def check_reward(env: Any, reward: Any, params: Any) -> None:
    """Tries a reward function on one step of five environments.

    Raises:
        InputError: it is no function of six arguments, fails, or gives no lane.
    """
    if not callable(reward):
        raise InputError(f"a reward must be a function of ({', '.join(ARGUMENTS)}), not {told(reward)}.")
    name = f"the reward function {_told(reward)}"
    try:
        inspect.signature(reward).bind(*ARGUMENTS)
    except (TypeError, ValueError):  # a builtin has no signature
        raise InputError(f"{name} must take six arguments: ({', '.join(ARGUMENTS)}).") from None
    trial = Trial(replace(env, params=params))
    value = _tried(trial, reward, name, ALL, joins=True)
    if not alike(value, _tried(trial, reward, name, ALL), ALL):
        raise InputError(
            f"{name} gives something else when it is called again: what it knows stands in states and params."
        )
    try:
        alone = _tried(trial, reward, name, SOME)
    except InputError:
        return  # it holds one value for each of so many environments
    if not alike(value, alone, SOME):
        raise InputError(f"{name} makes environments depend on one another.")


@float32
def _tried(trial: Trial, reward: Callable, name: str, rows: slice, joins: bool = False) -> Any:
    state, action, new, given, terminated = trial.transition(rows)
    try:
        with torch.no_grad(), on(trial.device):
            arguments = state, action, new, to_float(given), terminated, trial.params_of(rows)
            value = watched(reward, *arguments, joins=joins)
    except Forbidden as problem:
        raise InputError(f"{name} {problem} ({line(problem)}).") from None
    except (Exception, SystemExit) as error:
        why = said(error)
        raise InputError(
            f"{name} fails on a step of {trial.env.id}: {type(error).__name__}{why and f': {why}'}."
        ) from error
    if not is_number(value) and not _is_lane(value, terminated):
        raise InputError(
            f"{name} must give a lane, one number for each environment, [5] for five, not {described(value)}."
        )
    if wrong := not_finite(value):
        raise InputError(f"{name} gives {wrong} on a step of {trial.env.id}.")
    return value


def _is_lane(value: Any, like: Tensor) -> bool:
    dense = isinstance(value, Tensor) and not value.is_nested and value.layout is torch.strided
    return dense and value.shape == like.shape and value.device == like.device and not value.is_complex()


def _told(reward: Any) -> str:
    code = getattr(reward, "__code__", None)
    return f"`{reward.__qualname__}` ({code.co_filename}:{code.co_firstlineno})" if code else repr(reward)
