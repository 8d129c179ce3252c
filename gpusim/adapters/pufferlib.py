"""PufferLib's `PufferEnv`; entered by `gpusim.adapters.to_pufferlib`."""

from typing import Any

import pufferlib
import torch
from torch import Tensor

from gpusim.adapters.common import Adaptable, clipped, require_copy, require_env, require_mode, to_device


class GpusimPufferEnv(pufferlib.PufferEnv):
    """A gpusim environment in SAME_STEP as PuffeRL steps it, with tensors in place of PufferLib's buffers.

    About every hundredth step has an info, the mean `episode_return` and `episode_length` of what ended since the last.

    Run with PufferLib 3.0.0, which was written for Gymnasium before 1.0 and NumPy before 2, beside Gymnasium 1.4 and
    NumPy 2.4. Copies per step on a GPU: the actions, to the host by PuffeRL and back by the adapter. PuffeRL does not look
    at truncations: told as such, the next episode's value would flow into this one's. So `terminals` are all ends, and one
    by the time limit is taken for one by the task. It clamps rewards to [-1, 1].

    Raises:
        InputError: no gpusim environment, not in SAME_STEP, or one that fills the same tensors anew (`copy=False`).
    """

    observations: Any
    _ended: Tensor  # episodes, their returns and lengths, summed, since the last info
    _steps: int  # since the last info
    INFO_EVERY = 128  # steps; to look at a GPU's tensors is to wait for it

    def __init__(self, env: Adaptable):
        require_env(env, "to_pufferlib")
        require_mode(env, "same_step", "PufferLib")
        require_copy(env, "PufferLib")
        self.env = clipped(env)
        self.single_observation_space = env.single_observation_space
        self.single_action_space = env.single_action_space
        self.num_agents: int = env.num_envs
        super().__init__()
        self._forget()

    def reset(self, seed: int | None = None) -> tuple[Tensor, list[dict]]:
        self.observations, _ = self.env.reset(seed=seed)
        zeros = torch.zeros(self.num_agents, dtype=torch.float32, device=self.env.device)
        self.rewards, self.terminals, self.truncations = zeros, zeros.bool(), zeros.bool()
        self._forget()
        return self.observations, []

    def step(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, list[dict]]:
        self.observations, self.rewards, terminated, truncated, infos = self.env.step(to_device(actions, self.env))
        self.terminals, self.truncations = terminated | truncated, truncated & ~terminated
        return self.observations, self.rewards, self.terminals, self.truncations, self._info(infos)

    def _info(self, infos: dict[str, Any]) -> list[dict]:
        ended, episode = infos["_episode"], infos["episode"]
        self._ended = self._ended + torch.stack(
            [ended.sum(), (episode["r"] * ended).sum(), (episode["l"] * ended).sum()]
        )
        self._steps += 1
        if self._steps % self.INFO_EVERY:
            return []
        count, returns, lengths = self._ended.tolist()
        self._forget()
        return [{"episode_return": returns / count, "episode_length": lengths / count}] if count else []

    def _forget(self) -> None:
        self._ended = torch.zeros(3, dtype=torch.float32, device=self.env.device)
        self._steps = 0

    def close(self) -> None:
        self.env.close()
