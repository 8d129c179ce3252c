"""MountainCar beside Gymnasium's."""

from tests.envs.gymnasium_oracle import GymnasiumOracle, Tolerance


def controller(obs):
    return 2 if obs[1] >= 0 else 0


ORACLE = GymnasiumOracle(
    "MountainCar-v0",
    Tolerance(2e-7, 1e-12, 1e-5, 200, 0.99, "float32 rounds each step; hardly anything grows"),
    ranges=[(-1.2, 0.6), (-0.07, 0.07)],
    special=[(-1.2, -1.19, 0.45, 0.499, 0.5, 0.55, 0.6), (-0.07, -0.01, 0, 0.0005, 0.001, 0.002, 0.01, 0.07)],
    attributes={
        "force": ("force", 0.00125),
        "gravity": ("gravity", 0.003),
        "min_position": ("min_position", -1.125),
        "max_position": ("max_position", 0.5625),
        "max_speed": ("max_speed", 0.0625),
        "goal_position": ("goal_position", 0.4375),
        "goal_velocity": ("goal_velocity", 0.01),
    },
    controller=controller,
    telling="gravity",
)
