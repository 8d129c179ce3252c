"""`PhysicsVectorEnv`: N environments of a `PhysicsEnv` behind Gymnasium's vector interface."""

from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim import checks
from gpusim.base import apart
from gpusim.env import Uniform
from gpusim.errors import InputError
from gpusim.physics import PhysicsEnv
from gpusim.precision import float32
from gpusim.registry import spec
from gpusim.render import fps, frames, render_problem
from gpusim.sim.mujoco_warp import MujocoWarp
from gpusim.sim.stateful import SimulatorVectorEnv

BACKENDS = ("auto", "warp")


class PhysicsVectorEnv(SimulatorVectorEnv):
    """`num_envs` environments of a `PhysicsEnv`, stepped together by MuJoCo Warp; otherwise as `gpusim.VectorEnv`.

    `infos` has the parts of the reward too, `[N]` each, where the environment tells them.

    Args:
        env: an id, or a `gpusim.PhysicsEnv`.
        num_envs: N.
        device: `"auto"` (CUDA where there is a GPU), `"cpu"`, `"cuda"`, `"cuda:N"`.
        backend: `"auto"` or `"warp"`, of which there is one.
        autoreset_mode: `"same_step"`, `"next_step"` or `"disabled"`.
        params: changed parameters by name; each a number, a tensor `[N]`, or a `gpusim.Uniform` drawn at every reset.
        max_episode_steps: the time limit; None takes the environment's own, -1 takes none.
        copy: whether every step returns tensors of its own. With False the same tensors are filled anew at each step.
        validate: whether to look at the values of actions and masks, for which a GPU has to stop; None: on the CPU only.
        render_mode: `"rgb_array"` makes `render` give frames; `gpusim.render` draws without it.
        first_env: the number of the first environment, see `gpusim.VectorEnv`.
        deterministic: whether a GPU has to give the same bits at every run, which costs time; a CPU does so anyway.

    Raises:
        InputError: an argument cannot be used, the environment breaks a promise of `PhysicsEnv`, or a library is missing.
    """

    backend = "warp"
    task: PhysicsEnv
    simulator: MujocoWarp

    def __init__(
        self,
        env: str | PhysicsEnv,
        num_envs: int = 1,
        *,
        device: str | torch.device = "auto",
        backend: str = "auto",
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        params: Any = None,
        max_episode_steps: int | None = None,
        copy: bool = True,
        validate: bool | None = None,
        render_mode: str | None = None,
        first_env: int = 0,
        deterministic: bool = False,
    ):
        task = spec(env)
        if not isinstance(task, PhysicsEnv):
            raise InputError(f"{task.id} is stepped by gpusim itself, not by MuJoCo: make it by gpusim.make.")
        if backend not in BACKENDS:
            raise InputError(
                f'{task.id} is stepped by MuJoCo Warp: use backend "auto" or "warp", not {checks.told(backend)}.'
            )
        checks.render_mode(render_mode)
        if render_mode and (undrawn := render_problem(task)):
            raise InputError(undrawn)
        self.deterministic = deterministic
        simulator = MujocoWarp(task, num_envs, device, params=params, deterministic=deterministic)
        super().__init__(
            simulator,
            autoreset_mode=autoreset_mode,
            max_episode_steps=max_episode_steps,
            copy=copy,
            validate=validate,
            first_env=first_env,
        )
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_modes": ["rgb_array"], "render_fps": fps(task)}

    @property
    def params(self) -> Any:
        """The parameters, a `NamedTuple` of numbers, tensors `[N]` and `Uniform` ranges; change them by `set_attr`."""
        return self.simulator.given

    def faults(self) -> Any:
        """What the physics dropped or broke since the environments were made, see `gpusim.sim.faults.Faults`; to look, the
        host waits for the device."""
        return self.simulator.faults.read()

    def get_attr(self, name: str) -> tuple:
        """A parameter of the environment (each environment's own value) or an attribute of this object, N times."""
        if checks.text("name", name) not in self.params._fields:
            return self.call(name)
        value = getattr(self.simulator.params, name)
        return tuple(value.tolist()) if isinstance(value, Tensor) else (value,) * self.num_envs

    @float32
    def set_attr(self, name: str, values: Any) -> None:
        """Sets a parameter from the next step on: a number for all, one for each, or a `gpusim.Uniform` (from the next
        reset on).

        Raises:
            InputError: the environment has no such parameter, or the values do not fit.
        """
        given = {**self.params._asdict(), checks.text("name", name): values}
        with apart():
            old = self.simulator
            new = MujocoWarp(self.task, self.num_envs, self.device, params=given, deterministic=self.deterministic)
            state = old.state()
            kept = {lane: getattr(old.params, lane) for lane in new.lanes}
            if name in new.lanes and not isinstance(values, Uniform):
                kept[name] = getattr(new.params, name)
            full = {
                lane: torch.as_tensor(value, device=self.device).expand(self.num_envs) for lane, value in kept.items()
            }
            new.load(state._replace(params=full))
            new.faults = old.faults
            self.simulator = new

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple:
        """The method (or attribute) `name` of this object, its result once for each environment; of `render` its frame."""
        if checks.text("name", name) == "render":
            return self.render() or (None,) * self.num_envs
        return super().call(name, *args, **kwargs)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Every environment's frame `[H, W, 3]` uint8, or None without a `render_mode`; `gpusim.render` puts them in one."""
        return tuple(frames(self, list(range(self.num_envs)))) if self.render_mode else None

    def snapshot(self, rows: list[int]) -> dict[str, np.ndarray]:
        """Those environments as they stand, for whoever draws them: what the integrator goes by, `[K, ...]`."""
        self.require_reset()
        state = self.simulator.state().physics
        row = torch.tensor(rows, device=self.device)
        return {name: values[row].cpu().numpy() for name, values in state.items()}

    def __repr__(self) -> str:
        return f"PhysicsVectorEnv({self.task.id!r}, num_envs={self.num_envs}, device={str(self.device)!r})"
