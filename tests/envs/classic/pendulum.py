"""Pendulum beside Gymnasium's."""

import numpy as np

from tests.envs.gymnasium_oracle import GymnasiumOracle, Tolerance


def controller(obs):
    return np.array([2.0 if obs[2] >= 0 else -2.0], np.float32)


ORACLE = GymnasiumOracle(
    "Pendulum-v1",
    Tolerance(2e-6, 1e-12, 5e-3, 200, 0.99, "the upright pendulum is unstable; reward goes to -16"),
    ranges=[(-10, 10), (-8, 8)],
    special=[(-3 * np.pi, -np.pi, 0, 3.14, np.pi, 3 * np.pi), (-8, -7.9, 0, 7.9, 8)],
    attributes={
        "gravity": ("g", 8.5),
        "mass": ("m", 1.25),
        "length": ("l", 0.75),
        "max_speed": ("max_speed", 7.0),
        "max_torque": ("max_torque", 1.5),
        "dt": ("dt", 0.0625),
    },
    controller=controller,
    telling="mass",
    terminates=False,
    harmless=(
        # half a turn to the left or to the right
        "`s.theta - PI` for `s.theta + PI` in `angle = remainder(s.theta + PI, TWO_PI) - PI`",
        # what StatelessPendulum-v1 sees, which has tests of its own
        "`sin(s.theta)` for `cos(s.theta)` in `return (cos(s.theta), sin(s.theta))`",
        "`cos(s.theta)` for `sin(s.theta)` in `return (cos(s.theta), sin(s.theta))`",
    ),
)
