"""What was made for an environment and is kept as long as the environment itself, no longer."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable)


class Remembers:
    """The base of what `by_env` keeps results with. They are no part of it: not compared, copied or pickled."""

    __slots__ = ("memory",)
    memory: dict


def by_env(function: F) -> F:
    """As `functools.cache`, of a function whose first argument is a `gpusim.Env`; the results go when that goes."""

    @functools.wraps(function)
    def remembered(env: Remembers, *rest: Any) -> Any:
        try:
            return env.memory[function, rest]
        except AttributeError:
            object.__setattr__(env, "memory", {})  # an `Env` is frozen
        except KeyError:
            pass
        made = env.memory[function, rest] = function(env, *rest)
        return made

    return remembered  # type: ignore[return-value]
