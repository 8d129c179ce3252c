"""One of Gymnasium's environments in the form that learners use."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.wrappers import FlattenObservation

from gpusim.adapters import atari
from gpusim.adapters.libraries import sentence


def build(id: str, is_atari: bool, kwargs: dict[str, Any]) -> gymnasium.Env:
    if is_atari:
        return Worker(atari.make(id, **kwargs))
    env = gymnasium.make(id, disable_env_checker=True, **kwargs)
    space: Any = env.observation_space
    if not isinstance(space, Box) or len(space.shape) not in (1, 2, 3):
        env = FlattenObservation(env)
    return Worker(env)


class Worker(gymnasium.Wrapper):
    """The outermost wrapper: spaces as learners use them, of infos nothing but lives, errors that tell their place."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        space: Any = env.observation_space
        image = isinstance(space, Box) and len(space.shape) > 1 and space.dtype in (np.uint8, np.bool_)
        if isinstance(space, Box) and not image:
            self.observation_space = _float32(space)
        action: Any = env.action_space
        self.start = int(action.start) if isinstance(action, Discrete) else 0
        if self.start:
            self.action_space = Discrete(action.n)
        elif isinstance(action, Box):
            self.action_space = _float32(action)

    def reset(self, **kwargs: Any) -> tuple[Any, dict]:
        with _placed():
            obs, info = self.env.reset(**kwargs)
        return obs, _lives(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        with _placed():
            obs, reward, terminated, truncated, info = self.env.step(action + self.start if self.start else action)
        return obs, reward, terminated, truncated, _lives(info)


def _float32(space: Box) -> Box:
    if space.dtype == np.float32:
        return space
    return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)


def _lives(info: dict) -> dict:
    return {"lives": info["lives"]} if "lives" in info else {}


@contextmanager
def _placed() -> Iterator[None]:
    """Errors say where they come from, for their traceback does not pass between processes."""
    try:
        yield
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}, line {last.lineno}"
        raise RuntimeError(f"{type(error).__name__} in {where}: {sentence(error)}") from error
