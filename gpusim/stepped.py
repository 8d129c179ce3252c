"""`SteppedVectorEnv`: Gymnasium's `step` and rollouts, made of `advance`."""

from typing import Any

import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim import checks, engine
from gpusim.base import TensorVectorEnv, apart
from gpusim.book import Step, Tally, ended
from gpusim.env import Task
from gpusim.errors import InputError
from gpusim.rollout import Policy, Rollout, Steps, rollout
from gpusim.tree import tree_map


class SteppedVectorEnv(TensorVectorEnv):
    """The base of those that step on the device; a subclass has what raises NotImplementedError here, and `reset`."""

    single_observation_space: Box
    single_action_space: Discrete | Box
    index: Tensor
    clock: int
    copy: bool
    validate: bool
    autoreset_mode: AutoresetMode
    max_episode_steps: int | None
    _buffers: tuple | None = None

    def _declare(
        self,
        task: Task,
        autoreset_mode: str | AutoresetMode,
        max_episode_steps: int | None,
        copy: bool,
        validate: bool | None,
        first_env: int,
    ) -> None:
        """What those that step on the device have in common, `num_envs` and `device` being known."""
        self.autoreset_mode = checks.autoreset_mode(autoreset_mode)
        self.max_episode_steps = checks.max_episode_steps(task, max_episode_steps)
        self.single_observation_space = task.observation_space
        self.single_action_space = task.action_space
        self.copy = checks.flag("copy", copy)
        self.validate = self.device.type == "cpu" if validate is None else checks.flag("validate", validate)
        self.clock = 0  # steps since seeding, the counter of random actions
        self.first_env = checks.first_env(first_env, self.num_envs)
        self.index = self.first_env + torch.arange(self.num_envs, device=self.device)

    @property
    def seed(self) -> Tensor:
        """As `seeded`, an int64 scalar on the device; not to be written to."""
        raise NotImplementedError

    @property
    def seeded(self) -> int:
        """The seed in force, given or drawn; to look, the host waits for the device."""
        return int(self.seed)

    def observe(self) -> Tensor:
        """`[N, *obs]`, what to act on next, as `reset` or the last step gave it."""
        raise NotImplementedError

    def begun(self) -> Tensor:
        """`[N]` bool, where `observe` gives the first of an episode."""
        raise NotImplementedError

    def get_state(self) -> Any:
        """A copy of all that a trajectory depends on."""
        raise NotImplementedError

    def set_state(self, state: Any) -> None:
        """Puts back what `get_state` gave."""
        raise NotImplementedError

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple:
        """The method (or attribute) `name` of this object, its result once for each environment."""
        raise NotImplementedError

    def get_attr(self, name: str) -> tuple:
        """The attribute `name`, once for each environment."""
        raise NotImplementedError

    def set_attr(self, name: str, values: Any) -> None:
        """Sets a parameter, where there are any.

        Raises:
            InputError: there is no such parameter.
        """
        raise InputError(f"{type(self).__name__} has no parameters, so that {checks.told(name)} cannot be set.")

    def over(self) -> Tensor:
        """`[N]` bool, the environments that are over, where nothing resets them."""
        raise NotImplementedError

    def advance(
        self, actions: Tensor, *, observe: bool = True, tally: Tally | None = None
    ) -> tuple[Step, Tally | None]:
        """As `step`, of actions that were checked; see `gpusim.rollout.Steppable`."""
        raise NotImplementedError

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """One step of every environment.

        Args:
            actions: `[N]` int64 or int32 for `Discrete`, `[N, d]` float32 for `Box`; on the CPU an array will do.

        Returns:
            obs: `[N, *obs]` float32, to act on next. Its transpose is contiguous (`obs.T`), not itself.
            reward: `[N]` float32.
            terminated: `[N]` bool, the task ended the episode.
            truncated: `[N]` bool, the time limit did; both can hold at once.
            infos: the same keys at every step. `final_obs` `[N, *obs]` the true observation after this step, before any
                reset, with `_final_obs` `[N]` where the episode ended; `episode` `{"r" [N] float32, "l" [N] int32}` return
                and length so far, final where `_episode` `[N]`; `reset` `[N]` where `obs` begins a new episode.

        Raises:
            InputError: the actions have the wrong shape, type, device or (with `validate`) values.
            ResetNeeded: there has been no reset; or, when disabled and with `validate`, an environment is over.
        """
        actions = self.check_actions(actions)
        with apart():
            out, _ = self.advance(actions)
            over, again = ended(out)
            infos = {
                "final_obs": out.obs.clone() if out.final_obs is None else out.final_obs,
                "_final_obs": over,
                "episode": {"r": out.episode_return, "l": out.episode_length.to(torch.int32)},
                "_episode": again,
                "reset": out.reset,
                **self.more_infos(),
            }
            return self._deliver((out.obs, out.reward, out.terminated, out.truncated, infos))

    def more_infos(self) -> dict[str, Tensor]:
        """What `infos` tells of the last step beside what all environments do, `[N, ...]` each."""
        return {}

    def check_actions(self, actions: Any) -> Tensor:
        """Actions as `advance` takes them, see `step`."""
        self.require_reset()
        actions = checks.actions(actions, self.single_action_space, self.num_envs, self.device, self.validate)
        if self.validate and self.autoreset_mode is AutoresetMode.DISABLED and (over := self.over()).any():
            first = int(over.int().argmax())
            raise ResetNeeded(f"environment {first} is over: reset it by reset(options={{'reset_mask': mask}}).")
        return actions

    def advance_several(self, actions: list[Tensor], tally: Tally) -> Tally:
        """Some steps, of which nothing is wanted but the tally."""
        for action in actions:
            tally = self.advance(action, observe=False, tally=tally)[1] or tally
        return tally

    def random_actions(self, block: int, count: int) -> Tensor:
        """Some blocks of the stream of random actions, see `gpusim.engine.random_actions`."""
        with apart():
            blocks = torch.arange(block, block + count, device=self.device)
            return engine.random_actions(self.single_action_space, self.seed, self.index, blocks)

    def fast_rollout(self, num_steps: int, policy: Policy | None, transitions: bool) -> Rollout | None:
        """None: there is no way but step by step."""
        return None

    def recorder(self, num_steps: int) -> Steps:
        """What makes and keeps the steps of a rollout, one by one."""
        return Steps(self)

    def _deliver(self, returned: tuple) -> tuple:
        if self.copy:
            return returned
        if self._buffers is None:
            self._buffers = tree_map(torch.empty_like, returned)
        tree_map(lambda buffer, new: buffer.copy_(new), self._buffers, returned)
        return self._buffers

    def rollout(
        self, num_steps: int, policy: Policy | None = None, *, transitions: bool = True, policy_state: Any = None
    ) -> Rollout:
        """`num_steps` steps from where the environments stand; see `gpusim.rollout.rollout`."""
        return rollout(self, num_steps, policy, transitions=transitions, policy_state=policy_state)
