"""`found`: the environments of a package, by looking through its files."""

import importlib
import pkgutil

from gpusim.env import Env


def found(package: str) -> tuple[Env, ...]:
    """Every `Env` at the top level of the package's modules, and of the packages in it, each once, by the files' names."""
    envs: dict[int, Env] = {}
    for module in sorted(pkgutil.iter_modules(importlib.import_module(package).__path__), key=lambda m: m.name):
        name = f"{package}.{module.name}"
        here = found(name) if module.ispkg else vars(importlib.import_module(name)).values()
        envs |= {id(env): env for env in here if isinstance(env, Env)}
    return tuple(envs.values())
