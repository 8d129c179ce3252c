"""Atari's games on the threads of the Arcade Learning Environment itself, which preprocesses as `atari.make` does."""

from importlib import import_module
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from gpusim.adapters.images import channels_last
from gpusim.host import HostStep

OURS = ("frameskip", "obs_type")  # of the arguments of one game, those that the preprocessing decides


class Ale:
    where = "by the threads of the Arcade Learning Environment"

    def __init__(self, vector: Any):
        self.vector = vector
        self.obs, self.lives = np.empty(0), np.empty(0)

    @classmethod
    def start(cls, kwargs: dict[str, Any], num_envs: int) -> "Ale":
        make = import_module("ale_py.vector_env").AtariVectorEnv
        known = {k: v for k, v in kwargs.items() if k not in OURS}
        return cls(make(num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP, reward_clipping=False, **known))

    def reset(self, seed: int | None, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        seed = None if seed is None else seed % 2**31
        obs, infos = self.vector.reset(seed=seed, options=None if mask is None else {"reset_mask": mask})
        if mask is None:
            self.obs, self.lives = channels_last(obs).copy(), infos["lives"].copy()
        else:
            self.obs[mask], self.lives[mask] = (x[_rows(x, mask)] for x in (channels_last(obs), infos["lives"]))
        return self.obs, self.lives

    def send(self, actions: np.ndarray) -> None:
        self.vector.send(actions)

    def receive(self) -> HostStep:
        obs, reward, terminated, truncated, infos = self.vector.recv()
        self.obs, self.lives = channels_last(obs), infos["lives"]
        over = terminated | truncated
        final = channels_last(infos["final_obs"])[over] if over.any() else None
        return HostStep(self.obs, reward, terminated, truncated, final, self.lives)

    def close(self) -> None:
        self.vector.close()

    def kill(self) -> None:
        self.close()


def _rows(array: np.ndarray, mask: np.ndarray) -> Any:
    """Where the masked rows are in an answer about all environments, or about those alone."""
    return mask if len(array) == len(mask) else slice(None)
