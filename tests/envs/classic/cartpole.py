"""CartPole beside Gymnasium's."""

from tests.envs.gymnasium_oracle import GymnasiumOracle, Tolerance


def controller(obs):
    return int(obs[2] + 0.3 * obs[3] + 0.02 * obs[0] + 0.05 * obs[1] > 0)


def derive(theirs):
    theirs.total_mass = theirs.masscart + theirs.masspole
    theirs.polemass_length = theirs.masspole * theirs.length


ORACLE = GymnasiumOracle(
    "CartPole-v1",
    Tolerance(4e-7, 1e-12, 5e-4, 100, 0.99, "under common actions errors of the pole grow by 8 % a step"),
    ranges=[(-2.6, 2.6), (-4, 4), (-0.25, 0.25), (-4, 4)],
    special=[(-2.39, 0, 2.39), (-1, 0, 1), (-0.205, 0, 0.205), (-1, 0, 1)],
    attributes={
        "gravity": ("gravity", 7.5),
        "mass_cart": ("masscart", 1.25),
        "mass_pole": ("masspole", 0.375),
        "half_length": ("length", 0.75),
        "force": ("force_mag", 6.0),
        "dt": ("tau", 0.03125),
        "theta_limit": ("theta_threshold_radians", 0.1875),
        "x_limit": ("x_threshold", 2.25),
    },
    controller=controller,
    telling="gravity",
    derive=derive,
)
