"""Run by test_tables.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU."""

import pytest

from gpusim import Uniform
from gpusim.kernels.lang import take
from tests.envs.fused_in_interpreter import agree, agree_rolled, pair, poison  # noqa: F401
from tests.envs.policy_in_interpreter import agree as agree_by_policy
from tests.envs.policy_in_interpreter import policy_for
from tests.envs.table_toys import MURAL, STAIR, tables
from tests.envs.test_first_env import assert_rows
from tests.envs.test_vector import make
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


@pytest.mark.parametrize("mode", ["same_step", "next_step", "disabled"])
@pytest.mark.parametrize("env", [STAIR, MURAL], ids=lambda e: e.id)
def test_rollout(env, mode):
    both = pair(env, 7, autoreset_mode=mode, max_episode_steps=4)
    agree_rolled(*(vec.rollout(11) for vec in both))
    agree(*(vec.get_state() for vec in both))


@pytest.mark.parametrize("length", [1, 2, 16])
def test_other_tables(length):
    given = tables(max(length, 12), 4)._replace(open=tables(length, 3).open)
    both = pair(STAIR, 5, tables=given, params={"noise": Uniform(0.1, 2.0)}, max_episode_steps=3)
    agree_rolled(*(vec.rollout(7) for vec in both))


def test_the_policy_in_the_kernel():
    both = pair(STAIR, 9, max_episode_steps=3)
    policy = policy_for(STAIR)
    agree_by_policy(*(vec.rollout(7, policy) for vec in both))


def test_another_reward():
    env = STAIR.with_reward(lambda s, action, new, reward, terminated, p: reward + take(p.cost, s.at, 1))
    both = pair(env, 7)
    agree_rolled(*(vec.rollout(9) for vec in both))


def test_first_env():
    few = make(STAIR, 4, backend="triton", first_env=5, validate=False)
    assert_rows(few, make(STAIR, 11, backend="triton", validate=False))
