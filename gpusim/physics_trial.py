"""The functions of a `PhysicsEnv`, run once on a few worlds of MuJoCo's own: nothing is compiled for it.

So it is known what they read and how wide an observation is, and whoever gives something else than is asked for reads a
sentence that says so, with the function and the line.
"""

from copy import copy
from typing import Any, NamedTuple, NoReturn

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from gpusim import errors
from gpusim.draws import beside
from gpusim.errors import InputError
from gpusim.kernels.lang import STREAM_INIT, Rng
from gpusim.precision import float32
from gpusim.remember import by_env
from gpusim.sim.mujoco_model import STATE, Model, bounds, host_field, library, load
from gpusim.trial import described, line, written_at

ARGUMENTS = {
    "begin": "rng, model, params",
    "control": "action, params",
    "observe": "data, params",
    "reward": "before, data, action, params",
    "terminated": "data, params",
}
WORLDS = 3


class Tried(NamedTuple):
    """What is known of a `PhysicsEnv` whose functions were run once."""

    host: Any  # mujoco.MjModel
    reads: tuple[str, ...]  # the arrays that its functions read
    width: int  # of an observation
    parts: tuple[str, ...]  # of the reward, where it is told in parts


@by_env
@float32
def tried(env: Any, *lanes: str) -> Tried:
    """What is found by running the functions of a `gpusim.PhysicsEnv`.

    Args:
        lanes: the parameters that each world has for itself.

    Raises:
        InputError: the model cannot be read, or a function fails, or gives what it should not; the sentence says which.
    """
    with torch.inference_mode(False), torch.no_grad():
        return Trial(env, lanes).run()


class Recording:
    """Worlds as the functions see them; whatever is read is noted."""

    def __init__(self, worlds: list[Any], model: Model, reads: dict[str, None]):
        self.model = model
        self._worlds, self._reads = worlds, reads

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            found = host_field(self._worlds, name, len(self._worlds))
        except AttributeError:
            raise InputError(f"MuJoCo's data have no array {name!r}, which {self.model.id} reads.") from None
        self._reads[name] = None
        return found


class Trial:
    """Three worlds in MuJoCo's own memory.

    Args:
        env: a `gpusim.PhysicsEnv`.
        lanes: see `tried`.
    """

    def __init__(self, env: Any, lanes: tuple[str, ...] = ()):
        self.env, self.mujoco = env, library("mujoco", env.id)
        self.host = load(env.model, env.id)
        self.worlds = [self.mujoco.MjData(self.host) for _ in range(WORLDS)]
        self.model = Model(self.host, env.frame_skip, env.id, lambda name: host_field(self.host, name, 1))
        self.reads: dict[str, None] = {}
        given = env.params._asdict()
        self.params = type(env.params)(
            *(torch.full((WORLDS,), float(v)) if k in lanes else v for k, v in given.items())
        )

    def run(self) -> Tried:
        env, host = self.env, self.host
        self._begin()
        self._observe()
        action = self._action()
        self._control(action)
        before = self._seen([copy(world) for world in self.worlds])
        for world in self.worlds:
            self.mujoco.mj_step(host, world, env.frame_skip)
            self.mujoco.mj_rnePostConstraint(host, world)
        parts = self._reward(before, action)
        if env.terminated is not None:
            self._vector("terminated", "what it", self.call("terminated", self._seen(), self.params), torch.bool)
        width = self._observe()
        for name, field in env.fields.items():
            self._field(name, field)
        return Tried(host, tuple(self.reads), width, parts)

    def _seen(self, worlds: list[Any] | None = None) -> Recording:
        return Recording(self.worlds if worlds is None else worlds, self.model, self.reads)

    def _begin(self) -> None:
        if self.env.begin is not None:
            zero, index = torch.zeros((), dtype=torch.int64), torch.arange(WORLDS)
            rng = Rng(zero, index, torch.zeros_like(index), 0, STREAM_INIT)
            for name, value in self._started(self.call("begin", rng, self.model, self.params)).items():
                like = host_field(self.worlds, name, WORLDS)
                for world, row in zip(self.worlds, self._fitting(name, value, like), strict=True):
                    getattr(world, name)[...] = row.reshape(getattr(world, name).shape)
        for world in self.worlds:
            self.mujoco.mj_forward(self.host, world)

    def _started(self, given: Any) -> dict[str, Any]:
        fields = started(given)
        if fields is None:
            self.refuse(
                "begin", f"gives {described(given)} where qpos and qvel are meant, or a dict of {', '.join(STATE)}"
            )
        return fields

    def _fitting(self, name: str, value: Any, like: Tensor) -> Tensor:
        try:
            return torch.as_tensor(value).broadcast_to(like.shape).numpy()  # type: ignore[return-value]
        except (RuntimeError, TypeError, ValueError):
            meant = self._shape(like)
            self.refuse(
                "begin", f"gives {described(value)} as {name}, where {meant} is meant, or what broadcasts to it"
            )

    @staticmethod
    def _shape(like: Tensor) -> str:
        return f"[{', '.join(map(str, like.shape))}] for {WORLDS} worlds"

    def _action(self) -> Tensor:
        given: Any = self.env.given["action_space"]
        space = bounds(self.host) if given is None else given
        if isinstance(space, Discrete):
            return torch.zeros(WORLDS, dtype=torch.int64)
        assert isinstance(space, Box)
        return torch.zeros(WORLDS, *space.shape).clamp(torch.from_numpy(space.low), torch.from_numpy(space.high))

    def _control(self, action: Tensor) -> None:
        control = action if self.env.control is None else self.call("control", action, self.params)
        shape = (WORLDS, self.host.nu)
        if not isinstance(control, Tensor) or control.shape != shape:
            what = "gives" if self.env.control else "is None, and actions are"
            self.refuse(
                "control",
                f"{what} {described(control)} where controls are meant, [{WORLDS}, {self.host.nu}] for {WORLDS} worlds",
            )
        for world, row in zip(self.worlds, control.double().numpy(), strict=True):
            world.ctrl[:] = row

    def _observe(self) -> int:
        seen = self.call("observe", self._seen(), self.params)
        if not isinstance(seen, Tensor) or seen.ndim != 2 or len(seen) != WORLDS or seen.dtype != torch.float32:
            self.refuse("observe", f"gives {described(seen)} where float32 [{WORLDS}, d] is meant for {WORLDS} worlds")
        space: Any = self.env.given["observation_space"]
        if space is not None and space.shape != tuple(seen.shape[1:]):
            self.refuse("observe", f"gives {seen.shape[1]} numbers of a world where its observation_space is {space}")
        if not seen.isfinite().all():
            self.refuse("observe", "gives numbers that are not finite (nan or infinite) at the first step")
        return seen.shape[1]

    def _reward(self, before: Recording, action: Tensor) -> tuple[str, ...]:
        reward = self.call("reward", before, self._seen(), action, self.params)
        if not isinstance(reward, dict):
            self._vector("reward", "what it", reward, torch.float32)
            return ()
        for name, part in reward.items():
            self._vector("reward", f"its part {name!r}", part, torch.float32)
        if not reward:
            self.refuse("reward", "gives no part")
        return tuple(reward)

    def _vector(self, role: str, which: str, value: Any, dtype: torch.dtype) -> None:
        if not isinstance(value, Tensor) or value.shape != (WORLDS,) or value.dtype != dtype:
            name = str(dtype).removeprefix("torch.")
            self.refuse(
                role, f"gives {described(value)} as {which} gives, where {name} [{WORLDS}] is meant for {WORLDS} worlds"
            )
        if not value.isfinite().all():
            self.refuse(role, "gives a number that is not finite (nan or infinite) at the first step")

    def _field(self, name: str, field: Any) -> None:
        try:
            own = host_field(self.host, name, 1)
        except AttributeError:
            raise InputError(
                f"MuJoCo's models have no array {name!r}, which the fields of {self.env.id} name."
            ) from None
        try:
            made = field(own, widened(self.params, own.ndim))
            assert isinstance(made, Tensor)
            made.broadcast_to(WORLDS, *own.shape[1:])
        except Exception as error:
            said = errors.said(error) or type(error).__name__
            raise InputError(
                f"the field {name!r} of {self.env.id} must give a tensor like its own, {tuple(own.shape)}, or one of it for "
                f"each world ({said})."
            ) from error

    def call(self, role: str, *args: Any) -> Any:
        try:
            return getattr(self.env, role)(*args)
        except InputError:
            raise
        except Exception as error:
            said = errors.said(error)
            self.refuse(role, f"fails by {type(error).__name__}{said and f' ({said})'}", line(error), error)

    def refuse(self, role: str, what: str, at: str = "", cause: BaseException | None = None) -> NoReturn:
        function = getattr(self.env, role)
        place = at or (written_at(function) if function else "")
        raise InputError(f"the {role} of {self.env.id}{place and f' ({place})'} {what}.") from cause


def started(given: Any) -> dict[str, Any] | None:
    """What a `begin` gave, by name; None where that is neither of what it may give."""
    if isinstance(given, dict):
        return given if set(given) <= set(STATE) else None
    return {"qpos": given[0], "qvel": given[1]} if isinstance(given, tuple) and len(given) == 2 else None


def widened(params: Any, ndim: int) -> Any:
    """Parameters beside a field `[N, ...]` of so many axes."""
    return type(params)(*(beside(p, ndim) for p in params))
