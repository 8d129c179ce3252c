"""skrl's `Wrapper`; entered by `gpusim.adapters.to_skrl`."""

from typing import Any

import torch
from gymnasium import Space
from skrl import config
from skrl.envs.wrappers.torch import Wrapper
from torch import Tensor

from gpusim.adapters.common import Adaptable, clipped, require_copy, require_env, require_mode


class SkrlWrapper(Wrapper):
    """A gpusim environment in SAME_STEP as skrl's trainers step it.

    Observations are float32 `[N, d]`, images flattened as skrl wants them; rewards and flags `[N, 1]`. Continuous actions
    are clipped to the action space. The first reset takes the seed of `skrl.utils.set_seed`, which skrl's `Runner` calls;
    where nobody has, random streams go on, or begin from the operating system's entropy.

    Run with skrl 2.1.1. Copies per step: none. skrl never reads the observation in which an episode was cut off by the time
    limit, and no environment can mend that: PPO and its kin carry advantages across the reset, or, with
    `time_limit_bootstrap=True`, end there with the value of the next episode's first observation; learners with a replay
    memory take that observation for the successor.

    Raises:
        InputError: no gpusim environment, not in SAME_STEP, or one that fills the same tensors anew (`copy=False`).
    """

    def __init__(self, env: Adaptable):
        require_env(env, "to_skrl")
        require_mode(env, "same_step", "skrl")
        require_copy(env, "skrl")
        super().__init__(env)
        self._stepped = clipped(env)
        self._begun = False

    @property
    def observation_space(self) -> Space:
        return self._env.single_observation_space

    @property
    def action_space(self) -> Space:
        return self._env.single_action_space

    def reset(self) -> tuple[Tensor, dict[str, Any]]:
        obs, infos = self._env.reset(seed=None if self._begun else _seed())
        self._begun = True
        return _flat(obs), infos

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        actions = actions.reshape(self.num_envs, *(self.action_space.shape or ()))
        obs, reward, terminated, truncated, infos = self._stepped.step(actions)
        truncated = truncated & ~terminated  # skrl would bootstrap from a terminal state
        return _flat(obs), reward[:, None], terminated[:, None], truncated[:, None], infos

    def state(self) -> None:
        return None

    def render(self, *args: Any, **kwargs: Any) -> Any:
        return self._env.render()

    def close(self) -> None:
        self._env.close()


def _seed() -> int | None:
    """What `set_seed` was given: without it skrl's key is 0, but torch's seed is not."""
    return config.torch.key if config.torch.key or torch.initial_seed() == 0 else None


def _flat(obs: Tensor) -> Tensor:
    return obs.flatten(1).to(torch.float32)
