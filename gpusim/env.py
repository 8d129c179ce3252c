"""`Env`: what an environment is, as four pure functions of named scalars and the spaces they live in."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from gymnasium.spaces import Box, Discrete

from gpusim.fill import Later, recipe
from gpusim.remember import Remembers
from gpusim.reward import check_reward, shaped, widened
from gpusim.tables import joined, tables_of
from gpusim.trial import ready


class Uniform(NamedTuple):
    """A parameter drawn anew from [low, high) for every episode of every environment (domain randomization)."""

    low: float
    high: float


class Task(Protocol):
    """What is to be learned, wherever it steps: a `gpusim.Env`, a `gpusim.host.HostEnv`, or a simulator's."""

    @property
    def id(self) -> str: ...
    @property
    def observation_space(self) -> Box: ...
    @property
    def action_space(self) -> Discrete | Box: ...
    @property
    def max_episode_steps(self) -> int | None: ...
    @property
    def reward_threshold(self) -> float | None: ...


@dataclass(frozen=True, eq=False)
class Env(Remembers):
    """An environment, written once for one environment and run for many.

    The functions are made of the words of `gpusim.kernels.lang`. Where they say *lane*, they are given one value for
    each environment: a tensor `[N]` in torch, a block of registers in a Triton kernel. Where they give a lane, a number will
    do. They write into nothing that they are given, draw from `rng` alone, look at no lane's value, and let no environment
    depend on another; `gpusim.make` and `gpusim.register` try them on one step, and refuse what does. A function that takes
    long to make may be given as a `gpusim.fill.Recipe`, which is followed when the function is first asked for.

    Attributes:
        id: name and version, `"CartPole-v1"`.
        init: `init(rng, params) -> State`, the state an episode begins with, a `NamedTuple`. Every field is a lane of
            float32, int32, int64 or bool, or entities `[N, K]`, K a power of two, and keeps that dtype and shape.
        step: `step(state, action, rng, params) -> (State, reward, terminated)`, one transition, float32 reward and bool
            `terminated`. `action` is an int lane in [0, n) for `Discrete(n)`, a float32 lane for a `Box` of one entry, and a
            tuple of float32 lanes for a longer one. It knows neither time limits nor resets.
        observe: `observe(state, params) -> tuple of float32 lanes`, one for each entry of the observation. Of an image,
            `observe(state, cell, params)`, the value of a cell by its flat index: lanes and cells are given such that
            they broadcast to `[N, cells]`.
        params: a `NamedTuple` of finite numbers, the defaults. What derives from them is computed in the functions.
        observation_space: of one environment, a flat float32 `Box`, or an image's of two or three axes.
        action_space: of one environment, `Discrete` starting at 0, of fewer than 2**31 actions, or a flat float32 `Box`.
        max_episode_steps: the time limit after which an episode is truncated, `None` for no limit.
        reward_threshold: the mean return at which the task counts as solved, where its authors named one.
        tables: a `NamedTuple` of numbers that all environments share (prices, roads), each `[T]` or `[T, K]` of float32,
            int32 or bool, as tensors, arrays or lists. The functions find them in `params` by name, and read them by
            `gpusim.kernels.lang.take`. They lie on the device once, and are no part of a state; `gpusim.make(...,
            tables={...})` puts others in their place.
        render: `render(state, params) -> [H, W, 3]` uint8, the picture of one environment; fields are numbers or arrays
            `[K]`. Without it, an observation `[h, w, channels]` of bools is drawn cell by cell.
    """

    id: str
    init: Callable[..., Any]
    step: Callable[..., Any]
    observe: Callable[..., Any]
    params: Any
    observation_space: Box
    action_space: Discrete | Box
    max_episode_steps: int | None
    reward_threshold: float | None = None
    render: Callable[..., Any] | None = None
    tables: Any = None

    def __post_init__(self) -> None:
        if self.tables is not None:
            object.__setattr__(self, "tables", tables_of(self.id, self.params, self.tables))

    def with_tables(self, params: Any) -> Any:
        """What the functions are given: parameters, and the tables beside them."""
        return params if self.tables is None else joined(type(params), type(self.tables))(*params, *self.tables)

    def with_reward(self, reward: Callable[..., Any], *, params: Any = None, id: str | None = None) -> "Env":
        """The same environment with another reward: states, observations and ends of episodes stay as they are.

            def climb(state, action, next_state, reward, terminated, params):
                return reward + params.height * (sin(3.0 * next_state.position) + 1.0)

            env = mountain_car.with_reward(climb, params={"height": 0.5}, id="MountainCarClimb-v0")

        Made of the words of `gpusim.kernels.lang`, it runs on every backend, kernels included; a number that it closes
        over is a compile-time constant there. Made of other torch operations, it runs eagerly and compiled. Episode
        statistics add up the new reward, so `reward_threshold` is dropped; it can be changed again, one upon the other.

        Args:
            reward: `reward(state, action, next_state, reward, terminated, params) -> lane`, a function or a lambda;
                `reward` is what the environment gives by itself, a float32 lane. A number stands for all environments.
            params: further parameters, numbers by name, which `reward` finds in `params` beside the environment's own,
                and which `gpusim.make(..., params=...)` changes or draws as it does those.
            id: a name of its own, by which `gpusim.register` makes it known; None keeps the environment's.

        Raises:
            InputError: `reward` takes other arguments, fails on a step or gives no lane, does what a `step` may not; a
                parameter is no number or is there already.
        """
        from gpusim.checks import environment  # here, as gpusim.checks imports this module

        env = ready(environment(self), ())
        wider = env.params if params is None else widened(env.params, params, getattr(env.tables, "_fields", ()))
        check_reward(env, reward, wider)
        name = env.id if id is None else id
        return replace(env, id=name, step=shaped(env.step, reward), params=wider, reward_threshold=None)

    def __getstate__(self) -> dict[str, Any]:
        """Functions that were made of others go as those and how they were made."""
        return {name: recipe(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


for _role in ("init", "step", "observe"):
    setattr(Env, _role, Later(_role))
