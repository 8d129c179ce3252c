"""Run by test_reward.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU."""

import pytest

from gpusim import Uniform
from tests.envs.fused_in_interpreter import agree, agree_rolled, pair
from tests.envs.test_reward import CLIMB, COSTLY, SHAPED
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


@pytest.mark.parametrize("env", SHAPED, ids=lambda e: e.id)
def test_rollout(env):
    both = pair(env, 7, max_episode_steps=3)
    agree_rolled(*(vec.rollout(8) for vec in both))
    agree(*(vec.get_state() for vec in both))


@pytest.mark.parametrize("mode", ["next_step", "disabled"])
def test_modes(mode):
    both = pair(COSTLY, 7, autoreset_mode=mode, max_episode_steps=2)
    agree_rolled(*(vec.rollout(5) for vec in both))


def test_a_weight_of_any_kind():
    for weight in (2.0, Uniform(10.0, 20.0)):
        both = pair(CLIMB, 7, params={"weight": weight}, max_episode_steps=2)
        agree_rolled(*(vec.rollout(5) for vec in both))
