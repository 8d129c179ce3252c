"""Run by test_trial.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU."""

import pytest

from tests.envs.fused_in_interpreter import agree, agree_rolled, pair
from tests.envs.numbers import NUMBERS, PAIRS
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


@pytest.mark.parametrize(("env", "mode"), [*((env, "same_step") for env in PAIRS), (NUMBERS, "next_step")])
def test_numbers(env, mode):
    both = pair(env, 7, autoreset_mode=mode, max_episode_steps=3)
    agree_rolled(*(vec.rollout(5) for vec in both))
    agree(*(vec.get_state() for vec in both))
