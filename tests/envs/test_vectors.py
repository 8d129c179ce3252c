"""`vectors=P`: rows of several vectors side by side, each bit for bit what it is alone with its seed."""

import pytest
import torch

import gpusim
from gpusim import InputError, Uniform
from gpusim.envs.classic import CLASSIC
from gpusim.envs.minatar import GAMES
from gpusim.kernels.philox import philox
from gpusim.sim.functional import SyncFree
from gpusim.tree import tree_map
from tests.envs.test_first_env import transitions
from tests.envs.test_vector import MODES, make, same
from tests.envs.toys import DRIFT, TOY

SEEDS, EACH = (7, 2**62 + 5, 0), 4
RANDOM = {"CartPole-v1": {"gravity": Uniform(5.0, 20.0)}, "Drift-v0": {"edge": Uniform(0.6, 1.0)}}


def on_tensors(env):
    """Stepped by torch, as on a GPU."""
    env._make_stepper = lambda: SyncFree(env.task, env._mode(), env.index, False)
    return env


def assert_side_by_side(together, alone):
    """`alone[p]` are the vectors by themselves."""
    count = len(alone)
    together.reset(seed=SEEDS)
    for vec, seed in zip(alone, SEEDS, strict=True):
        vec.reset(seed=seed)
    (whole, last), parts = transitions(together.rollout(9)), [transitions(vec.rollout(9)) for vec in alone]
    action = together.rollout(1).action[0]
    for vec in alone:
        vec.rollout(1)
    stepped = together.step(action)
    for p, (part, part_last) in enumerate(parts):
        mine = lambda x, p=p: x.unflatten(0, (count, EACH))[p] if x.ndim else x  # noqa: E731
        assert same(part, tree_map(lambda x, mine=mine: mine(x.movedim(1, 0)).movedim(0, 1), whole))
        assert same(part_last, mine(last))
        assert same(alone[p].step(mine(action)), tree_map(mine, stepped))
        state = tree_map(mine, together.get_state())
        assert same(alone[p].get_state(), state._replace(seed=state.seed[0]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env", [*CLASSIC, *GAMES, TOY, DRIFT], ids=lambda e: e.id)
def test_each_is_as_it_would_be_alone(env, mode):
    kwargs = {"autoreset_mode": mode, "max_episode_steps": 4, "params": RANDOM.get(env.id), "validate": False}
    together = make(env, len(SEEDS) * EACH, vectors=len(SEEDS), **kwargs)
    assert_side_by_side(together, [make(env, EACH, **kwargs) for _ in SEEDS])


def test_on_tensors_too():
    kwargs = {"max_episode_steps": 4, "params": RANDOM["Drift-v0"], "validate": False}
    together = on_tensors(make(DRIFT, len(SEEDS) * EACH, vectors=len(SEEDS), **kwargs))
    assert_side_by_side(together, [on_tensors(make(DRIFT, EACH, **kwargs)) for _ in SEEDS])


def test_a_state_is_put_back_in_another():
    one, other = (make(DRIFT, 6, vectors=3) for _ in range(2))
    one.reset(seed=range(3))
    one.rollout(5)
    other.set_state(one.get_state())
    assert same(one.rollout(20)._asdict(), other.rollout(20)._asdict())


@pytest.mark.parametrize("on", [lambda x: x, torch.Tensor.numpy], ids=["tensors", "arrays"])
def test_words_of_a_key_for_each_counter(on):
    keys, counter = torch.tensor(SEEDS), torch.arange(3)
    block = torch.arange(2)[:, None]
    drawn = philox(on(keys), on(counter), on(block), 3, 4)
    for p, seed in enumerate(SEEDS):
        alone = philox(seed, on(counter[p : p + 1]), on(block), 3, 4)
        assert all((mine[:, p] == theirs[:, 0]).all() for mine, theirs in zip(drawn, alone, strict=True))


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="10 environments are no 4 vectors of equal size"):
        gpusim.make("CartPole-v1", 10, device="cpu", vectors=4)
    with pytest.raises(
        InputError, match='backend "native" steps one vector, not 2 side by side: use "eager" or "compile"'
    ):
        gpusim.make("CartPole-v1", 64, device="cpu", vectors=2, backend="native")
    env = gpusim.make("CartPole-v1", 64, device="cpu", vectors=2)
    assert env.backend == "eager"
    for seed in (3, [1, 2, 3], None.__class__, [1, -1]):
        with pytest.raises(InputError, match="seed must be"):
            env.reset(seed=seed)
    assert env.reset()[0].shape == (64, 4)
