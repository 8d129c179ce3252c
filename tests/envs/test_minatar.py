"""The MinAtar games are those of the package MinAtar: every cell of every board, every reward and every end.

Longer runs are made by benchmarks/minatar_parity.py.
"""

import inspect
import re
import sys
import types
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from minatar.gym import BaseEnv

import gpusim
from gpusim.envs.minatar import ALL_ACTIONS, GAMES, MINATAR
from gpusim.envs.minatar.asterix import ASTERIX
from gpusim.envs.minatar.breakout import BREAKOUT
from gpusim.envs.minatar.seaquest import SEAQUEST
from gpusim.envs.minatar.space_invaders import SPACE_INVADERS
from gpusim.kernels import launch
from gpusim.kernels.lower import check
from gpusim.testing import check_vector_env
from tests.envs.beside import beside, oracle
from tests.envs.minatar_oracle import Match, MinatarOracle, none, regimes, title
from tests.interpreter import passes

each = pytest.mark.parametrize("env", MINATAR, ids=lambda e: e.id)
each_game = pytest.mark.parametrize("env", GAMES, ids=title)


@pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")  # what Gymnasium thinks of any -v0
@each
def test_declaration(env):
    minimal = env.id.endswith("-v1")
    theirs = BaseEnv(oracle(env).module, use_minimal_action_set=minimal)
    assert env.observation_space == theirs.observation_space
    assert env.action_space == theirs.action_space
    assert env.max_episode_steps is None
    assert env.params.sticky == theirs.game.sticky_action_prob
    assert getattr(env.params, "ramping", 1) == 1
    assert gpusim.make(env.id, 2, device="cpu").task is env
    assert gymnasium.make_vec(f"gpusim/MinAtar-{title(env)}-v{int(minimal)}", num_envs=2, device="cpu").task is env


@each_game
def test_boards_rewards_and_ends(env):
    for name, match in regimes(env, 40).items():
        match.play(250)
        assert match.reward > 0, name
        assert match.episodes > 0 or (oracle(env).long and "harder" not in name), name


@pytest.mark.parametrize("env", ALL_ACTIONS, ids=title)
def test_all_six_actions(env):
    assert Match(env, 40, policy=oracle(env).policy).play(100).steps == 4000


def test_what_is_rare_has_been_seen():
    """Six divers brought up, and more than twenty enemies; a fleet that is gone; the fastest Asterix."""
    asterix, invaders, seaquest = ASTERIX, SPACE_INVADERS, SEAQUEST
    deep = regimes(seaquest, 20, seed=9)["harder, undying"]
    most = least = 0
    for _ in range(20):
        deep.play(10)
        most = max(most, *(len(o.env.e_fish + o.env.e_subs) for o in deep.oracles))
        least = min(least, *(o.env.diver_count for o in deep.oracles))
    assert most > 20
    assert least < 0  # what MinAtar makes of six divers
    long = regimes(asterix, 4, seed=9)["undying"].play(2300)
    assert all(o.env.move_speed == o.env.spawn_speed == 1 for o in long.oracles)
    fleets = regimes(invaders, 60, seed=9)["harder"].play(200)
    assert any(o.env.ramp_index > 0 for o in fleets.oracles)


CASES = [(env, *change) for env in GAMES for change in oracle(env).changes]


@pytest.mark.parametrize(("env", "old", "new"), CASES, ids=lambda x: title(x) if hasattr(x, "id") else "")
def test_a_changed_game_is_seen(env, old, new):
    module = sys.modules[env.init.__module__]
    source = inspect.getsource(module)
    assert source.count(old) >= 1, old
    changed = types.ModuleType(module.__name__)
    exec(compile(source.replace(old, new, 1), "changed", "exec"), vars(changed))
    names = [name for name, value in vars(module).items() if value is env]
    with pytest.raises(AssertionError, match="MinAtar/"):
        in_turn(getattr(changed, names[0]))


def in_turn(env):
    """Some steps of each regime, again and again: what most changes need is seen soon in one of them."""
    matches = regimes(env, 20, seed=5).values()
    for _ in range(30):
        for match in matches:
            match.play(30)


def compared(env, steps):
    for match in regimes(env, 60, seed=5).values():
        match.play(steps)


@each
def test_they_keep_to_the_vocabulary(env):
    for function in (env.init, env.step, env.observe):
        assert check(function)


@each_game
@pytest.mark.parametrize("mode", ["same_step", "next_step", "disabled"])
def test_they_keep_the_contract(env, mode):
    drawn = oracle(env).beginning is not none  # the others always begin alike
    vec = gpusim.make(env, 8, device="cpu", backend="eager", autoreset_mode=mode, max_episode_steps=30)
    check_vector_env(vec, random=drawn)


@each_game
def test_tensors_are_as_good_as_arrays(env):
    """A step on torch tensors, which is what is compiled, against the same on NumPy arrays, which is what is compared."""
    from gpusim.kernels.lang import Rng

    index, seed = np.arange(50), 3
    ours = env.init(Rng(seed, index, 0, 0, 0), env.params)
    theirs = env.init(Rng(seed, torch.from_numpy(index), 0, 0, 0), env.params)
    cell = np.arange(np.prod(env.observation_space.shape), dtype=np.int32)[None]
    for t in range(60):
        action = np.random.default_rng(t).integers(0, env.action_space.n, 50).astype(np.int32)
        ours, reward, over = env.step(ours, action, Rng(seed, index, 0, t + 0 * index, 1), env.params)
        tensor = torch.from_numpy(index)
        theirs, *rest = env.step(theirs, torch.from_numpy(action), Rng(seed, tensor, 0, t + 0 * tensor, 1), env.params)
        for name, got, want in zip(ours._fields, theirs, ours, strict=True):
            assert got.dtype == (torch.bool if want.dtype == bool else torch.int32), name
            assert np.array_equal(got.numpy(), want), name
        assert np.array_equal(rest[0].numpy(), reward)
        assert np.array_equal(rest[1].numpy(), over)
    seen = [env.observe(type(s)(*(f[:, None] for f in s)), c, env.params) for s, c in ((ours, cell),)]
    shown = env.observe(type(theirs)(*(f[:, None] for f in theirs)), torch.from_numpy(cell), env.params)
    assert np.array_equal(shown.numpy(), seen[0])


@pytest.mark.parametrize("env", [BREAKOUT, ASTERIX], ids=title)
def test_natively(env):
    native, eager = (gpusim.make(env, 6, device="cpu", backend=backend) for backend in ("native", "eager"))
    for vec in (native, eager):
        vec.reset(seed=1)
    torch.testing.assert_close(native.rollout(30), eager.rollout(30), rtol=0, atol=0)
    torch.testing.assert_close(native.get_state(), eager.get_state(), rtol=0, atol=0)


@pytest.mark.slow
def test_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    passes(Path(__file__).parent / "minatar_in_interpreter.py")


@pytest.mark.slow
@pytest.mark.skipif(launch.interpreted(), reason="kernels are interpreted in this process")
@each_game
def test_kernels_compile_for_a_gpu(env):
    pytest.importorskip("triton")
    from gpusim.kernels.offline import compile_for

    with launch.recording() as launches:
        vec = gpusim.make(env, 48, device="cpu", backend="triton", validate=False)
        vec.reset(seed=0)
        vec.rollout(8)
    compiled = compile_for(launches[-1], "sm_90")
    assert (compiled.spill_stores, compiled.spill_loads) == (0, 0)


def test_every_game_has_an_oracle():
    assert beside(MinatarOracle) == list(MINATAR)


def test_ids_with_one_slash():
    assert {env.id for env in MINATAR} <= set(gpusim.env_ids())
    assert all(re.fullmatch(r"MinAtar/\w+-v[01]", env.id) for env in MINATAR)
