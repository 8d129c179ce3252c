"""Shaping rewards: a step and a reward function become one step, which runs and is lowered as any other."""

import inspect
import keyword
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim.errors import InputError
from gpusim.kernels.lang import STREAM_INIT, STREAM_STEP, Rng, to_float, zeros_like

ARGUMENTS = ("state", "action", "next_state", "reward", "terminated", "params")


def shaped(step: Callable, reward: Callable) -> Callable:
    """`step` with the reward that `reward` makes of each transition; what it gives becomes a float32 lane."""

    def shaped_step(state, action, rng, params):
        new, given, terminated = step(state, action, rng, params)
        given = to_float(given)
        value = reward(state, action, new, given, terminated, params)
        return new, to_float(zeros_like(given) + value), terminated

    shaped_step.unshaped = getattr(step, "unshaped", step)  # type: ignore[attr-defined]
    return shaped_step


def widened(params: Any, more: Any) -> Any:
    """`params` followed by the numbers of `more`, a dict or `NamedTuple`.

    Raises:
        InputError: a name is taken or none, or a value is no number.
    """
    more = more._asdict() if hasattr(more, "_asdict") else more
    if not isinstance(more, Mapping):
        raise InputError(f"the params of a reward must be a dict of numbers by name, not {type(more).__name__}.")
    for name, value in more.items():
        if name in params._fields:
            raise InputError(f"the environment has a parameter {name!r} already; give the reward's another name.")
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise InputError(f"{name!r} cannot be the name of a parameter.")
        if not isinstance(value, int | float):
            raise InputError(
                f"the reward's parameter {name!r} must be a number, not {value!r}; gpusim.make(..., params=...) takes "
                "ranges and a value for each environment."
            )
    kind = type(params)
    values = (*params, *more.values())
    return namedtuple(kind.__name__, (*kind._fields, *more), defaults=values, module=kind.__module__)()


def check_reward(env: Any, reward: Any, params: Any) -> None:
    """Tries a reward function on one step of five environments.

    Raises:
        InputError: it is no function of six arguments, fails, or gives no lane.
    """
    if not callable(reward):
        raise InputError(f"a reward must be a function of ({', '.join(ARGUMENTS)}), not {reward!r}.")
    name = f"the reward function {_told(reward)}"
    try:
        inspect.signature(reward).bind(*ARGUMENTS)
    except (TypeError, ValueError):  # a builtin has no signature
        raise InputError(f"{name} must take six arguments: ({', '.join(ARGUMENTS)}).") from None
    state, action, (new, given, terminated) = _transition(env, params)
    try:
        value = reward(state, action, new, to_float(given), terminated, params)
    except Exception as error:
        raise InputError(f"{name} fails on a step of {env.id}: {type(error).__name__}: {error}.") from error
    if not isinstance(value, int | float) and not (isinstance(value, Tensor) and value.shape == terminated.shape):
        found = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise InputError(f"{name} must give a lane, one number for each environment, [5] for five, not {found}.")


def _told(reward: Any) -> str:
    code = getattr(reward, "__code__", None)
    return f"`{reward.__qualname__}` ({code.co_filename}:{code.co_firstlineno})" if code else repr(reward)


def _transition(env: Any, params: Any) -> tuple[Any, Any, Any]:
    """State, action and what the step gives, of five environments' first steps."""
    seed, index = torch.zeros((), dtype=torch.int64), torch.arange(5)
    rng = Rng(seed, index, torch.zeros_like(index), 0, STREAM_INIT)
    state, space = env.init(rng, params), env.action_space
    if isinstance(space, Discrete):
        action: Any = torch.zeros_like(index)
    else:
        lanes = tuple(torch.full((5,), float(x)) for x in np.clip(0.0, space.low, space.high))
        action = lanes if len(lanes) > 1 else lanes[0]
    return state, action, env.step(state, action, rng._replace(step=torch.zeros(5), stream=STREAM_STEP), params)
