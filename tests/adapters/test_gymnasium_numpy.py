"""NumPy arrays: the same steps and infos as Gymnasium's own vectorization gives, below Gymnasium's own wrappers too."""

import numpy as np
import pytest
import torch
from gymnasium.wrappers import vector as theirs

import gpusim
from gpusim.adapters import to_numpy
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.wrappers import RecordEpisodeStatistics
from tests.envs.test_wrappers import MODES, SEED, arrays, each_env, each_mode, make


def adapted(env, mode, limit=None, **kwargs):
    return to_numpy(make(env, autoreset_mode=mode, max_episode_steps=limit, **kwargs))


def same_walk(ours, others, steps=90):
    """Steps both with the same actions and compares all that they give; returns how many episodes ended."""
    ours.action_space.seed(0)
    ends = 0
    assert_same(ours.reset(seed=SEED), others.reset(seed=SEED))
    for _ in range(steps):
        actions = ours.action_space.sample()
        mine, other = ours.step(actions), others.step(actions)
        assert_same(mine, other)
        over = mine[2] | mine[3]
        ends += int(over.sum())
        if ours.metadata["autoreset_mode"].name == "DISABLED" and over.any():
            (mine, _), (other, _) = (env.reset(options={"reset_mask": over.copy()}) for env in (ours, others))
            assert_same(mine[over], other[over])
    assert ends >= 4
    return ends


def assert_same(mine, other):
    """Arrays by value and kind, dicts by key, object arrays by entry; times are not compared."""
    if isinstance(mine, dict):
        assert mine.keys() == other.keys()
        for key in mine.keys() - {"t"}:
            assert_same(mine[key], other[key])
    elif isinstance(mine, tuple | list):
        for a, b in zip(mine, other, strict=True):
            assert_same(a, b)
    elif isinstance(mine, np.ndarray) and mine.dtype != object:
        assert mine.dtype.kind == other.dtype.kind
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
    elif isinstance(mine, np.ndarray):
        assert_same(list(mine), list(other))
    else:
        assert mine == other


@each_mode
@each_env
def test_steps_and_infos_are_those_of_gymnasium(env, mode):
    same_walk(adapted(env, mode, 30), arrays(env, mode, 30))


def size(env):
    return env.single_observation_space.shape


WRAPPERS = {
    "statistics": (theirs.RecordEpisodeStatistics, MODES[:2]),
    "normalized observations": (theirs.NormalizeObservation, ["next_step"]),
    "normalized rewards": (theirs.NormalizeReward, MODES[:2]),
    "flat observations": (theirs.FlattenObservation, ["disabled"]),
    "observations of another shape": (lambda env: theirs.ReshapeObservation(env, (1, *size(env))), ["next_step"]),
    "changed observations": (lambda env: theirs.TransformObservation(env, np.tanh), ["next_step", "disabled"]),
    "clipped rewards": (lambda env: theirs.ClipReward(env, -0.5, 0.5), MODES),
    "infos as lists": (theirs.DictInfoToList, MODES),
}


@pytest.mark.filterwarnings("ignore:.*has been changed from.*")
@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, (_, modes) in WRAPPERS.items() for mode in modes])
def test_gymnasiums_wrappers_do_as_on_gymnasiums_vectorization(name, mode):
    wrap, _ = WRAPPERS[name]
    same_walk(wrap(adapted(CARTPOLE, mode, 30)), wrap(arrays(CARTPOLE, mode, 30)))


def test_gymnasiums_wrappers_of_actions():
    for wrap in (theirs.ClipAction, lambda env: theirs.RescaleAction(env, np.float32(-1), np.float32(1))):
        ours, others = (wrap(make_one("Pendulum-v1", "next_step", 30)) for make_one in (adapted, sync))
        same_walk(ours, others)


def sync(env, mode, limit):
    return arrays(gpusim.spec(env), mode, limit)


def test_arrays_of_earlier_steps_stay_as_they_were():
    for copy in (True, False):
        env = adapted("CartPole-v1", "same_step", copy=copy)
        kept = [(obs := env.reset(seed=0)[0], obs.copy())]
        for _ in range(40):
            *step, _ = env.step(np.ones(3, np.int64))
            kept += [(array, array.copy()) for array in step]
        assert all((array == then).all() for array, then in kept)


def test_writing_to_arrays_changes_nothing_later():
    written, left = (adapted("CartPole-v1", "same_step") for _ in range(2))
    outcomes = []
    for env in (written, left):
        seen = [env.reset(seed=0)[0]]
        for _ in range(30):
            if env is written:
                for array in seen[-1:]:
                    array[...] = 0
            *step, _ = env.step(np.ones(3, np.int64))
            outcomes.append([array.copy() for array in step])
            seen = step
    for mine, other in zip(outcomes[:30], outcomes[30:], strict=True):
        assert_same(mine, other)


def test_wrapped_environments_and_attributes():
    env = to_numpy(RecordEpisodeStatistics(make()))
    env.reset(seed=3)
    assert env.np_random_seed == 3
    env.set_attr("gravity", [1.0, 2.0, 3.0])
    assert env.get_attr("gravity") == (1.0, 2.0, 3.0)
    assert env.call("max_episode_steps") == (500,) * 3
    assert env.get_attr("episode_count")[0] == torch.zeros(())
    env.close()
    assert env.closed
    with pytest.raises(gpusim.InputError, match="closed"):
        env.step(np.zeros(3, np.int64))
