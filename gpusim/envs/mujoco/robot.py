"""What the files of the robots share: their step, noise, spaces and picture."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from gpusim.envs.mujoco.emitted import Told, emitted
from gpusim.envs.mujoco.model import Robot
from gpusim.envs.mujoco.picture import Picture
from gpusim.fill import Recipe
from gpusim.kernels.lang import Lane, Rng, cos, log, sin, sqrt, uniform4, where

__all__ = ["Picture", "Told", "box", "normal4", "stepped", "unbounded"]

TURN = 2.0 * math.pi


def stepped(robot: Robot, state: type, outcome: Callable) -> Any:
    """`Env.step` of a robot, made when it is first asked for.

    Where positions or rates are not finite, or beyond 1e10, the state stays as it was, the reward is 0 and the episode ends.

    Args:
        state: as for `gpusim.envs.mujoco.emitted.emitted`.
        outcome: `outcome(state, action, new, told, params) -> (reward, terminated)`, in the words of `gpusim.kernels.lang`.
    """
    return Recipe(_stepped, (robot, state, outcome))


def _stepped(robot: Robot, state: type, outcome: Callable) -> Callable:
    simulate = emitted(robot, state)

    def step(state, action, rng, params):
        new, told = simulate(state, action, params)
        reward, terminated = outcome(state, action, new, told, params)
        return new, where(told.sound, reward, 0.0), terminated | ~told.sound

    step.recipe = (_stepped, (robot, state, outcome))  # type: ignore[attr-defined]
    return step


def normal4(rng: Rng, block: int) -> tuple[Lane, Lane, Lane, Lane]:
    """Four independent draws of mean 0 and deviation 1 (Box & Muller, 1958)."""
    a, b, c, d = uniform4(rng, block, 0.0, 1.0)
    first, second = sqrt(-2.0 * log(1.0 - a)), sqrt(-2.0 * log(1.0 - c))
    return first * cos(b * TURN), first * sin(b * TURN), second * cos(d * TURN), second * sin(d * TURN)


def unbounded(count: int) -> Box:
    """Observations of so many entries."""
    return Box(-np.inf, np.inf, (count,), np.float32)


def box(count: int, limit: float = 1.0) -> Box:
    """Actions of so many entries."""
    return Box(-limit, limit, (count,), np.float32)
