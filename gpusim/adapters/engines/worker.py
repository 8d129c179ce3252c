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
from gpusim.adapters.images import arranged
from gpusim.adapters.libraries import sentence
from gpusim.errors import told


def build(id: str, is_atari: bool, kwargs: dict[str, Any]) -> gymnasium.Env:
    if is_atari:
        return ForLearners(atari.make(id, **kwargs))
    env = gymnasium.make(id, disable_env_checker=True, **kwargs)
    space: Any = env.observation_space
    if not isinstance(space, Box) or len(space.shape) not in (1, 2, 3, 4):
        env = FlattenObservation(env)
    return ForLearners(env)


class ForLearners(gymnasium.Wrapper):
    """The outermost wrapper, in the process that steps: it gives the spaces that learners use, of the infos nothing but
    lives, and errors that say in which line they arose."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        space: Any = env.observation_space
        if isinstance(space, Box):
            self.observation_space = _shown(space)
        action: Any = env.action_space
        self.inner_action_space = action
        if isinstance(action, Discrete):
            self.action_space = Discrete(action.n)
        elif isinstance(action, Box):
            self.action_space = _float32(action)

    def reset(self, **kwargs: Any) -> tuple[Any, dict]:
        with _placed():
            obs, info = self.env.reset(**kwargs)
        return self._seen(obs), _lives(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        with _placed():
            obs, reward, terminated, truncated, info = self.env.step(self._meant(action))
            reward = _one("reward", reward, "a number", int | float | np.number | np.bool_)
            terminated = _one("terminated", terminated, "a bool", int | np.bool_ | np.integer)
            truncated = _one("truncated", truncated, "a bool", int | np.bool_ | np.integer)
        return self._seen(obs), reward, terminated, truncated, _lives(info)

    def _seen(self, obs: Any) -> Any:
        return arranged(obs) if isinstance(obs, np.ndarray) else obs

    def _meant(self, action: Any) -> Any:
        """An action as the environment declares it: counted from its start, or of its dtype, whole numbers rounded."""
        if isinstance(self.inner_action_space, Discrete):
            return action + self.inner_action_space.start if self.inner_action_space.start else action
        if not isinstance(self.inner_action_space, Box) or action.dtype == self.inner_action_space.dtype:
            return action
        if self.inner_action_space.dtype.kind in "iu":
            action = np.clip(
                np.rint(action.astype(np.float64)), self.inner_action_space.low, self.inner_action_space.high
            )
        return action.astype(self.inner_action_space.dtype)


def _one(name: str, value: Any, meant: str, kinds: Any) -> Any:
    """A value, or the only one of an array; not what NumPy would make a value of: None is False to it, and "1" a number."""
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    if not isinstance(value, kinds):
        raise TypeError(f"step gives the {name} {told(value)}, which is not {meant}")
    return value


def _shown(space: Box) -> Box:
    """An observation's: images of bytes or bools as they are, numbers in float32; channels last."""
    image = len(space.shape) > 1 and space.dtype in (np.uint8, np.bool_)
    space = space if image else _float32(space)
    if len(space.shape) < 3:
        return space
    return Box(arranged(space.low), arranged(space.high), dtype=space.dtype)


def _float32(space: Box) -> Box:
    """With no bound where there is none, or none that float32 can tell."""
    if space.dtype == np.float32:
        return space
    with np.errstate(over="ignore"):
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    low, high = np.where(space.bounded_below, low, -np.inf), np.where(space.bounded_above, high, np.inf)
    return Box(low, high, dtype=np.float32)


def _lives(info: dict) -> dict:
    return {"lives": info["lives"]} if "lives" in info else {}


@contextmanager
def _placed() -> Iterator[None]:
    """Errors say where they come from, for their traceback does not pass between processes; `sys.exit` is one of them."""
    try:
        yield
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {os.path.basename(last.filename)}, line {last.lineno}"
        raise RuntimeError(f"{where}: {sentence(error)}" if str(error) else where) from error
