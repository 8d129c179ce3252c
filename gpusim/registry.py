"""The environments by id, here and in Gymnasium's own registry."""

import difflib
import os
import re
import warnings
from collections.abc import Iterable
from typing import Any, TypeVar

import gymnasium

from gpusim import checks, source
from gpusim.env import Env
from gpusim.errors import InputError
from gpusim.physics import PhysicsEnv
from gpusim.physics_trial import tried
from gpusim.trial import ready

Spec = Env | PhysicsEnv
"""What an environment is, by whatever it is stepped."""
S = TypeVar("S", bound=Spec)
_ENVS: dict[str, Spec] = {}
_OWN: dict[str, Spec] = {}  # gpusim's, which the tests have tried


def register(env: S) -> S:
    """Makes `env` known to `gpusim.make(env.id, ...)` and `gymnasium.make_vec("gpusim/" + env.id, ...)`.

    It is tried first, on one step of a few environments, of a `gpusim.PhysicsEnv` by MuJoCo itself. Another of that id, as a
    notebook's cell that is run again makes it, takes the place of the one before, with a warning. Gymnasium has no room
    for a second "/": there, "MinAtar/Breakout-v1" is "gpusim/MinAtar-Breakout-v1".

    Raises:
        InputError: the id is one of gpusim's own or none at all, or the environment does not keep to what `Env` asks; the
            sentence says which function it is, where it stands, and what to write.
    """
    if not isinstance(env, Spec):
        raise InputError(f"register takes a gpusim.Env or a gpusim.PhysicsEnv, not {checks.told(env)}.")
    if not isinstance(env.id, str) or not re.fullmatch(r"(?!gpusim/)([\w.-]+/)?[\w.-]+", env.id):
        raise InputError(
            f'{checks.told(env.id)} is no id: use letters, digits, "_", "." and "-", as in "Name-v0", or two such names '
            'with "/" between them.'
        )
    before = _ENVS.get(env.id)
    if before is env:
        return env
    if env.id in _OWN:
        raise InputError(
            f"an environment of gpusim's own with the id {env.id!r} is registered already; choose another id."
        )
    if twin := next((id for id in _ENVS if id != env.id and _at_gymnasium(id) == _at_gymnasium(env.id)), None):
        raise InputError(
            f"{env.id!r} and {twin!r} would be one in Gymnasium, {_at_gymnasium(twin)!r}; choose another id."
        )
    if isinstance(env, PhysicsEnv):
        tried(env)
    else:
        ready(checks.environment(env), ())
    if before:
        sentence = f"{env.id!r} is registered again: what is made of that id from now on is the new environment."
        warnings.warn(sentence, UserWarning, stacklevel=2)
    return _add(env)


def register_own(env: Spec) -> None:
    """Makes one of gpusim's environments known."""
    _OWN[env.id] = _add(env)


def _add(env: S) -> S:
    _ENVS[env.id] = env
    name = _at_gymnasium(env.id)
    gymnasium.registry.pop(name, None)
    gymnasium.register(
        name,
        vector_entry_point="gpusim.maker:make",
        reward_threshold=env.reward_threshold,
        max_episode_steps=env.max_episode_steps,
        kwargs={"env": env.id},
    )
    return env


def _at_gymnasium(id: str) -> str:
    return f"gpusim/{id.replace('/', '-')}"


def runnable(env: str | Env, lanes: Iterable[str] = ()) -> Env:
    """As `spec`, tried and ready to be stepped; `lanes` are the parameters that are to be lanes.

    Raises:
        InputError: there is none, or it breaks a promise, see `register`.
    """
    found: Spec = spec(env)
    if isinstance(found, PhysicsEnv):
        raise InputError(f"{found.id} is stepped by MuJoCo, not by a VectorEnv: make it by gpusim.make.")
    own: Env = found if _OWN.get(found.id) is found else ready(found, tuple(lanes))
    return own


def spec(env: str | Spec) -> Any:
    """The environment of that id, with or without `gpusim/` before it, a `gpusim.Env` or a `gpusim.PhysicsEnv`; one that is
    given is returned.

    One's own is named with the module or the file that registers it, which is imported: `mine:Mine-v0`,
    `path/to/mine.py:Mine-v0`.

    Raises:
        InputError: no environment has that id (the message names the nearest), or it is none that can be run; what was to be
            imported cannot be.
    """
    if isinstance(env, Env):
        return checks.environment(env)
    if isinstance(env, PhysicsEnv):
        return env
    if not isinstance(env, str | os.PathLike):
        raise InputError(f"an environment is given by its id, a text, or is a gpusim.Env, not {checks.told(env)}.")
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


def env_ids(kind: type = object) -> list[str]:
    """The ids of all registered environments, in the order of their registration; or of those that are `gpusim.Env`, or
    `gpusim.PhysicsEnv`, if `kind` is that."""
    return [id for id, env in _ENVS.items() if isinstance(env, kind)]
