"""Hopper beside Gymnasium's."""

import numpy as np

from tests.envs.mujoco_oracle import MujocoOracle, Near


def thresholds(qpos, qvel):
    rest = 100.0 - np.maximum(np.abs(qpos[:, 2:]).max(1), np.abs(qvel).max(1))
    return np.abs([qpos[:, 1] - 0.7, np.abs(qpos[:, 2]) - 0.2, rest]).min(0)


ORACLE = MujocoOracle(
    "Hopper-v5",
    Near(5e-7, 6e-6, 2e-4, 4e-6),
    names={
        "healthy_state_low": "healthy_state_range 0",
        "healthy_state_high": "healthy_state_range 1",
        "healthy_z_low": "healthy_z_range 0",
        "healthy_z_high": "healthy_z_range 1",
        "healthy_angle_low": "healthy_angle_range 0",
        "healthy_angle_high": "healthy_angle_range 1",
    },
    noise=5e-3,
    thresholds=thresholds,
    changed=("gravity", "friction_scale", "damping_scale", "gear_scale", "mass_scale"),
)
