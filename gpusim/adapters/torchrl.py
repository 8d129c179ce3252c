"""TorchRL's `EnvBase`; entered by `gpusim.adapters.to_torchrl`."""

from contextlib import nullcontext
from typing import Any

import torch
from gymnasium.spaces import Box, Discrete
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from gpusim.adapters.common import Adaptable, idling, require_copy, require_env, require_mode


class TorchRLEnv(EnvBase):
    """A gpusim environment with autoreset disabled as an `EnvBase` of batch size `[N]`, on the environment's device.

    TorchRL resets what is over itself, by the mask `_reset`; `("next", "observation")` is always the true one. Discrete
    actions are `Categorical`, as indices. One seed stands for all environments, and takes effect at the next full reset.

    Run with TorchRL 0.14.1. Copies per step: none; but TorchRL's own loop asks at every step, waiting for the GPU,
    whether anything is over. Its `GAE` and `TDLambda` bootstrap an end by the time limit from the true observation.

    Raises:
        InputError: no gpusim environment, its autoreset is not disabled, or it is made with `copy=False`.
    """

    def __init__(self, env: Adaptable):
        require_env(env, "to_torchrl")
        require_mode(env, "disabled", "TorchRL")
        require_copy(env, "TorchRL")
        super().__init__(device=env.device, batch_size=[env.num_envs])
        self.__dict__["_env"] = env  # EnvBase is a module, and would look for parameters
        self._seed: int | None = None
        n = env.num_envs
        self.observation_spec = Composite(observation=_spec(env.single_observation_space, env), shape=(n,))
        self.action_spec = _spec(env.single_action_space, env)
        self.reward_spec = Unbounded(shape=(n, 1), device=env.device)
        flags = {name: Categorical(2, (n, 1), env.device, torch.bool) for name in ("done", "terminated", "truncated")}
        self.full_done_spec = Composite(flags, shape=(n,), device=env.device)

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        if mask is None:
            obs, _ = self._env.reset(seed=self._seed)
            self._seed = None
        else:
            obs, _ = self._env.reset(options={"reset_mask": mask.reshape(-1)})
        return self._dict({"observation": obs})

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        until_all_are_over = tensordict.get("_step", None) is not None
        with idling(self._env) if until_all_are_over else nullcontext():
            obs, reward, terminated, truncated, _ = self._env.step(tensordict.get("action"))
        flags = {"terminated": terminated, "truncated": truncated, "done": terminated | truncated}
        columns = {name: column.unsqueeze(-1) for name, column in {"reward": reward, **flags}.items()}
        return self._dict({"observation": obs, **columns})

    def _dict(self, tensors: dict[str, Tensor]) -> TensorDictBase:
        return TensorDict(tensors, self.batch_size, self.device)

    def _set_seed(self, seed: int | None) -> None:
        self._seed = seed

    def close(self, *, raise_if_closed: bool = True) -> None:
        if not self.is_closed:
            self._env.close()
        super().close(raise_if_closed=raise_if_closed)


def _spec(space: Box | Discrete, env: Adaptable) -> Any:
    """The space of all environments, as TorchRL writes it."""
    n, device = env.num_envs, env.device
    if isinstance(space, Discrete):
        return Categorical(int(space.n), (n,), device, torch.int64)
    low, high = (torch.from_numpy(bound).to(device).expand(n, *space.shape) for bound in (space.low, space.high))
    dtype = low.dtype
    if not space.is_bounded():
        return Unbounded((n, *space.shape), device, dtype)
    return Bounded(low, high, (n, *space.shape), device, dtype)
