"""InvertedDoublePendulum beside Gymnasium's."""

import numpy as np

from tests.envs.mujoco_oracle import MujocoOracle, Near


def thresholds(qpos, qvel):
    return np.abs(0.6 * (np.cos(qpos[:, 1]) + np.cos(qpos[:, 1] + qpos[:, 2])) - 1.0)


ORACLE = MujocoOracle(
    "InvertedDoublePendulum-v5",
    Near(1e-6, 2e-5, 1e-4, 4e-5),
    names={},
    noise=0.1,
    thresholds=thresholds,
    changed=("gravity", "damping_scale", "gear_scale", "mass_scale"),
)
