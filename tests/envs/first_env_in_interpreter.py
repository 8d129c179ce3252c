"""Run by test_first_env.py: the same in kernels."""

import pytest

from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.pendulum import PENDULUM
from tests.envs.test_first_env import assert_rows, each_mode, pair
from tests.envs.toys import DRIFT, SWARM
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


@each_mode
def test_it_is_a_part_of_a_larger_vector(mode):
    assert_rows(*pair(DRIFT, mode, backend="triton"))


@pytest.mark.parametrize("env", [CARTPOLE, PENDULUM, SWARM], ids=lambda e: e.id)
def test_others_are_too(env):
    assert_rows(*pair(env, "same_step", backend="triton"))
