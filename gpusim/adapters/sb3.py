"""Stable-Baselines3's `VecEnv`; entered by `gpusim.adapters.to_sb3`."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from gpusim.adapters.common import Adaptable, Host, require_env, require_mode, to_device
from gpusim.errors import InputError
from gpusim.vector import VectorEnv


class NoInfo(dict):
    """The info of every environment whose episode goes on: one empty dict for all, which cannot be written to."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise InputError("environments whose episode goes on share one empty info: write to a copy of it.")

    __setitem__ = setdefault = update = __ior__ = _refuse

    def __deepcopy__(self, memo: Any) -> dict:
        return {}


class Sb3VecEnv(VecEnv):
    """A gpusim environment in SAME_STEP as a `VecEnv` of NumPy arrays, for Stable-Baselines3 and sb3-contrib.

    Only environments whose episode ended get an info of their own, with `terminal_observation`, `TimeLimit.truncated` and
    `episode` as `Monitor` gives it, so that neither `Monitor` nor `VecMonitor` is needed for SB3's logs.

    Run with Stable-Baselines3 2.9.2. Copies per step on a GPU: one to the host, one of the actions to the device.
    An end by the time limit is bootstrapped from the terminal observation, correctly, by all of SB3's algorithms.

    Raises:
        InputError: no gpusim environment, or not in SAME_STEP.
    """

    def __init__(self, env: Adaptable):
        require_env(env, "to_sb3")
        require_mode(env, "same_step", "Stable-Baselines3")
        self.env = env
        self._host = Host(env)
        self._no_info = NoInfo()
        self._began = time.time()
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        obs, _ = self.env.reset(seed=self._seeds[0], options=self._options[0])
        self._reset_seeds()
        self._reset_options()
        return self._host(obs)[0]

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = to_device(actions, self.env)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        obs, reward, terminated, truncated, infos = self.env.step(self._actions)
        tensors = obs, reward, terminated, truncated, infos["final_obs"], infos["episode"]["r"], infos["episode"]["l"]
        observed, rewards, ended, cut, *finals = self._host(*tensors)
        done = ended | cut
        return observed, rewards, done, self._infos(np.flatnonzero(done), ended, *finals)

    def _infos(
        self, rows: np.ndarray, ended: np.ndarray, final: np.ndarray, returns: np.ndarray, lengths: np.ndarray
    ) -> list[dict]:
        infos: list[dict] = [self._no_info] * self.num_envs
        seconds = round(time.time() - self._began, 6)
        whole = zip(
            rows.tolist(), final[rows], ended[rows], returns[rows].tolist(), lengths[rows].tolist(), strict=True
        )
        for row, obs, terminated, r, length in whole:
            infos[row] = {
                "terminal_observation": obs,
                "TimeLimit.truncated": not terminated,
                "episode": {"r": r, "l": length, "t": seconds},
            }
        return infos

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """A parameter of the environment, or an attribute of what was adapted."""
        rows, base = self._rows(indices), self.env.unwrapped
        if isinstance(base, VectorEnv) and attr_name in base.params._fields:
            values = self.env.get_attr(attr_name)
            return [values[row] for row in rows]
        return [getattr(self.env, attr_name)] * len(rows)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets a parameter of the environment, for some of the environments or all."""
        if indices is not None:
            values = np.asarray(self.env.get_attr(attr_name), np.float32)
            values[self._rows(indices)] = value
            value = values
        self.env.set_attr(attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Calls a method of what was adapted, once; its result, once for each of `indices`."""
        return [getattr(self.env, method_name)(*method_args, **method_kwargs)] * len(self._rows(indices))

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """True of `Monitor`, whose work is done here."""
        return [issubclass(Monitor, wrapper_class)] * len(self._rows(indices))

    def get_images(self) -> Sequence[np.ndarray | None]:
        frames: Any = self.env.render()
        return list(frames or [None] * self.num_envs)

    def _rows(self, indices: int | Iterable[int] | None) -> list[int]:
        return list(self._get_indices(indices))
