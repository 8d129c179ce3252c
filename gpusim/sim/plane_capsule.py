"""The frame of the contacts between a capsule and a plane, as C MuJoCo has it.

With a pyramidal cone, how friction acts depends on where the tangents of a contact point. C MuJoCo takes the capsule's axis
as it lies on the plane. mujoco_warp 4.0.0 does so only where that is longer than a half, that is, where the capsule is more
than 30 degrees off the normal; else it takes an axis of the world. Ant's feet are so steep, and after one step its speeds
are off by up to 0.6. (The same threshold is in MJX: google-deepmind/mujoco#2774.)

`correct` asks mujoco_warp for the frame of one steep capsule, and puts a function of its own in the place of mujoco_warp's
only where the answer is wrong, so that it does nothing any more once mujoco_warp gives the frame of C.
"""

from functools import cache
from typing import Any

import numpy as np

from gpusim.sim.mujoco_model import library

TILTED = """<mujoco><worldbody><geom type="plane" size="1 1 1"/>
  <body pos="0 0 0.1"><freejoint/><geom type="capsule" size="0.05 0.1" euler="8 13 0"/></body></worldbody></mujoco>"""


def wanted() -> tuple[np.ndarray, np.ndarray]:
    """The axis of a steep capsule, and C MuJoCo's frame `[3, 3]` of its contact with the plane z = 0."""
    mujoco = library("mujoco", "gpusim")
    model = mujoco.MjModel.from_xml_string(TILTED)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data.geom_xmat[1].reshape(3, 3)[:, 2], data.contact.frame[0].reshape(3, 3)


@cache
def correct() -> bool:
    """Makes mujoco_warp's frames those of C MuJoCo, in this process, where they are not; whether that was needed.

    It has to be called before anything that collides is compiled.
    """
    library("mujoco_warp", "gpusim")
    from mujoco_warp._src import collision_primitive  # what the builder of its kernels looks the function up in

    axis, frame = wanted()
    if np.allclose(_given(collision_primitive.plane_capsule, axis), frame, atol=1e-5):
        return False
    collision_primitive.plane_capsule = _corrected(collision_primitive.plane_capsule)
    return True


def _given(function: Any, axis: np.ndarray) -> np.ndarray:
    """The frame that a `plane_capsule` gives for a capsule of that axis on the plane z = 0."""
    import warp as wp

    @wp.kernel(module="unique", enable_backward=False)
    def probe(along: wp.array[wp.vec3], out: wp.array[wp.mat33]):
        _dist, _pos, frame = function(
            wp.vec3(0.0, 0.0, 1.0), wp.vec3(0.0, 0.0, 0.0), wp.vec3(0.0, 0.0, 0.1), along[0], 0.05, 0.1
        )
        out[0] = frame

    with wp.ScopedDevice("cpu"):
        out = wp.zeros(1, dtype=wp.mat33)
        wp.launch(probe, 1, inputs=[wp.array([axis], dtype=wp.vec3)], outputs=[out])
        return out.numpy()[0]


def _corrected(function: Any) -> Any:
    import warp as wp

    @wp.func
    def plane_capsule(
        plane_normal: wp.vec3,
        plane_pos: wp.vec3,
        capsule_pos: wp.vec3,
        capsule_axis: wp.vec3,
        capsule_radius: float,
        capsule_half_length: float,
    ):
        dist, pos, frame = function(
            plane_normal, plane_pos, capsule_pos, capsule_axis, capsule_radius, capsule_half_length
        )
        along = capsule_axis - plane_normal * wp.dot(plane_normal, capsule_axis)
        length = wp.length(along)
        if length > 1e-6:  # else the axis is the normal, and any tangent as good as another
            b = along / length
            frame = wp.matrix_from_rows(plane_normal, b, wp.cross(plane_normal, b))
        return dist, pos, frame

    return plane_capsule
