"""Pictures of robots, by MuJoCo's own renderer, which is given one row of state. It draws into memory, by EGL or OSMesa."""

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from gpusim.errors import InputError, said
from gpusim.physics import PhysicsEnv
from gpusim.physics_trial import tried
from gpusim.remember import by_env
from gpusim.sim.mujoco_model import library

SIZE = 480  # pixels, as Gymnasium's


def fps(env: PhysicsEnv) -> int:
    """As many as the environment has steps in a second."""
    return max(1, round(1.0 / (float(tried(env).host.opt.timestep) * env.frame_skip)))


def problem(env: PhysicsEnv) -> str | None:
    """Why robots cannot be drawn here, and how they could be; None where they can."""
    return _problem()


@cache
def _problem() -> str | None:
    mujoco = library("mujoco", "a picture of a robot")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GLFW's, that there is no display
            mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).close()
    except Exception as error:  # whatever its libraries raise
        return (
            f"robots are drawn by MuJoCo, which cannot draw here ({said(error) or type(error).__name__}): install EGL "
            "(Debian, Ubuntu: apt install libegl1) or OSMesa (libosmesa6), and where mujoco was imported before gpusim made "
            "one, set MUJOCO_GL=egl or MUJOCO_GL=osmesa."
        )
    return None


def frames(env: PhysicsEnv, state: dict[str, np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The frames `[H, W, 3]` uint8 of worlds in that state, by name `[K, ...]`, one after the other.

    Raises:
        InputError: they cannot be drawn here.
    """
    if sentence := problem(env):
        raise InputError(sentence)
    painter = _painter(env)
    for i in range(count):
        yield painter.frame({name: values[i] for name, values in state.items()})


@by_env
def _painter(env: PhysicsEnv) -> "Painter":
    return Painter(env)


class Painter:
    """The renderer of one model."""

    def __init__(self, env: PhysicsEnv):
        self.mujoco, self.host = library("mujoco", env.id), tried(env).host
        self.data = self.mujoco.MjData(self.host)
        self.renderer = self.mujoco.Renderer(self.host, SIZE, SIZE)
        self.camera: Any = env.camera
        if self.camera is None:
            self.camera = self.mujoco.MjvCamera()
            self.mujoco.mjv_defaultFreeCamera(self.host, self.camera)
            if self.host.nbody > 1:
                self.camera.type, self.camera.trackbodyid = self.mujoco.mjtCamera.mjCAMERA_TRACKING, 1

    def frame(self, state: dict[str, np.ndarray]) -> np.ndarray:
        for name, values in state.items():
            if name == "time":
                self.data.time = float(values)
            else:
                getattr(self.data, name)[...] = values
        self.mujoco.mj_forward(self.host, self.data)
        self.renderer.update_scene(self.data, self.camera)
        return self.renderer.render()
