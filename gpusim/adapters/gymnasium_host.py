"""Gymnasium's environments, and EnvPool's, as `gpusim.host.HostVectorEnv` steps them; the engines lie in `engines`."""

import math
import re
import time
from contextlib import suppress
from functools import partial
from typing import Any

import gymnasium

from gpusim import source
from gpusim.adapters.atari import FRAMES
from gpusim.adapters.engines.ale import Ale
from gpusim.adapters.engines.envpool import EnvPool
from gpusim.adapters.engines.vector import in_turn, processes, quiet
from gpusim.adapters.engines.worker import build
from gpusim.adapters.libraries import explained, require_ale, sentence
from gpusim.errors import InputError
from gpusim.host import HostEnv, HostVectorEnv
from gpusim.registry import bare, either, nearest

COSTLY = 5e-4  # seconds of a step from which on it pays to step in processes, whose pipes cost a tenth of that

# Atari's ids for the preprocessing that is usual, where an action lasts four frames. The last one sticks with a chance of
# 0.25 in -v5 and NoFrameskip-v0, never in NoFrameskip-v4.
ATARI = re.compile(r"ALE/.*|\w+NoFrameskip-v[04]")


def make(id: str, num_envs: int, device: Any, engine: str, validate: bool | None, **kwargs: Any) -> HostVectorEnv:
    id = source.loaded(id)
    if "autoreset_mode" in kwargs:
        raise InputError("environments of the host reset within the step: autoreset_mode cannot be chosen.")
    if id.startswith("gpusim/"):
        raise InputError(f"{id} is gpusim's own: gpusim.make({id.removeprefix('gpusim/')!r}, {num_envs}).")
    return HostVectorEnv(host_env(id, **kwargs), num_envs, device=device, engine=engine, validate=validate)


def is_atari(id: str) -> bool:
    """Whether an id is one of Atari's, whose games come with the usual preprocessing."""
    return bool(ATARI.fullmatch(id))


def known(id: str) -> bool:
    """Whether Gymnasium has an environment of that id, or would have it, were its library installed."""
    return not id.startswith("gpusim/") and (id in gymnasium.registry or is_atari(id))


def ids() -> list[str]:
    """The ids that Gymnasium has, Atari's too where ale-py is installed: of each name the newest."""
    with suppress(InputError):
        require_ale("Atari")
    newest: dict[str, str] = {}
    for id in sorted(gymnasium.registry, key=_version, reverse=True):
        if not id.startswith("gpusim/"):
            newest.setdefault(bare(id), id)
    return list(newest.values())


def _version(id: str) -> int:
    found = re.search(r"-v(\d+)$", id)
    return int(found[1]) if found else 0


def host_env(id: str, **kwargs: Any) -> HostEnv:
    """The environment of that id; one is made, and looked at.

    Args:
        id: of Gymnasium, as `LunarLander-v3` or `ALE/Pong-v5`.
        kwargs: of `gymnasium.make`.

    Raises:
        InputError: there is none, a library is missing, or learners cannot use its spaces.
    """
    found = _spec(id)
    atari = _is_screen(found)
    one = partial(build, id, atari, kwargs)
    with explained(id, found.entry_point):
        env = one()
        cheap = not atari and _cost(env) < COSTLY
    space, action_space = env.observation_space, env.action_space
    steps = env.spec.max_episode_steps if env.spec else found.max_episode_steps
    env.close()
    if not math.prod(getattr(space, "shape", None) or (1,)):
        raise InputError(f"{id} shows observations of shape {space.shape}: there is nothing to learn from.")
    engines: dict[str, Any] = {"async": partial(processes, one), "sync": partial(in_turn, one)}
    if cheap:
        engines = dict(reversed(engines.items()))
    engines |= {"envpool": partial(EnvPool.start, *_in_envpool(found, atari, kwargs))}
    if atari:
        engines = {"ale": partial(Ale.start, found.kwargs | kwargs)} | engines
    return HostEnv(found.id, space, action_space, steps, found.reward_threshold, engines)  # type: ignore[arg-type]


def pictured(id: str, num_envs: int) -> tuple[list[Any], float]:
    """Environments one by one that draw themselves, `[H, W, 3]` uint8, in the form that learners use; steps in a second.

    Raises:
        InputError: they cannot be made, or do not draw.
    """
    found = _spec(id)
    atari = _is_screen(found)
    envs: list[Any] = []
    try:
        for _ in range(num_envs):
            with explained(id, found.entry_point), quiet():
                envs.append(build(id, atari, {"render_mode": "rgb_array"}))
        if envs[0].render_mode != "rgb_array":
            raise InputError(f"{id} does not draw itself (it has no render mode rgb_array).")
        with explained(id, None, "drawn"):  # some import only now what they draw with
            envs[0].reset()
            envs[0].render()
    except BaseException:
        for env in envs:
            env.close()
        raise
    return envs, 60 / FRAMES if atari else envs[0].metadata.get("render_fps", 30)  # a console made 60 frames a second


def _cost(env: gymnasium.Env) -> float:
    """The least of the seconds that some steps take."""
    env.action_space.seed(0)
    env.reset(seed=0)
    least = math.inf
    for _ in range(20):
        start = time.perf_counter()
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        least = min(least, time.perf_counter() - start)
        if terminated or truncated:
            env.reset()
    return least


def _spec(id: str) -> Any:
    if is_atari(id):
        require_ale(id)
    try:
        found = gymnasium.spec(id)
    except (gymnasium.error.Error, ImportError) as error:
        near = nearest(id, ids())
        hint = f"; did you mean {either(near)}?" if near else f": {sentence(error)}."
        raise InputError(f"Gymnasium has no environment {id!r}{hint}") from None
    if _is_screen(found) and not isinstance(found.kwargs.get("frameskip", 4), int):
        game = id.rpartition("-")[0]
        raise InputError(
            f"an action of {id} lasts a random number of frames, of the usual preprocessing four: "
            f"use {game}NoFrameskip-v4 or ALE/{game}-v5."
        )
    return found


def _is_screen(found: Any) -> bool:
    """Whether it shows a screen of the Arcade Learning Environment."""
    return str(found.entry_point).startswith("ale_py") and found.kwargs.get("obs_type", "rgb") == "rgb"


def _in_envpool(found: Any, atari: bool, kwargs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """EnvPool's id and arguments: its games of Atari are all -v5, and what makes an id the game that it is are arguments."""
    if not atari:
        return found.id, kwargs
    names = ("repeat_action_probability", "full_action_space")
    game = bare(found.id).removesuffix("NoFrameskip").removesuffix("Deterministic")
    return f"{game}-v5", {name: found.kwargs[name] for name in names if name in found.kwargs} | kwargs
