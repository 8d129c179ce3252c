"""MuJoCo's models: read from XML, a `MjSpec` or a `MjModel`, and looked into by name. MuJoCo is imported where one is."""

import ctypes
import difflib
import os
import sys
import warnings
from collections.abc import Callable
from copy import copy
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim.errors import InputError, said, told

STATE = (  # what MuJoCo's integrators go by; of a model, those of no width are left out
    "time", "qpos", "qvel", "act", "history", "plastic", "qacc_warmstart", "ctrl", "qfrc_applied", "xfrc_applied",
    "eq_active", "mocap_pos", "mocap_quat", "userdata",
)  # fmt: skip
COUNTS = {
    "body": "nbody", "geom": "ngeom", "site": "nsite", "actuator": "nu", "tendon": "ntendon", "joint": "njnt",
    "sensor": "nsensor",
}  # fmt: skip
EXTRA = 'pip install "gpusim[mujoco]"'


def library(name: str, id: str) -> Any:
    """The module `mujoco`, `mujoco_warp` or `warp`.

    Raises:
        InputError: it is not installed, or cannot be imported.
    """
    if "mujoco" not in sys.modules:
        _draw_without_a_window()
    try:
        return import_module(name)
    except AttributeError as error:  # of OpenGL's libraries
        raise InputError(f"{id} needs mujoco, which cannot be imported ({said(error)}): unset MUJOCO_GL.") from error
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] not in ("mujoco", "mujoco_warp", "warp"):
            raise
        raise InputError(f"{id} needs mujoco and mujoco-warp, which are not installed: {EXTRA}.") from None


def _draw_without_a_window() -> None:
    """MuJoCo chooses as it is imported by what it will draw; where there is no display, it would find no window."""
    if sys.platform != "linux" or os.environ.get("DISPLAY") or "MUJOCO_GL" in os.environ:
        return
    for name, file in (("egl", "libEGL.so.1"), ("osmesa", "libOSMesa.so")):
        try:
            ctypes.CDLL(file)
        except OSError:
            continue
        os.environ["MUJOCO_GL"] = name
        return


def of_gymnasium(file: str | Path) -> Path:
    """One of the model files that come with Gymnasium, as "ant.xml"; of a whole path, that itself."""
    return Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / file


def load(model: Any, id: str) -> Any:
    """A `mujoco.MjModel` of one's own; what MuJoCo has to remark on the model is a warning.

    Args:
        model: XML, or the path of a file of it, a `mujoco.MjSpec`, or a `mujoco.MjModel`, which is copied.
        id: of whom it is, for a refusal.

    Raises:
        InputError: it cannot be read, or MuJoCo is not installed.
    """
    mujoco = library("mujoco", id)
    remarks: list[str] = []
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(remarks.append)  # else they go to stderr, and into a file in the working directory
    try:
        made = _compiled(mujoco, model, id)
    finally:
        mujoco.set_mju_user_warning(before)
    if str(model).startswith(str(of_gymnasium(""))):  # which nobody here can mend
        remarks = []
    for remark in remarks:
        warnings.warn(f"MuJoCo says of the model of {id}: {said(ValueError(remark))}.", UserWarning, stacklevel=2)
    return made


def _compiled(mujoco: Any, model: Any, id: str) -> Any:
    if isinstance(model, mujoco.MjModel):
        return copy(model)
    try:
        if isinstance(model, mujoco.MjSpec):
            return model.copy().compile()
        if isinstance(model, str) and model.lstrip().startswith("<"):
            return mujoco.MjModel.from_xml_string(model)
        if isinstance(model, str | Path):
            if not Path(model).is_file():
                raise InputError(f"the model of {id} is not there: no file {told(str(model))}.")
            return mujoco.MjModel.from_xml_path(str(model))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the model of {id} cannot be read: {' '.join(str(error).split()).rstrip('.')}.") from None
    raise InputError(
        f"the model of {id} must be XML, the path of a file of it, a mujoco.MjSpec or a mujoco.MjModel, not {told(model)}."
    )


class Names:
    """Where things are in a model's arrays, by their names; and its arrays.

    Attributes:
        dt: seconds of a step of the environment, `frame_skip` of the model's own.
        host: the `mujoco.MjModel`.
    """

    def __init__(self, host: Any, frame_skip: int, id: str):
        self.host, self.frame_skip, self.id = host, frame_skip, id
        self.dt = float(host.opt.timestep) * frame_skip

    def body(self, name: str) -> int:
        """The row of a body in `xpos`, `cvel`, `cfrc_ext`, `body_mass` and their like."""
        return self._row("body", name)

    def geom(self, name: str) -> int:
        return self._row("geom", name)

    def site(self, name: str) -> int:
        return self._row("site", name)

    def actuator(self, name: str) -> int:
        """The column of an actuator in `ctrl`."""
        return self._row("actuator", name)

    def tendon(self, name: str) -> int:
        return self._row("tendon", name)

    def qpos(self, joint: str) -> slice:
        """The columns of a joint in `qpos`: one of a hinge or slide, four of a ball, seven of a free joint."""
        row, widths = self._row("joint", joint), (7, 4, 1, 1)
        start = int(self.host.jnt_qposadr[row])
        return slice(start, start + widths[int(self.host.jnt_type[row])])

    def qvel(self, joint: str) -> slice:
        """The columns of a joint in `qvel`."""
        row, widths = self._row("joint", joint), (6, 3, 1, 1)
        start = int(self.host.jnt_dofadr[row])
        return slice(start, start + widths[int(self.host.jnt_type[row])])

    def sensor(self, name: str) -> slice:
        """The columns of a sensor in `sensordata`."""
        row = self._row("sensor", name)
        start = int(self.host.sensor_adr[row])
        return slice(start, start + int(self.host.sensor_dim[row]))

    def _row(self, kind: str, name: str) -> int:
        try:
            return int(getattr(self.host, kind)(name).id)
        except (KeyError, TypeError):
            there = [getattr(self.host, kind)(i).name for i in range(getattr(self.host, COUNTS[kind]))]
            near = difflib.get_close_matches(str(name), there, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(filter(None, there)) or 'none'}."
            raise InputError(f"the model of {self.id} has no {kind} {told(name)}; {hint}") from None


def host_field(holder: Any, name: str, rows: int) -> Tensor:
    """A field of a `MjModel` (`opt.` before those of its options), `[1, ...]`, or `[N, ...]` of N `MjData`, as mujoco_warp
    shapes it: float32, and matrices as such.

    Raises:
        AttributeError: there is none.
    """
    values = [holder] if rows == 1 and not isinstance(holder, list) else holder
    found = []
    for value in values:
        for part in name.split("."):
            value = getattr(value, part)
        found.append(np.array(value))
    array = np.stack(found)
    if array.dtype.kind not in "fiub":
        raise AttributeError(name)
    if name.endswith("mat") and array.shape[-1] == 9:
        array = array.reshape(*array.shape[:-1], 3, 3)
    return torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)


def set_host_field(host: Any, name: str, value: Tensor) -> None:
    """Writes a field `[1, ...]` of a `MjModel` that `host_field` gave."""
    *path, last = name.split(".")
    for part in path:
        host = getattr(host, part)
    if isinstance(there := getattr(host, last), np.ndarray):
        there[...] = value[0].reshape(there.shape).double().numpy()
    else:
        setattr(host, last, float(value))


def bounds(host: Any) -> Box:
    """What the actuators of a model take; of one without a range, any number."""
    low, high = host.actuator_ctrlrange.astype(np.float32).T
    free = host.actuator_ctrllimited == 0
    return Box(np.where(free, -np.inf, low).astype(np.float32), np.where(free, np.inf, high).astype(np.float32))


class Rows(SimpleNamespace):
    """Arrays of N worlds by MuJoCo's names for them (`qpos` `[N, nq]`, `xpos` `[N, nbody, 3]`, ...), float32 tensors that
    are not to be written to; and `model`, see `Model`."""

    model: "Model"

    def __getattr__(self, name: str) -> Tensor:
        raise InputError(f"{name} was not read when {self.model.id} was tried: read it always, or not at all.")


class Model(Names):
    """What `data.model` is: places by name, `dt`, and the model's arrays (`qpos0`, `body_mass`, ...) by MuJoCo's names for
    them, tensors `[1, ...]`, or `[N, ...]` where `PhysicsEnv.fields` gives each world its own."""

    def __init__(self, host: Any, frame_skip: int, id: str, field: Callable[[str], Tensor]):
        super().__init__(host, frame_skip, id)
        self.field = field

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            found = self.field(name)
        except AttributeError:
            raise InputError(f"MuJoCo's models have no array {name!r}, which {self.id} reads.") from None
        setattr(self, name, found)
        return found
