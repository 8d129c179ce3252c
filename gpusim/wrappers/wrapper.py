"""`Wrapper`: what stands around a `VectorEnv` and changes what goes in or comes out."""

from functools import cached_property
from typing import Any, NamedTuple

import gymnasium
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor

from gpusim import checks
from gpusim.base import apart
from gpusim.book import Step, Tally
from gpusim.errors import InputError
from gpusim.rollout import Policy, Rollout, Steps, rollout
from gpusim.state import fit
from gpusim.stepped import SteppedVectorEnv
from gpusim.tree import tree_map


class WrapperState(NamedTuple):
    """What `Wrapper.get_state` gives."""

    env: Any  # the state of what is wrapped
    own: Any  # the wrapper's own: tensors, in a NamedTuple


class Nothing(NamedTuple):
    """The state of a wrapper that remembers nothing."""


class Returned(NamedTuple):
    """What `step` returns."""

    obs: Tensor  # [N, *obs]
    reward: Tensor  # [N] float32
    terminated: Tensor  # [N] bool
    truncated: Tensor  # [N] bool
    infos: dict[str, Any]

    @property
    def valid(self) -> Tensor:
        """`[N]`, False where a row is no transition: a reset in NEXT_STEP, an idle row when disabled."""
        return self.infos["_final_obs"] | ~(self.terminated | self.truncated | self.infos["reset"])

    def inform(self, **changes: Any) -> "Returned":
        return self._replace(infos=self.infos | changes)


class Wrapper(gymnasium.vector.VectorWrapper):
    """A `VectorEnv` or a wrapper of one, seen through a change. By itself it changes nothing.

    A subclass overrides `_act`, `_begun`, `_stepped` and `_seen`, and keeps what it remembers in `own`, a NamedTuple of
    tensors; it looks at no tensor's value, so that a GPU never has to stop.

    Raises:
        InputError: `env` is no gpusim environment.
    """

    single_observation_space: Box
    single_action_space: Discrete | Box
    backend = "wrapped"  # kernels step environments, not wrappers; `unwrapped.backend` is the environment's

    def __init__(self, env: "Wrappable"):
        if not isinstance(env, SteppedVectorEnv | Wrapper):
            raise InputError(
                f"{type(self).__name__} wraps what gpusim.make gives, or a wrapper of gpusim.wrappers around it, "
                f"not {type(env).__name__}."
            )
        super().__init__(env)
        self.env: Wrappable = env
        self.own: Any = Nothing()

    def __setattr__(self, name: str, value: Any) -> None:
        """What only a wrapper further in lets be set, as `obs_rms`, is set there, as it is read from there."""
        inner = vars(self).get("env")
        while isinstance(inner, Wrapper) and not hasattr(type(self), name):
            if isinstance(getattr(type(inner), name, None), property):
                return setattr(inner, name, value)
            inner = inner.env
        super().__setattr__(name, value)

    def _act(self, actions: Any) -> Any:
        """The actions that the wrapped environment is given."""
        return actions

    def _begun(self, obs: Tensor, mask: Tensor) -> Tensor:
        """`obs` `[N, *obs]` after a reset of the masked environments."""
        return self._seen(obs)

    def _stepped(self, step: Returned) -> Returned:
        return step

    def _seen(self, obs: Tensor) -> Tensor:
        """The observation that stands for the wrapped environment's, remembering nothing."""
        return obs

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Tensor, dict]:
        """As `VectorEnv.reset`, with a `reset_mask` or without."""
        with apart():
            obs, infos = self.env.reset(seed=seed, options=options)
            mask = (options or {}).get("reset_mask")
            if mask is None:
                mask = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
            return self._begun(obs, checks.mask(mask, self.num_envs, self.device)), infos

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """As `VectorEnv.step`."""
        with apart():
            return tuple(self._stepped(Returned(*self.env.step(self._act(actions)))))  # type: ignore[return-value]

    def rollout(
        self, num_steps: int, policy: Policy | None = None, *, transitions: bool = True, policy_state: Any = None
    ) -> Rollout:
        """As `gpusim.rollout.rollout`, of what the wrapper gives and takes; step by step, whatever the backend."""
        return rollout(self, num_steps, policy, transitions=transitions, policy_state=policy_state)

    def get_state(self) -> WrapperState:
        """A copy of the wrapped environment's state and of what the wrapper remembers."""
        return WrapperState(self.env.get_state(), tree_map(torch.clone, self.own))

    def set_state(self, state: WrapperState | dict) -> None:
        """Puts back what `get_state` gave, here or around another environment of this kind.

        Raises:
            InputError: it is the state of something else; nothing has changed then.
        """
        given = state._asdict() if isinstance(state, WrapperState) else state
        if not isinstance(given, dict) or {"env", "own"} - set(given):
            raise InputError(f"a state must be what {type(self).__name__}.get_state gives, not {type(state).__name__}.")
        with apart():
            own = fit(given["own"], self.own, self.num_envs, self.device)
            self.env.set_state(given["env"])
            self.own = own

    @property
    def unwrapped(self) -> SteppedVectorEnv:  # type: ignore[override]
        return self.env.unwrapped

    def require_reset(self) -> None:
        self.env.require_reset()

    @property
    def device(self) -> torch.device:
        return self.env.device

    @property
    def autoreset_mode(self) -> AutoresetMode:
        return self.env.autoreset_mode

    @property
    def max_episode_steps(self) -> int | None:
        return self.env.max_episode_steps

    @property
    def copy(self) -> bool:
        return self.env.copy

    @property
    def validate(self) -> bool:
        return self.env.validate

    @property
    def clock(self) -> int:
        return self.env.clock

    @cached_property
    def observation_space(self) -> gymnasium.Space:  # type: ignore[override]
        if self.single_observation_space is self.env.single_observation_space:
            return self.env.observation_space
        return batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def action_space(self) -> gymnasium.Space:  # type: ignore[override]
        if self.single_action_space is self.env.single_action_space:
            return self.env.action_space
        return batch_space(self.single_action_space, self.num_envs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple:
        """The method (or attribute) `name`, the wrapper's or else the environment's, N times its result."""
        if not hasattr(self, checks.text("name", name)):
            return self.env.call(name, *args, **kwargs)
        value = getattr(self, name)
        return (value(*args, **kwargs) if callable(value) else value,) * self.num_envs

    def get_attr(self, name: str) -> tuple:
        return self.call(name) if hasattr(self, checks.text("name", name)) else self.env.get_attr(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Sets a parameter of the environment, as `VectorEnv.set_attr`."""
        self.env.set_attr(name, values)

    @property
    def seed(self) -> Tensor:
        return self.env.seed

    @property
    def index(self) -> Tensor:
        return self.env.index

    def observe(self) -> Tensor:
        """`[N, *obs]`, what to act on next."""
        return self._seen(self.env.observe())

    def begun(self) -> Tensor:
        """`[N]` bool, where `observe` gives the first of an episode."""
        return self.env.begun()

    def random_actions(self, block: int, count: int) -> Tensor:
        """As `VectorEnv.random_actions`, which draws alike whatever the space."""
        return self.env.random_actions(block, count)

    def check_actions(self, actions: Any) -> Tensor:
        """Actions as `step` takes them."""
        self.env.require_reset()
        return checks.actions(actions, self.single_action_space, self.num_envs, self.device, self.validate)

    def advance(
        self, actions: Tensor, *, observe: bool = True, tally: Tally | None = None
    ) -> tuple[Step, Tally | None]:
        """As `step`; see `gpusim.rollout.Steppable`."""
        step = Returned(*self.step(actions))
        step = step if self.copy else tree_map(torch.clone, step)
        ended, episode = step.infos["_final_obs"], step.infos["episode"]
        if tally:
            more = ended.float(), episode["r"] * ended, episode["l"] * ended
            tally = Tally(*(x + y for x, y in zip(tally, more, strict=True)))
        final = step.infos["final_obs"]
        flags = step.terminated, step.truncated, step.infos["reset"], step.valid
        return Step(step.obs, final, step.reward, *flags, episode["r"], episode["l"].float()), tally

    def advance_several(self, actions: list[Tensor], tally: Tally) -> Tally:
        """Some steps, of which nothing is wanted but the tally."""
        for action in actions:
            tally = self.advance(action, observe=False, tally=tally)[1] or tally
        return tally

    def fast_rollout(self, num_steps: int, policy: Policy | None, transitions: bool) -> Rollout | None:
        """None: kernels step environments, not wrappers."""
        return None

    def recorder(self, num_steps: int) -> Steps:
        """What makes and keeps the steps of a rollout, one by one."""
        return Steps(self)


Wrappable = SteppedVectorEnv | Wrapper
"""What a wrapper can be put around."""
