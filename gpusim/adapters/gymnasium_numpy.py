"""Gymnasium's own world: NumPy arrays; entered by `gpusim.adapters.to_numpy`."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from gpusim.adapters.common import Adaptable, Host, require_env, to_device


class NumpyVectorEnv(gymnasium.vector.VectorEnv[np.ndarray, np.ndarray, NDArray]):
    """A gpusim environment in any autoreset mode as a `gymnasium.vector.VectorEnv` of NumPy arrays.

    `infos` are as `SyncVectorEnv` gives them: empty, but in SAME_STEP, where something ended, for `final_obs`, an array of
    objects, None where the episode goes on, and `final_info`, each with its mask. Statistics are left to Gymnasium's
    `RecordEpisodeStatistics`, which refuses those of others. Gymnasium's wrappers of observations refuse SAME_STEP.

    Run with Gymnasium 1.4.0. Copies per step on a GPU: one to the host, one of the actions to the device; on the CPU the
    arrays are the environment's fresh tensors, without a copy.

    Raises:
        InputError: no gpusim environment.
    """

    def __init__(self, env: Adaptable):
        require_env(env, "to_numpy")
        self.env = env
        self.num_envs = env.num_envs
        self.metadata = env.metadata
        self.render_mode = env.render_mode
        self.spec = env.unwrapped.spec
        self.autoreset_mode = env.autoreset_mode
        self.single_observation_space = env.single_observation_space
        self.single_action_space = env.single_action_space
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self._host = Host(env)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """As `gpusim.VectorEnv.reset`, with an array as `reset_mask`."""
        super().reset(seed=seed)
        obs, _ = self.env.reset(seed=seed, options=options)
        return self._host(obs)[0], {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, NDArray, NDArray, NDArray, dict[str, Any]]:
        obs, reward, terminated, truncated, infos = self.env.step(to_device(actions, self.env))
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            return (*self._host(obs, reward, terminated, truncated), {})  # type: ignore[return-value]
        *returned, final, over = self._host(obs, reward, terminated, truncated, infos["final_obs"], infos["_final_obs"])
        return (*returned, _final(final, over) if over.any() else {})  # type: ignore[return-value]

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple:
        return self.env.call(name, *args, **kwargs)

    def get_attr(self, name: str) -> tuple:
        return self.env.get_attr(name)

    def set_attr(self, name: str, values: Any) -> None:
        self.env.set_attr(name, values)

    def render(self) -> Any:
        return self.env.render()

    def close_extras(self, **kwargs: Any) -> None:
        self.env.close()

    def __repr__(self) -> str:
        return f"NumpyVectorEnv({self.env!r})"


def _final(final: np.ndarray, over: NDArray) -> dict[str, Any]:
    rows = np.flatnonzero(over)
    obs = np.full(len(over), None, dtype=object)
    for row, ended in zip(rows, final[rows], strict=True):
        obs[row] = ended
    return {"final_obs": obs, "_final_obs": over, "final_info": {}, "_final_info": over.copy()}
