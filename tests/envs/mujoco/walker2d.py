"""Walker2d beside Gymnasium's."""

import numpy as np

from tests.envs.mujoco_oracle import MujocoOracle, Near


def thresholds(qpos, qvel):
    return np.abs([qpos[:, 1] - 0.8, qpos[:, 1] - 2.0, np.abs(qpos[:, 2]) - 1.0]).min(0)


ORACLE = MujocoOracle(
    "Walker2d-v5",
    Near(1e-6, 2e-5, 2e-4, 4e-6),
    names={
        "healthy_z_low": "healthy_z_range 0",
        "healthy_z_high": "healthy_z_range 1",
        "healthy_angle_low": "healthy_angle_range 0",
        "healthy_angle_high": "healthy_angle_range 1",
    },
    noise=5e-3,
    thresholds=thresholds,
    changed=("gravity", "friction_scale", "damping_scale", "gear_scale", "mass_scale"),
)
