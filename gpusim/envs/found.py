"""`found`: the environments of a package, by looking through its files."""

import importlib
import pkgutil
from typing import Any

from gpusim.env import Env


def found(package: str, kind: type = Env) -> tuple[Any, ...]:
    """Every `Env`, or whatever else is of that kind, at the top level of the package's modules, and of the packages in it,
    each once, by the files' names."""
    envs: dict[int, Any] = {}
    for module in sorted(pkgutil.iter_modules(importlib.import_module(package).__path__), key=lambda m: m.name):
        name = f"{package}.{module.name}"
        here = found(name, kind) if module.ispkg else vars(importlib.import_module(name)).values()
        envs |= {id(env): env for env in here if isinstance(env, kind)}
    return tuple(envs.values())
