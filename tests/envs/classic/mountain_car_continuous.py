"""MountainCarContinuous beside Gymnasium's."""

import numpy as np

from tests.envs.gymnasium_oracle import GymnasiumOracle, Tolerance


def controller(obs):
    return np.array([1.0 if obs[1] >= 0 else -1.0], np.float32)


ORACLE = GymnasiumOracle(
    "MountainCarContinuous-v0",
    Tolerance(3e-7, 1e-7, 2e-5, 999, 0.99, "the oracle itself rounds its state to float32"),
    ranges=[(-1.2, 0.6), (-0.07, 0.07)],
    special=[(-1.2, -1.19, 0.449, 0.45, 0.5, 0.6), (-0.07, -0.01, 0, 0.0005, 0.001, 0.002, 0.01, 0.07)],
    attributes={
        "power": ("power", 0.00125),
        "min_position": ("min_position", -1.125),
        "max_position": ("max_position", 0.5625),
        "max_speed": ("max_speed", 0.0625),
        "goal_position": ("goal_position", 0.4375),
        "goal_velocity": ("goal_velocity", 0.01),
    },
    controller=controller,
    telling="power",
)
