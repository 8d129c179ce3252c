"""The algorithms there are: the files of this folder that say which class of theirs learns, as `LEARNER = PPO`.

Their text is looked at; only the one that is asked for is imported.
"""

import functools
import importlib
import pkgutil
import re
from types import ModuleType
from typing import TYPE_CHECKING, Any

import gpusim.agents
from gpusim.errors import InputError

if TYPE_CHECKING:
    from gpusim.agents.train.learner import Learner

SAYS = re.compile(r"^LEARNER\b", re.MULTILINE)


def algorithms() -> tuple[str, ...]:
    """Their names, in the order of the alphabet."""
    return _found(tuple(gpusim.agents.__path__))


@functools.cache
def _found(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(each.name for each in pkgutil.iter_modules(path) if SAYS.search(_source(each))))


def _source(each: pkgutil.ModuleInfo) -> str:
    finder: Any = each.module_finder
    return finder.find_spec(each.name).loader.get_source(each.name) or ""


def module(algorithm: str) -> ModuleType:
    """The learner's file, which has a `Config`, a `LEARNER` and `train`.

    Raises:
        InputError: there is none of that name.
    """
    if algorithm not in algorithms():
        raise InputError(f"no algorithm is called {algorithm!r}; there are {', '.join(algorithms())}.")
    return importlib.import_module(f"gpusim.agents.{algorithm}")


def learner_class(algorithm: str) -> "type[Learner]":
    """What learns."""
    return module(algorithm).LEARNER
