"""Swimmer beside Gymnasium's."""

from tests.envs.mujoco_oracle import MujocoOracle, Near

ORACLE = MujocoOracle(
    "Swimmer-v5",
    Near(5e-7, 5e-6, 1e-5, 4e-6),
    names={},
    noise=0.1,
    changed=("density", "viscosity", "gear_scale", "mass_scale"),
)
