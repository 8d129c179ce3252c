"""Gymnasium's own vector environments: a process for each environment, or one environment after the other in this one."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from gpusim.host import HostStep

# How processes start, in place of the default, which libraries change: a forked one knows the environments that were
# registered in this one, a spawned one would not.
START = "fork" if sys.platform == "linux" else None

Build = Callable[[], gymnasium.Env]


def processes(build: Build, num_envs: int) -> "Vector":
    s, ours = "es" if num_envs > 1 else "", partial(_in_a_process_of_ours, os.getpid(), build)
    with quiet():
        vector: Any = AsyncVectorEnv(
            [ours] * num_envs, copy=False, autoreset_mode=AutoresetMode.SAME_STEP, context=START
        )
    return Vector(vector, f"by {num_envs} process{s}")


def in_turn(build: Build, num_envs: int) -> "Vector":
    vector: Any = SyncVectorEnv([build] * num_envs, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
    return Vector(vector, "by this process, one after the other")


def _in_a_process_of_ours(starter: int, build: Build) -> gymnasium.Env:
    """An environment whose process leaves Ctrl-C, and the end of a terminal, to the one that started it.

    Gymnasium builds one more in the starter itself, to look at its spaces.
    """
    if os.getpid() != starter:
        for name in {"SIGINT", "SIGHUP"} & set(signal.Signals.__members__):
            signal.signal(signal.Signals[name], signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked process has its parent's handlers
    return build()


class Vector:
    """A vector environment in SAME_STEP."""

    def __init__(self, vector: Any, where: str):
        self.vector, self.where = vector, where
        self.apart = isinstance(vector, AsyncVectorEnv)
        self.actions = np.empty(0)
        self.lives: np.ndarray | None = None

    def reset(self, seed: int | None, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        with quiet():
            obs, infos = self.vector.reset(seed=seed, options=None if mask is None else {"reset_mask": mask})
        if mask is None:
            self.lives = infos.get("lives")
        elif self.lives is not None:
            self.lives = np.where(mask, infos["lives"], self.lives)
        return obs, self.lives

    def send(self, actions: np.ndarray) -> None:
        self.actions = actions
        if self.apart:
            self.vector.step_async(actions)

    def receive(self) -> HostStep:
        with quiet():
            answer = self.vector.step_wait() if self.apart else self.vector.step(self.actions)
        obs, reward, terminated, truncated, infos = answer
        ended = (terminated | truncated).nonzero()[0]
        final = np.stack([infos["final_obs"][i] for i in ended]) if len(ended) else None
        self.lives = infos.get("lives")
        return HostStep(obs, reward, terminated, truncated, final, self.lives)

    def close(self) -> None:
        with quiet():
            self.vector.close()

    def kill(self) -> None:
        processes = getattr(self.vector, "processes", ())
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        self.vector.closed = True  # so that Gymnasium does not ask processes to end that are gone


@contextmanager
def quiet() -> Iterator[None]:
    """Without Gymnasium's lines about what is going to be raised anyway."""
    level = gymnasium.logger.min_level
    gymnasium.logger.min_level = gymnasium.logger.ERROR + 1
    try:
        yield
    finally:
        gymnasium.logger.min_level = level
