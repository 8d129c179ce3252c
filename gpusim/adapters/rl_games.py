"""rl_games' `IVecEnv`; entered by `gpusim.adapters.to_rl_games`."""

from typing import Any

from rl_games.common import env_configurations, vecenv
from rl_games.common.ivecenv import IVecEnv
from torch import Tensor

import gpusim
from gpusim.adapters.common import clipped, require_copy, require_mode


class RlGamesVecEnv(IVecEnv):
    """`gpusim.make(id, num_actors, **kwargs)` as rl_games' agents and players step it.

    Run with rl_games 1.6.5. Copies per step: none. With `value_bootstrap: True` rl_games adds, at the time limit, the
    discounted value of the observation that was acted on, not of the one that followed; without it, none. No environment
    can mend that. Continuous actions it clamps to [-1, 1] and rescales to the action space itself (`clip_actions: True`).

    Args:
        seed: of the first reset; rl_games gives its own where the config has an `env_config`.

    Raises:
        InputError: what `gpusim.make` cannot make, an environment that is not in SAME_STEP, or one that fills the same
            tensors anew (`copy=False`).
    """

    def __init__(self, id: str, num_actors: int, seed: int | None = None, **kwargs: Any):
        env: Any = gpusim.make(id, num_actors, **kwargs)
        require_mode(env, "same_step", "rl_games")
        require_copy(env, "rl_games")
        self.env = clipped(env)
        self.observation_space = env.single_observation_space
        self.action_space = env.single_action_space
        self._seed = seed

    def reset(self) -> Tensor:
        obs, _ = self.env.reset(seed=self._seed)
        self._seed = None
        return obs

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        actions = actions.reshape(self.env.num_envs, *(self.action_space.shape or ()))
        obs, reward, terminated, truncated, infos = self.env.step(actions)
        told = {"time_outs": truncated & ~terminated, "final_obs": infos["final_obs"]}
        return obs, reward, terminated | truncated, told

    def get_env_info(self) -> dict[str, Any]:
        return {"observation_space": self.observation_space, "action_space": self.action_space}


def registered(id: str, **kwargs: Any) -> str:
    """Makes the environment known to rl_games, which makes it of `kwargs` and the `env_config` of its configuration.

    Returns:
        the `env_name` of that configuration, "gpusim/" and the id; players without a `vecenv` get it too.

    Raises:
        InputError: there is no such environment.
    """
    name = f"gpusim/{gpusim.spec(id).id}"

    def make(config_name: str, num_actors: int, **env_config: Any) -> RlGamesVecEnv:
        return RlGamesVecEnv(id, num_actors, **kwargs | env_config)

    vecenv.register(name, make)
    creator = {"vecenv_type": name, "env_creator": lambda **env_config: make(name, 1, **env_config)}
    env_configurations.register(name, creator)
    return name
