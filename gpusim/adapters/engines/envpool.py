"""A pool of EnvPool's, whose threads step in C++."""

import secrets
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from gpusim.adapters.images import channels_last
from gpusim.adapters.libraries import sentence
from gpusim.errors import InputError
from gpusim.host import HostStep


class EnvPool:
    """EnvPool is NEXT_STEP: the step after an episode's last one ignores its action and only resets. Here that row is no
    transition, so the environments that ended are reset by themselves, at once: the step is one in SAME_STEP.

    Args:
        make: from a seed to a pool, whose `recv` (after `send(actions)`) and `reset(env_ids)` give what Gymnasium's `step`
            and `reset` do.
    """

    def __init__(self, make: Callable[[int], Any], num_envs: int, where: str):
        self.make, self.num_envs, self.where = make, num_envs, where
        self.pool: Any = None
        self.obs = np.empty(0)
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
                raise InputError(f"EnvPool cannot make {id}: {sentence(error)}.") from None

        return cls(make, num_envs, "by EnvPool's threads")

    def reset(self, seed: int | None, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        if mask is not None:
            rows = mask.nonzero()[0].astype(np.int32)
            first, infos = self.pool.reset(rows)
            self.obs[mask] = _shown(first)
            if self.lives is not None:
                self.lives[mask] = infos["lives"]
            return self.obs, self.lives
        if seed is not None or self.pool is None:
            self.close()
            self.pool = self.make(secrets.randbits(31) if seed is None else seed)
        obs, infos = self.pool.reset()
        self.obs, self.lives = _shown(obs).copy(), _copied(infos.get("lives"))
        return self.obs, self.lives

    def send(self, actions: np.ndarray) -> None:
        self.pool.send(actions)

    def receive(self) -> HostStep:
        obs, reward, terminated, truncated, infos = self.pool.recv(reset=False, return_info=True)
        terminated, truncated = np.asarray(terminated, bool), np.asarray(truncated, bool)
        self.obs, self.lives = _shown(obs).copy(), _copied(infos.get("lives"))
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


def _shown(obs: np.ndarray) -> np.ndarray:
    """Observations `[N, *obs]`, images among them with their channels last."""
    return channels_last(obs) if obs.ndim == 4 else obs


def _copied(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array.copy()
