"""InvertedPendulum beside Gymnasium's."""

import numpy as np

from tests.envs.mujoco_oracle import MujocoOracle, Near


def thresholds(qpos, qvel):
    return np.abs(np.abs(qpos[:, 1]) - 0.2)


ORACLE = MujocoOracle(
    "InvertedPendulum-v5",
    Near(5e-7, 4e-6, 1e-5, 4e-6),
    names={},
    noise=0.01,
    thresholds=thresholds,
    changed=("gravity", "damping_scale", "gear_scale", "mass_scale"),
)
