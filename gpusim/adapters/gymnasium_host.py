"""Gymnasium's environments, and EnvPool's, as engines of `gpusim.host.HostVectorEnv`."""

import difflib
import functools
import math
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FlattenObservation

from gpusim.errors import InputError
from gpusim.host import HostEnv, HostStep, HostVectorEnv

COSTLY = 5e-4  # seconds of a step from which on it pays to step in processes, whose pipes cost a tenth of that

# What an environment's entry point begins with: what it needs, and how that is installed.
NEEDS = {
    "ale_py": ("ale-py and opencv-python-headless", 'pip install "gpusim[atari]"'),
    "gymnasium.envs.box2d": ("box2d", 'pip install "gpusim[box2d]"'),
    "gymnasium.envs.mujoco": ("mujoco", 'pip install "gymnasium[mujoco]"'),
    "gymnasium.envs.toy_text": ("pygame", 'pip install "gymnasium[toy-text]"'),
}


def make(id: str, num_envs: int, device: Any, engine: str, validate: bool | None, **kwargs: Any) -> HostVectorEnv:
    if "autoreset_mode" in kwargs:
        raise InputError("environments of the host reset within the step: autoreset_mode cannot be chosen.")
    if id.startswith("gpusim/"):
        raise InputError(f"{id} is gpusim's own: gpusim.make({id.removeprefix('gpusim/')!r}, {num_envs}).")
    return HostVectorEnv(host_env(id, **kwargs), num_envs, device=device, engine=engine, validate=validate)


# ------------------------------------------------------------------------------------------------------ description


def known(id: str) -> bool:
    """Whether Gymnasium has an environment of that id, or would have it, were its library installed."""
    return not id.startswith("gpusim/") and (id in gymnasium.registry or id.startswith("ALE/") or ":" in id)


def nearest(id: str) -> str | None:
    """The id in Gymnasium's registry that was perhaps meant."""
    ids = {name.lower(): name for name in gymnasium.registry if not name.startswith("gpusim/")}
    return next((ids[m] for m in difflib.get_close_matches(id.lower(), ids, n=1, cutoff=0.8)), None)


def host_env(id: str, **kwargs: Any) -> HostEnv:
    """The environment of that id; one is made, and looked at.

    Args:
        id: of Gymnasium, as `LunarLander-v3`, `ALE/Pong-v5` or `module:Name-v0`.
        kwargs: of `gymnasium.make`.

    Raises:
        InputError: there is none, a library is missing, or learners cannot use its spaces.
    """
    found = _spec(id)
    build = functools.partial(_build, id, _is_atari(found), kwargs)
    with _needs(id, found):
        env = build()
        cheap = not id.startswith("ALE/") and _cost(env) < COSTLY
    space, action_space = env.observation_space, env.action_space
    steps = env.spec.max_episode_steps if env.spec else found.max_episode_steps
    env.close()
    engines: dict[str, Any] = {
        "ale": functools.partial(Ale.start, found.kwargs | kwargs),
        "async": functools.partial(_processes, build),
        "sync": functools.partial(_in_turn, build),
        "envpool": functools.partial(EnvPool.start, id.split("/")[-1], _of_the_spec(found) | kwargs),
    }
    if not id.startswith("ALE/"):
        del engines["ale"]
    if cheap:
        engines = {"sync": engines["sync"]} | engines
    return HostEnv(found.id, space, action_space, steps, found.reward_threshold, engines)  # type: ignore[arg-type]


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
    if id.startswith("ALE/"):
        ale = _import("ale_py", id)
        ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # its banner is no news
    try:
        return gymnasium.spec(id)
    except (gymnasium.error.Error, ImportError) as error:
        raise InputError(f"Gymnasium has no environment {id!r}: {_sentence(error)}.") from None


def _of_the_spec(found: Any) -> dict[str, Any]:
    """What makes an id of Atari's the game that it is, by names that EnvPool shares."""
    names = ("repeat_action_probability", "full_action_space") if _is_atari(found) else ()
    return {name: found.kwargs[name] for name in names if name in found.kwargs}


def _is_atari(found: Any) -> bool:
    """Whether it shows a screen of the Arcade Learning Environment."""
    return str(found.entry_point).startswith("ale_py") and found.kwargs.get("obs_type", "rgb") == "rgb"


def _import(name: str, id: str) -> Any:
    needs, remedy = NEEDS[name]
    try:
        return import_module(name)
    except ImportError:
        raise InputError(f"{id} needs {needs}, which are not installed: {remedy}.") from None


@contextmanager
def _needs(id: str, found: Any) -> Iterator[None]:
    """A missing library becomes a sentence, and so does whatever else keeps an environment from being made."""
    try:
        yield
    except InputError:
        raise
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        library = next((v for k, v in NEEDS.items() if str(found.entry_point).startswith(k)), None)
        if library:
            raise InputError(f"{id} needs {library[0]}, which is not installed: {library[1]}.") from None
        raise InputError(f"{id} cannot be made: {_sentence(error)}.") from None
    except Exception as error:
        raise InputError(f"{id} cannot be made: {_sentence(error)}.") from error


def _sentence(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".?")


def _build(id: str, atari: bool, kwargs: dict[str, Any]) -> gymnasium.Env:
    """One environment, in the form that learners use."""
    if atari:
        from gpusim.adapters.atari import make

        return Worker(make(id, **kwargs))
    env = gymnasium.make(id, disable_env_checker=True, **kwargs)
    space: Any = env.observation_space
    if not isinstance(space, Box) or len(space.shape) not in (1, 2, 3):
        env = FlattenObservation(env)
    return Worker(env)


class Worker(gymnasium.Wrapper):
    """The outermost wrapper of every environment: spaces as learners use them, and of infos nothing but lives.

    In a process of its own it leaves Ctrl-C to the process that started it, and tells where an error came from.
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        if multiprocessing.parent_process() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked process has its parent's handlers
        space: Any = env.observation_space
        image = isinstance(space, Box) and len(space.shape) > 1 and space.dtype in (np.uint8, np.bool_)
        if isinstance(space, Box) and not image and space.dtype != np.float32:
            self.observation_space = Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
        action: Any = env.action_space
        self.start = int(action.start) if isinstance(action, Discrete) else 0
        if self.start:
            self.action_space = Discrete(action.n)
        elif isinstance(action, Box) and action.dtype != np.float32:
            self.action_space = Box(action.low.astype(np.float32), action.high.astype(np.float32), dtype=np.float32)

    def reset(self, **kwargs: Any) -> tuple[Any, dict]:
        with _traced():
            obs, info = self.env.reset(**kwargs)
        return obs, _lives(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        with _traced():
            obs, reward, terminated, truncated, info = self.env.step(action + self.start if self.start else action)
        return obs, reward, terminated, truncated, _lives(info)


def _lives(info: dict) -> dict:
    return {"lives": info["lives"]} if "lives" in info else {}


@contextmanager
def _traced() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}, line {last.lineno}"
        raise RuntimeError(f"{type(error).__name__} in {where}: {_sentence(error)}") from error


# ------------------------------------------------------------------------------------------------------- Gymnasium


# Whatever a library has made of the default: a forked process knows the ids that were registered.
START = "fork" if sys.platform == "linux" else None


def _processes(build: Callable[[], gymnasium.Env], num_envs: int) -> "Vector":
    s = "es" if num_envs > 1 else ""
    with _quiet():
        vector: Any = AsyncVectorEnv(
            [build] * num_envs, copy=False, autoreset_mode=AutoresetMode.SAME_STEP, context=START
        )
    return Vector(vector, f"by {num_envs} process{s}")


def _in_turn(build: Callable[[], gymnasium.Env], num_envs: int) -> "Vector":
    vector: Any = SyncVectorEnv([build] * num_envs, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
    return Vector(vector, "by this process, one after the other")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Gymnasium's lines about what is going to be raised anyway."""
    level = gymnasium.logger.min_level
    gymnasium.logger.min_level = gymnasium.logger.ERROR + 1
    try:
        yield
    finally:
        gymnasium.logger.min_level = level


class Vector:
    """A vector environment of Gymnasium's in SAME_STEP."""

    def __init__(self, vector: Any, where: str):
        self.vector, self.where = vector, where
        self.actions = np.empty(0)
        self.lives: np.ndarray | None = None

    def reset(self, seed: int | None, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        with _quiet():
            obs, infos = self.vector.reset(seed=seed, options=None if mask is None else {"reset_mask": mask})
        if mask is None:
            self.lives = infos.get("lives")
        elif self.lives is not None:
            self.lives = np.where(mask, infos["lives"], self.lives)
        return obs, self.lives

    def send(self, actions: np.ndarray) -> None:
        self.actions = actions
        if isinstance(self.vector, AsyncVectorEnv):
            self.vector.step_async(actions)

    def receive(self) -> HostStep:
        with _quiet():
            if isinstance(self.vector, AsyncVectorEnv):
                obs, reward, terminated, truncated, infos = self.vector.step_wait()
            else:
                obs, reward, terminated, truncated, infos = self.vector.step(self.actions)
        ended = (terminated | truncated).nonzero()[0]
        final = np.stack([infos["final_obs"][i] for i in ended]) if len(ended) else None
        self.lives = infos.get("lives")
        return HostStep(obs, reward, terminated, truncated, final, self.lives)

    def close(self) -> None:
        with _quiet():
            self.vector.close()

    def kill(self) -> None:
        processes = getattr(self.vector, "processes", ())
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        self.vector.closed = True  # there is nobody left to be told


# ------------------------------------------------------------------------------------------------------------- ALE


class Ale:
    """Atari's games on the threads of the Arcade Learning Environment itself, which preprocesses as `atari.make` does."""

    where = "by the threads of the Arcade Learning Environment"

    def __init__(self, vector: Any):
        self.vector = vector
        self.obs, self.lives = np.empty(0), np.empty(0)

    @classmethod
    def start(cls, kwargs: dict[str, Any], num_envs: int) -> "Ale":
        make = import_module("ale_py.vector_env").AtariVectorEnv
        known = {k: v for k, v in kwargs.items() if k not in ("frameskip", "obs_type")}
        return cls(make(num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP, reward_clipping=False, **known))

    def reset(self, seed: int | None, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        seed = None if seed is None else seed % 2**31
        obs, infos = self.vector.reset(seed=seed, options=None if mask is None else {"reset_mask": mask})
        if mask is None:
            self.obs, self.lives = _channels_last(obs).copy(), infos["lives"].copy()
        else:
            self.obs[mask], self.lives[mask] = (x[_rows(x, mask)] for x in (_channels_last(obs), infos["lives"]))
        return self.obs, self.lives

    def send(self, actions: np.ndarray) -> None:
        self.vector.send(actions)

    def receive(self) -> HostStep:
        obs, reward, terminated, truncated, infos = self.vector.recv()
        self.obs, self.lives = _channels_last(obs), infos["lives"]
        over = terminated | truncated
        final = _channels_last(infos["final_obs"])[over] if over.any() else None
        return HostStep(self.obs, reward, terminated, truncated, final, self.lives)

    def close(self) -> None:
        self.vector.close()

    def kill(self) -> None:
        self.close()


def _rows(array: np.ndarray, mask: np.ndarray) -> Any:
    """Where the masked rows are in an answer about all environments, or about those alone."""
    return mask if len(array) == len(mask) else slice(None)


# --------------------------------------------------------------------------------------------------------- EnvPool


class EnvPool:
    """A pool of EnvPool's, whose threads step in C++.

    EnvPool is NEXT_STEP: the step after an episode's last one ignores its action and only resets. Here that row is no
    transition, so the environments that ended are reset by themselves, at once: the step is one in SAME_STEP.

    Args:
        make: from a seed to a pool, whose `step(actions)` and `reset(env_ids)` give what Gymnasium's do.
    """

    def __init__(self, make: Callable[[int], Any], num_envs: int, where: str):
        self.make, self.num_envs, self.where = make, num_envs, where
        self.pool: Any = None
        self.obs, self.actions = np.empty(0), np.empty(0)
        self.lives: np.ndarray | None = None

    @classmethod
    def start(cls, id: str, kwargs: dict[str, Any], num_envs: int) -> "EnvPool":
        try:
            envpool = import_module("envpool")
        except ImportError:
            raise InputError('backend "envpool" needs EnvPool, which is not installed: pip install envpool.') from None

        def make(seed: int) -> Any:
            try:
                return envpool.make(id, env_type="gymnasium", num_envs=num_envs, seed=seed % 2**31, **kwargs)
            except Exception as error:
                raise InputError(f"EnvPool cannot make {id}: {_sentence(error)}.") from None

        return cls(make, num_envs, "by EnvPool's threads")

    def reset(self, seed: int | None, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        if mask is not None:
            rows = mask.nonzero()[0].astype(np.int32)
            first, infos = self.pool.reset(rows)
            self.obs[mask] = _channels_last(first)
            if self.lives is not None:
                self.lives[mask] = infos["lives"]
            return self.obs, self.lives
        if seed is not None or self.pool is None:
            self.close()
            self.pool = self.make(int(np.random.SeedSequence().entropy % 2**31) if seed is None else seed)  # type: ignore[operator]
        obs, infos = self.pool.reset()
        self.obs, self.lives = _channels_last(obs).copy(), _copied(infos.get("lives"))
        return self.obs, self.lives

    def send(self, actions: np.ndarray) -> None:
        self.actions = actions

    def receive(self) -> HostStep:
        obs, reward, terminated, truncated, infos = self.pool.step(self.actions)
        terminated, truncated = np.asarray(terminated, bool), np.asarray(truncated, bool)
        self.obs, self.lives = _channels_last(obs).copy(), _copied(infos.get("lives"))
        over = terminated | truncated
        final = self.obs[over] if over.any() else None
        if final is not None:
            self.reset(None, over)
        return HostStep(self.obs, reward, terminated, truncated, final, self.lives)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()
            self.pool = None

    def kill(self) -> None:
        self.close()


def _channels_last(obs: np.ndarray) -> np.ndarray:
    """Of bytes `[N, C, H, W]`, as EnvPool shows frames, `[N, H, W, C]`."""
    return np.moveaxis(obs, 1, -1) if obs.ndim == 4 and obs.dtype == np.uint8 else obs


def _copied(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array.copy()


__all__ = ["Ale", "EnvPool", "Vector", "Worker", "host_env", "known", "make", "nearest"]
