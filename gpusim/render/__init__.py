"""Pictures of environments: `gpusim.render`, and the frames behind videos.

`Env.render` draws one environment: a function of its author's, or Gymnasium's own renderer, given one row of state. A board
of bools, as MinAtar's games are seen, needs none and is drawn cell by cell. Only the rows that are shown leave the device.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gpusim import engine
from gpusim.env import Env, Task
from gpusim.errors import InputError, told
from gpusim.kernels.renamed import renamed
from gpusim.physics import PhysicsEnv
from gpusim.render import board, mujoco
from gpusim.render.classic import GymnasiumRenderer
from gpusim.render.grid import grid
from gpusim.tables import on_arrays, placed

FPS = 30  # frames per second where nobody says otherwise, as in Gymnasium

__all__ = ["env_indices", "fps", "frames", "grid", "render", "render_problem"]
__getattr__ = renamed(__name__, {"chosen": "env_indices", "problem": "render_problem"})


class Drawable(Protocol):
    """Environments whose state can be seen: a `gpusim.VectorEnv`, or robots of MuJoCo Warp."""

    num_envs: int

    @property
    def task(self) -> Env | PhysicsEnv: ...

    def snapshot(self, rows: list[int]) -> Any:
        """A `gpusim.state.Snapshot`; of robots what their integrator goes by."""


def render(env: object, indices: object = None, *, size: tuple[int, int] | None = (1080, 1920)) -> np.ndarray:
    """One picture of the environments as they stand, each beside the other.

        Image.fromarray(gpusim.render(env, range(16))).save("now.png")

    Args:
        env: a `gpusim.VectorEnv`, or a wrapper around one.
        indices: which, and in which order: a number, or several; None for all.
        size: height and width that the picture keeps to: frames are halved until it does. None leaves them as they are.

    Returns:
        `[H, W, 3]` uint8; of one environment its frame.

    Raises:
        InputError: the environment cannot be drawn, or there is none of that index.
        ResetNeeded: there has been no reset.
    """
    venv = _vector_env(env)
    which = env_indices(indices, venv.num_envs)
    if size is not None and not (isinstance(size, tuple | list) and len(size) == 2 and all(map(_length, size))):
        raise InputError(f"size must be None or a height and a width in pixels, not {told(size)}.")
    return grid(frames(venv, which), len(which), size)


def frames(env: Drawable, indices: list[int]) -> Iterator[np.ndarray]:
    """The frames `[H, W, 3]` uint8 of those environments, one after the other."""
    venv = _vector_env(env)
    if sentence := render_problem(venv.task):
        raise InputError(sentence)
    if isinstance(venv.task, PhysicsEnv):
        yield from mujoco.frames(venv.task, venv.snapshot(indices), len(indices))
        return
    state, params, actions = venv.snapshot(indices)
    if venv.task.render is None and board.drawable(venv.task):
        task = placed(venv.task, torch.device("cpu"))
        yield from map(board.frame, engine.observation(task, state, params).numpy())
        return
    shape, task = None, on_arrays(venv.task)
    for i in range(len(indices)):
        s, p = (type(x)(*(_value(field, i) for field in x)) for x in (state, params))
        frame = _frame(task, s, task.with_tables(p), actions[i])
        shape = shape or frame.shape
        if frame.shape != shape:
            raise InputError(
                f"render of {venv.task.id} must give every picture one shape, not {shape} and {frame.shape}."
            )
        yield frame


def fps(env: Env | PhysicsEnv) -> int:
    """How many steps make a second to look at."""
    if isinstance(env, PhysicsEnv):
        return mujoco.fps(env)
    return board.FPS if env.render is None and board.drawable(env) else getattr(env.render, "fps", FPS)


def render_problem(env: Task) -> str | None:
    """Why an environment cannot be drawn, and how it could be; None where it can."""
    if isinstance(env, PhysicsEnv):
        return mujoco.problem(env)
    if isinstance(env, Env) and (env.render is not None or board.drawable(env)):
        return None
    return (
        f"{env.id} cannot be drawn: give its Env a function render(state, params) "
        "that returns a uint8 array of shape (H, W, 3)."
    )


def env_indices(indices: Any, num_envs: int) -> list[int]:
    """The environments that are meant; see `render`.

    Raises:
        InputError: there is none of that index, or none is meant.
    """
    if indices is None:
        return list(range(num_envs))
    try:
        given = indices.tolist() if isinstance(indices, Tensor | np.ndarray) else indices
    except (RuntimeError, TypeError):
        raise InputError(f"indices must be whole numbers, not {told(indices)}.") from None
    try:
        which = [given] if isinstance(given, int | np.integer) else list(given)
    except TypeError:
        which = [given]
    for index in which:
        if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < num_envs:
            raise InputError(f"indices must be whole numbers from 0 to {num_envs - 1}, not {told(index)}.")
    if not which:
        raise InputError("indices names no environment: there is nothing to draw.")
    return [int(index) for index in which]


def _length(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and bool(value > 0)


def _vector_env(env: object) -> Drawable:
    venv: Any = getattr(env, "unwrapped", None)
    if not callable(getattr(venv, "snapshot", None)):
        raise InputError(f"only what gpusim.make gives, and wrappers of it, can be drawn, not {type(env).__name__}.")
    return venv


def _value(field: Any, i: int) -> Any:
    """One environment's: a number, or an array `[K]`."""
    if not isinstance(field, Tensor):
        return field
    return field[i].item() if field.ndim == 1 else field[i].numpy()


def _frame(env: Env, state: Any, params: Any, action: Any) -> np.ndarray:
    draw: Any = env.render
    frame = draw(state, params, action) if isinstance(draw, GymnasiumRenderer) else draw(state, params)
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape[2:] == (3,) and frame.size:
        return frame
    got = f"{frame.dtype} of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
    raise InputError(f"render of {env.id} must give a uint8 array of shape (H, W, 3), not {got}.")
