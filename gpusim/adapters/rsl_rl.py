"""rsl_rl's `VecEnv`; entered by `gpusim.adapters.to_rsl_rl`."""

import math

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from gpusim.adapters.common import Adaptable, clipped, require_continuous, require_copy, require_env, require_mode
from gpusim.errors import InputError


class RslRlVecEnv(VecEnv):
    """A gpusim environment in SAME_STEP with continuous actions as rsl_rl's runners step it.

    Observations are the group `"policy"`; actions are clipped to the action space.

    Run with rsl_rl 5.5.1. Copies per step: none. At the time limit rsl_rl adds the discounted value of the observation that
    was acted on, not of the one that followed. No environment can mend that; `extras["final_obs"]` holds the latter, for a
    PPO of one's own.

    Args:
        seed: of the reset with which the first episodes begin; rsl_rl itself never resets. None: random streams go on.

    Raises:
        InputError: no gpusim environment, not in SAME_STEP, discrete actions, or one that fills the same tensors anew
            (`copy=False`).
    """

    def __init__(self, env: Adaptable, seed: int | None = None):
        require_env(env, "to_rsl_rl")
        require_mode(env, "same_step", "rsl_rl")
        require_continuous(env, "rsl_rl")
        require_copy(env, "rsl_rl")
        self.env = clipped(env)
        self.num_envs: int = env.num_envs
        self.num_actions = math.prod(env.single_action_space.shape or ())
        self.device = env.device
        self.cfg = {"env": env.unwrapped.task.id, "num_envs": env.num_envs}
        self._obs, _ = env.reset(seed=seed)

    @property
    def max_episode_length(self) -> int:
        if self.env.max_episode_steps is None:
            raise InputError("this environment has no time limit to draw a first episode's length from.")
        return self.env.max_episode_steps

    @property
    def episode_length_buf(self) -> Tensor:
        """Steps since the reset, int64 `[N]`; what is assigned goes into the environment's own counters."""
        return self.env.unwrapped.get_state().elapsed.long()

    @episode_length_buf.setter
    def episode_length_buf(self, steps: Tensor) -> None:
        base = self.env.unwrapped
        base.set_state(base.get_state()._replace(elapsed=steps.to(torch.float32)))

    def get_observations(self) -> TensorDict:
        return TensorDict({"policy": self._obs}, batch_size=[self.num_envs])

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        self._obs, reward, terminated, truncated, infos = self.env.step(actions)
        extras = {"time_outs": truncated & ~terminated, "final_obs": infos["final_obs"]}
        return self.get_observations(), reward, (terminated | truncated).long(), extras
