"""Acrobot beside Gymnasium's."""

import numpy as np

from tests.envs.gymnasium_oracle import GymnasiumOracle, Tolerance


def controller(obs):
    return 2 if obs[5] > 0 else 0


def derive(theirs):
    if not isinstance(theirs.AVAIL_TORQUE, list):
        theirs.AVAIL_TORQUE = [-theirs.AVAIL_TORQUE, 0.0, theirs.AVAIL_TORQUE]


ORACLE = GymnasiumOracle(
    "Acrobot-v1",
    Tolerance(2e-5, 1e-12, 2e-3, 90, 0.9, "chaotic; at full speed a step of 0.2 s multiplies errors by 1000"),
    ranges=[(-np.pi, np.pi), (-np.pi, np.pi), (-4 * np.pi, 4 * np.pi), (-9 * np.pi, 9 * np.pi)],
    special=[(-np.pi, 0, 3.1, np.pi), (-np.pi, 0, 0.1, np.pi), (-12.5, -1, 0, 1, 12.5), (-28, -1, 0, 1, 28)],
    attributes={
        "length1": ("LINK_LENGTH_1", 1.25),
        "mass1": ("LINK_MASS_1", 0.75),
        "mass2": ("LINK_MASS_2", 1.5),
        "com1": ("LINK_COM_POS_1", 0.625),
        "com2": ("LINK_COM_POS_2", 0.375),
        "inertia": ("LINK_MOI", 1.125),
        "max_speed1": ("MAX_VEL_1", 11.0),
        "max_speed2": ("MAX_VEL_2", 25.0),
        "torque": ("AVAIL_TORQUE", 1.75),
        "dt": ("dt", 0.1875),
    },
    controller=controller,
    telling="gravity",
    derive=derive,
    harmless=(
        # there are no turns near an angle of zero, so their sign does not matter
        "`0.01` for `0.0` in `return angle - TWO_PI * where(angle > 0.0, turns, -turns)`",
    ),
)
