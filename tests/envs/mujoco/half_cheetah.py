"""HalfCheetah beside Gymnasium's."""

from tests.envs.mujoco_oracle import MujocoOracle, Near

ORACLE = MujocoOracle(
    "HalfCheetah-v5",
    Near(5e-6, 6e-5, 4e-4, 2e-5),
    names={},
    noise=0.1,
    changed=("gravity", "friction_scale", "damping_scale", "gear_scale", "mass_scale"),
)
