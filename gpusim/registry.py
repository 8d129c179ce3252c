"""The environments by id, here and in Gymnasium's own registry."""

import difflib
import re
from collections.abc import Iterable

import gymnasium

from gpusim import checks, source
from gpusim.env import Env
from gpusim.errors import InputError

_ENVS: dict[str, Env] = {}


def register(env: Env) -> Env:
    """Makes `env` known to `gpusim.make(env.id, ...)` and `gymnasium.make_vec("gpusim/" + env.id, ...)`.

    Gymnasium has no room for a second "/": there, "MinAtar/Breakout-v1" is "gpusim/MinAtar-Breakout-v1".

    Raises:
        InputError: another environment has that id, or the environment is none that `VectorEnv` can run.
    """
    if not isinstance(env.id, str) or not re.fullmatch(r"(?!gpusim/)([\w.-]+/)?[\w.-]+", env.id):
        raise InputError(
            f'{env.id!r} is no id: use letters, digits, "_", "." and "-", as in "Name-v0", or two such names with "/" '
            "between them."
        )
    if _ENVS.setdefault(env.id, checks.environment(env)) is not env:
        raise InputError(f"an environment with the id {env.id!r} is registered already; choose another id or version.")
    name = f"gpusim/{env.id.replace('/', '-')}"
    if name not in gymnasium.registry:
        gymnasium.register(
            name,
            vector_entry_point="gpusim.vector:VectorEnv",
            reward_threshold=env.reward_threshold,
            max_episode_steps=env.max_episode_steps,
            kwargs={"env": env.id},
        )
    return env


def spec(env: str | Env) -> Env:
    """The environment of that id, with or without `gpusim/` before it; an `Env` is returned as it is.

    One's own is named with the module or the file that registers it, which is imported: `mine:Mine-v0`,
    `path/to/mine.py:Mine-v0`.

    Raises:
        InputError: no environment has that id (the message names the nearest), or it is none that can be run; what was to be
            imported cannot be.
    """
    if isinstance(env, Env):
        return checks.environment(env)
    name = source.loaded(str(env)).removeprefix("gpusim/")
    if name in _ENVS:
        return _ENVS[name]
    if name in gymnasium.registry:
        raise InputError(
            f"{name} is Gymnasium's, stepped on the host: gpusim.adapters.from_gymnasium({str(env)!r}, num_envs) makes it."
        )
    raise InputError(unknown(str(env), nearest(name, _ENVS)))


def unknown(text: str, near: list[str]) -> str:
    """The sentence that no environment has that id, and which were perhaps meant."""
    where, name = source.reference(text)
    hint = f"did you mean {either(near)}?" if near else "gpusim envs, or gpusim.env_ids(), lists those there are."
    return (
        f"{where} registers no environment {name!r}; {hint}" if where else f"no environment has the id {name!r}; {hint}"
    )


def nearest(id: str, ids: Iterable[str]) -> list[str]:
    """Those of `ids` that were perhaps meant: of the same name, else of up to two that are spelled much like it."""
    named: dict[str, list[str]] = {}
    for known in ids:
        named.setdefault(bare(known).lower(), []).append(known)
    name = bare(id).lower()
    names = [name] if name in named else difflib.get_close_matches(name, named, n=2, cutoff=0.75)
    return [known for name in names for known in named[name]]


def bare(id: str) -> str:
    """An id's name, without namespace and version: "Breakout" of "ALE/Breakout-v5"."""
    return re.sub(r"-v\d+$", "", id.rpartition("/")[2])


def either(names: list[str]) -> str:
    """One, two or more of them, as in "a, b or c"."""
    return joined(names, "or")


def joined(names: list[str], word: str) -> str:
    """One, two or more of them, `word` before the last."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def env_ids() -> list[str]:
    """The ids of all registered environments, in the order of their registration."""
    return list(_ENVS)
