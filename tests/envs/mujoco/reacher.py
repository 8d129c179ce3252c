"""Reacher beside Gymnasium's."""

from tests.envs.mujoco_oracle import MujocoOracle, Near

ORACLE = MujocoOracle(
    "Reacher-v5",
    Near(5e-7, 1e-5, 2e-5, 4e-6),
    names={},
    noise=0.1,
    changed=("damping_scale", "gear_scale", "mass_scale"),
)
