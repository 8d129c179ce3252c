"""The classic-control games by Gymnasium's own renderers, which are given one row of state."""

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from gpusim.env import Env
from gpusim.envs import acrobot, cartpole, mountain_car, mountain_car_continuous, pendulum
from gpusim.errors import InputError


class Classic(NamedTuple):
    """A game as Gymnasium has it."""

    id: str
    fps: int
    params: dict[str, str]  # attribute of Gymnasium's environment: our parameter, of those that its picture shows


HILL = {name: name for name in ("min_position", "max_position", "goal_position")}
THEIRS = {
    cartpole.observe: Classic("CartPole-v1", 50, {"length": "half_length", "x_threshold": "x_limit"}),
    acrobot.observe: Classic("Acrobot-v1", 15, {"LINK_LENGTH_1": "length1"}),
    mountain_car.observe: Classic("MountainCar-v0", 30, HILL),
    mountain_car_continuous.observe: Classic("MountainCarContinuous-v0", 30, HILL),
    pendulum.observe: Classic("Pendulum-v1", 30, {}),
}


def fps(env: Env) -> int | None:
    """Frames per second of Gymnasium's environment of the same states; None where there is none."""
    known = THEIRS.get(env.observe)
    return known and known.fps


def frame(env: Env, state: Any, params: Any, action: Any) -> np.ndarray:
    """`[H, W, 3]` uint8; `action` is shown by Pendulum alone, None where there was none.

    Raises:
        InputError: pygame is not installed, or the renderer cannot draw that state.
    """
    known = THEIRS[env.observe]
    theirs: Any = _environment(known.id)
    for name, ours in known.params.items():
        setattr(theirs, name, getattr(params, ours))
    theirs.state = np.array(state, np.float64)
    if env.observe is pendulum.observe:
        theirs.last_u = None if action is None else float(np.clip(action[0], -params.max_torque, params.max_torque))
    try:
        with _somewhere_to_draw():
            return theirs.render()
    except gymnasium.error.DependencyNotInstalled:
        raise InputError(f'{env.id} is drawn by pygame, which is missing: pip install "gpusim[video]"') from None
    except (ValueError, OverflowError, TypeError) as error:
        raise InputError(f"Gymnasium's renderer cannot draw {env.id} at {state}: {error}.") from None


@functools.cache
def _environment(name: str) -> gymnasium.Env:
    """One for all rows; its screen is a surface in memory, no window."""
    return gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True).unwrapped


@contextmanager
def _somewhere_to_draw() -> Iterator[None]:
    """Where there is no display, SDL's driver that needs none, and no complaint on the terminal."""
    if sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"} & set(os.environ):
        yield
        return
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    try:
        yield
    finally:
        del os.environ["SDL_VIDEODRIVER"]
