"""`PhysicsEnv`: an environment whose step a physics engine takes, as a model and a few torch functions on its arrays."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim.draws import beside, normals, uniforms
from gpusim.errors import InputError, told
from gpusim.physics_trial import ARGUMENTS, tried
from gpusim.remember import Remembers
from gpusim.sim.mujoco_model import bounds
from gpusim.trial import takes

__all__ = ["NoParams", "PhysicsEnv", "beside", "normals", "uniforms"]


class NoParams(NamedTuple):
    """Of an environment without parameters."""


class PhysicsEnv(Remembers):
    """An environment of MuJoCo's: a model, and torch functions that say what is begun with, seen, and rewarded.

    The functions are given all N worlds at once, and parameters as numbers or lanes `[N]` (`beside` gives them as many axes
    as what they meet). They write into nothing that they are given, look at no value of a tensor (`if`, `.item()`,
    `.nonzero()`), and draw from `rng` alone, by `uniforms` and `normals`.

        def observe(data, params):
            return torch.cat([data.qpos, data.qvel], 1)

    Args:
        id: name and version, `"Robot-v0"`.
        model: XML, the path of a file of it, a `mujoco.MjSpec`, or a `mujoco.MjModel`.
        observe: `observe(data, params) -> [N, d]` float32; see `gpusim.sim.mujoco_model.Rows` for `data`. Derived quantities
            (`xpos`, `cvel`, ...) are those of the last evaluation, as after `mj_step`: with most integrators they lag
            `qpos` by a step of the model.
        reward: `reward(before, data, action, params) -> [N]`, or a dict of such parts by name, which add up to it and which
            `infos` tells; `before` is what `data` was before the step.
        begin: `begin(rng, model, params) -> (qpos, qvel)`, `[N, nq]` and `[N, nv]` or what broadcasts to them; or a dict of
            these and of further state (`act`, `ctrl`, `mocap_pos`, ...). What is not given is the model's own, or zero.
            None: every episode begins as the model stands.
        terminated: `terminated(data, params) -> [N]` bool; None: only the time limit ends an episode.
        control: `control(action, params) -> [N, nu]`; None: actions are controls.
        params: a `NamedTuple` of numbers, the defaults.
        fields: by the name of a model's array (`"dof_damping"`, `"opt.gravity"`), `field(own, params)`, what it is by the
            parameters. `own` is `[1, ...]`, and parameters that each world has for itself have as many axes. What MuJoCo
            derives of `body_mass` and its like is derived anew.
        frame_skip: steps of the model in one of the environment.
        observation_space: None: a `Box` without bounds, as wide as what `observe` gives.
        action_space: None: a `Box` of the actuators' `ctrlrange`.
        max_episode_steps: the time limit, None for none.
        reward_threshold: the mean return at which it counts as solved.
        nconmax: contacts that a world has room for (they share it); None: mujoco_warp's guess.
        njmax: rows of constraints that a world has room for; None: mujoco_warp's guess.
        camera: name of the camera that pictures are taken by; None: a free one, which follows the first body.

    A solver PGS in the model, which mujoco_warp has not, is replaced by Newton's: both solve the same problem.
    """

    def __init__(
        self,
        *,
        id: str,
        model: Any,
        observe: Callable[..., Any],
        reward: Callable[..., Any],
        begin: Callable[..., Any] | None = None,
        terminated: Callable[..., Any] | None = None,
        control: Callable[..., Any] | None = None,
        params: Any = NoParams(),  # noqa: B008 - a tuple
        fields: Mapping[str, Callable[..., Any]] | None = None,
        frame_skip: int = 1,
        observation_space: Box | None = None,
        action_space: Box | Discrete | None = None,
        max_episode_steps: int | None = None,
        reward_threshold: float | None = None,
        nconmax: int | None = None,
        njmax: int | None = None,
        camera: str | None = None,
    ):
        given = dict(locals())
        self.given = {name: value for name, value in given.items() if name not in ("self", "__class__")}
        self.id, self.model, self.params, self.fields = id, model, params, dict(fields or {})
        self.observe, self.reward, self.begin = observe, reward, begin
        self.terminated, self.control = terminated, control
        self.max_episode_steps, self.reward_threshold = max_episode_steps, reward_threshold
        self.frame_skip, self.nconmax, self.njmax, self.camera = frame_skip, nconmax, njmax, camera
        self._check()

    def _check(self) -> None:
        if not isinstance(self.id, str):
            raise InputError(f"the id of an environment must be a text, not {told(self.id)}.")
        for role, arguments in ARGUMENTS.items():
            function = getattr(self, role)
            if function is not None or role in ("observe", "reward"):
                takes(function, arguments, f"the {role} of {self.id}")
        for name, least in (("frame_skip", 1), ("nconmax", 0), ("njmax", 0), ("max_episode_steps", 1)):
            value = getattr(self, name)
            none = value is None and name != "frame_skip"
            if not none and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least):
                raise InputError(f"{name} of {self.id} must be a whole number from {least} on, not {told(value)}.")
        numbers = [isinstance(x, int | float) and not isinstance(x, bool) for x in self.params]
        if not hasattr(self.params, "_fields") or not all(numbers) or not np.isfinite(self.params).all():
            raise InputError(
                f"the params of {self.id} must be a NamedTuple of finite numbers, not {told(self.params)}."
            )

    def replace(self, **changes: Any) -> "PhysicsEnv":
        """The same environment but for these arguments."""
        if unknown := sorted(set(changes) - set(self.given)):
            raise InputError(f"a PhysicsEnv has no {unknown[0]}; it has {', '.join(self.given)}.")
        return PhysicsEnv(**(self.given | changes))

    def __reduce__(self) -> Any:
        return _again, (self.given,)

    @property
    def observation_space(self) -> Box:
        """Of one environment; where it was not given, the functions are run for it."""
        given: Any = self.given["observation_space"]
        return Box(-np.inf, np.inf, (tried(self).width,), np.float32) if given is None else given

    @property
    def action_space(self) -> Box | Discrete:
        """Of one environment; where it was not given, the model is read for it."""
        given: Any = self.given["action_space"]
        return bounds(tried(self).host) if given is None else given

    def __repr__(self) -> str:
        return f"PhysicsEnv({self.id!r})"


def _again(given: dict[str, Any]) -> PhysicsEnv:
    return PhysicsEnv(**given)
