"""What Tianshou's `Collector` steps; entered by `gpusim.adapters.to_tianshou`."""

from typing import Any

import numpy as np
import tianshou  # noqa: F401  so that it is missed here, not by the caller's own first import of it
import torch
from gymnasium.error import ResetNeeded
from torch import Tensor

from gpusim import checks
from gpusim.adapters.common import Adaptable, Host, clipped, idling, require_env, require_mode, to_device
from gpusim.errors import InputError
from gpusim.vector import VectorState


class TianshouVectorEnv:
    """A gpusim environment with autoreset disabled, with the methods of a `BaseVectorEnv` that a `Collector` calls.

    Tianshou resets what is over itself, by number, so that `obs_next` is always the true successor; infos are empty dicts.
    Continuous actions are clipped to the action space. Environments that a step leaves out stay as they are, and wrappers
    count nothing of them.

    Run with Tianshou 2.0.1. Copies per step on a GPU: one to the host and one of the actions to the device, two more at a
    reset. An end by the time limit is bootstrapped from the terminal observation, correctly.

    Raises:
        InputError: no gpusim environment, or its autoreset is not disabled.
    """

    is_async = False

    def __init__(self, env: Adaptable):
        require_env(env, "to_tianshou")
        require_mode(env, "disabled", "Tianshou")
        self.env = clipped(env)
        self.env_num: int = env.num_envs
        self.observation_space = env.single_observation_space
        self.action_space = env.single_action_space
        self._host = Host(env)
        self._all = np.arange(env.num_envs)
        self._seed: int | None = None

    def __len__(self) -> int:
        return self.env_num

    def seed(self, seed: int | None = None) -> None:
        """The next reset of all environments starts the random streams anew."""
        self._seed = seed

    def reset(self, env_id: Any = None, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """The first observations of new episodes, of all environments or of those whose numbers are given."""
        if env_id is None:
            obs, _ = self.env.reset(**{"seed": self._seed} | kwargs)
            self._seed = None
            return self._host(obs)[0], _infos(self.env_num)
        ids = np.ascontiguousarray(env_id)
        obs, _ = self.env.reset(options={"reset_mask": self._mask(ids)}, **kwargs)
        return self._host(obs[torch.from_numpy(ids).to(obs.device)])[0], _infos(len(ids))

    def step(self, action: Any, id: Any = None) -> tuple[np.ndarray, ...]:
        """Steps all environments, or those whose numbers are given, with one action for each."""
        ids = self._all if id is None else np.ascontiguousarray(id)
        if np.array_equal(ids, self._all):
            obs, reward, terminated, truncated, _ = self.env.step(to_device(action, self.env))
            return *self._host(obs, reward, terminated, truncated), _infos(self.env_num)
        stepped = self._step_some(np.asarray(action), ids)
        return *(array[ids] for array in self._host(*stepped)), _infos(len(ids))

    def _step_some(self, action: np.ndarray, ids: np.ndarray) -> tuple[Tensor, ...]:
        """The others are over for as long as this step takes: then their rows idle, in the environment and its wrappers."""
        base, mask = self.env.unwrapped, self._mask(ids)
        before = base.get_state()
        actions = self._spread(action, ids)
        self._check(before, actions, ids)
        base.set_state(before._replace(truncated=before.truncated | ~mask))
        try:
            with idling(self.env):
                return self.env.step(actions)[:4]
        finally:
            after = base.get_state()
            flags = {f: torch.where(mask, getattr(after, f), getattr(before, f)) for f in ("terminated", "truncated")}
            base.set_state(after._replace(**flags))

    def _spread(self, action: np.ndarray, ids: np.ndarray) -> Tensor:
        """The actions of some as actions of all; those of the others do not matter."""
        if len(action) != len(ids):
            raise InputError(f"{len(ids)} environments are stepped and {len(action)} actions given: give one for each.")
        actions = np.zeros((self.env_num, *action.shape[1:]), action.dtype)
        actions[ids] = action
        return to_device(actions, self.env)

    def _check(self, state: VectorState, actions: Tensor, ids: np.ndarray) -> None:
        """What the environment looks at when all are stepped."""
        if not self.env.validate:
            return
        chosen = torch.from_numpy(ids).to(self.env.device)
        checks.actions(actions[chosen], self.env.single_action_space, len(ids), self.env.device, True)
        if over := ids[(state.terminated | state.truncated)[chosen].cpu().numpy()].tolist():
            raise ResetNeeded(f"environment {over[0]} is over: reset it by reset(env_id=[{over[0]}]).")

    def _mask(self, ids: np.ndarray) -> Tensor:
        mask = torch.zeros(self.env_num, dtype=torch.bool)
        mask[torch.from_numpy(ids)] = True
        return mask.to(self.env.device)

    def render(self, **kwargs: Any) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()


def _infos(count: int) -> np.ndarray:
    """An empty info for each, its own."""
    return np.array([{} for _ in range(count)], dtype=object)
