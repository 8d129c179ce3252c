"""Pictures by Gymnasium's own renderers, which are given one row of state."""

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from gpusim.errors import InputError


@dataclass(frozen=True)
class GymnasiumRenderer:
    """`Env.render` by Gymnasium's environment of the same states."""

    id: str
    fps: int  # frames per second to look at
    shown: dict[str, str]  # attribute of Gymnasium's environment: our parameter, of those that its picture shows
    torque: str = (
        ""  # the attribute that holds the last action, clipped to the parameter `max_torque`; none: it is not shown
    )

    def __call__(self, state: Any, params: Any, action: Any = None) -> np.ndarray:
        """`[H, W, 3]` uint8; `action` is None where there was none.

        Raises:
            InputError: pygame is not installed, or the renderer cannot draw that state.
        """
        theirs: Any = _environment(self.id)
        for name, ours in self.shown.items():
            setattr(theirs, name, getattr(params, ours))
        theirs.state = np.array(state, np.float64)
        if self.torque:
            limit = params.max_torque
            setattr(theirs, self.torque, None if action is None else float(np.clip(action[0], -limit, limit)))
        try:
            with _somewhere_to_draw():
                return theirs.render()
        except gymnasium.error.DependencyNotInstalled:
            raise InputError(f'{self.id} is drawn by pygame, which is missing: pip install "gpusim[video]"') from None
        except (ValueError, OverflowError, TypeError) as error:
            raise InputError(f"Gymnasium's renderer cannot draw {self.id} at {state}: {error}.") from None


def gymnasium_renderer(id: str, *same: str, fps: int, torque: str = "", **shown: str) -> GymnasiumRenderer:
    """Draws a row of state by Gymnasium's own renderer of the environment `id`, which holds it in an array `state`.

    Args:
        same: its attributes that the picture depends on, and that are parameters of the same name here.
        fps: frames per second to look at.
        torque: its attribute for the last torque, where it shows one.
        shown: further attributes, with the parameter that each of them is here.
    """
    return GymnasiumRenderer(id, fps, {name: name for name in same} | shown, torque)


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
