"""The environments that ours are compared with, for playing in: Gymnasium's, and those of packages that register with it."""

import importlib
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from gpusim.errors import InputError

PACKAGES = {"Highway": "highway_env"}
"""By family, what has to be imported before Gymnasium knows its environments."""


def original(env_id: str, num_envs: int) -> gymnasium.vector.VectorEnv:
    """Gymnasium's own environments of that id, with its namespace or without, on the CPU; they observe what ours do.

    Raises:
        InputError: there are none, or their package is not installed.
    """
    name = env_id.removeprefix("gpusim/")
    family, _, bare = name.rpartition("/")
    if family in PACKAGES:
        _imported(PACKAGES[family], name)
    name = bare if name not in gymnasium.registry and bare in gymnasium.registry else name
    try:
        wrappers: Any = [_flat] if family in PACKAGES else None
        return gymnasium.make_vec(name, num_envs=num_envs, vectorization_mode="sync", wrappers=wrappers)
    except gymnasium.error.Error as error:
        raise InputError(f"Gymnasium has no environment of its own called {env_id}: {error}") from None


def _imported(package: str, name: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError:
        wanted = package.replace("_", "-")
        raise InputError(f"{name} is {wanted}'s, which is not installed: pip install {wanted}") from None


def _flat(env: Any) -> gymnasium.Env:
    """Observations in a row; of a goal's what is observed and what is desired, as what is achieved is observed."""
    given = env.observation_space
    parts: Callable[[Any], tuple] = lambda obs: (obs,)  # noqa: E731
    if isinstance(given, gymnasium.spaces.Dict):
        parts = lambda obs: (obs["observation"], obs["desired_goal"])  # noqa: E731
    size = sum(int(np.prod(space.shape)) for space in parts(given))
    space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
    return gymnasium.wrappers.TransformObservation(
        env, lambda obs: np.concatenate([np.ravel(part) for part in parts(obs)]).astype(np.float32), space
    )
