"""Our environments are Gymnasium's: the same spaces, beginnings, dynamics, rewards, ends and time limits."""

import ast
import dataclasses
import functools
import inspect
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

import gpusim
from gpusim.envs.classic import STATELESS
from gpusim.kernels import lang
from gpusim.kernels.lang import STREAM_INIT, Rng
from tests.envs.beside import beside, oracle
from tests.envs.classic.cartpole import ORACLE as OF_CARTPOLE
from tests.envs.gymnasium_oracle import GymnasiumOracle, Theirs, actions, assert_parity, cases, changed

DTYPES = [torch.float32, torch.float64]
LIKE_GYMNASIUM = [env for env in beside(GymnasiumOracle) if env not in STATELESS]
each_env = pytest.mark.parametrize("env", LIKE_GYMNASIUM, ids=lambda e: e.id)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))


@each_env
def test_declaration_is_gymnasiums(env):
    theirs = gymnasium.spec(oracle(env).id)
    made = gymnasium.make(theirs, disable_env_checker=True)
    assert env.observation_space == made.observation_space
    assert env.action_space == made.action_space
    assert env.max_episode_steps == theirs.max_episode_steps
    assert env.reward_threshold == theirs.reward_threshold


@each_env
@each_dtype
def test_one_step_from_anywhere(env, dtype):
    given = cases(env)
    assert len(given.state) >= 1500
    assert given.steady.mean() >= oracle(env).tolerance.steady
    ends = given.expected.terminated.mean()
    assert 0.1 < ends < 0.6 if oracle(env).terminates else ends == 0
    assert_parity(env, given, dtype)


@each_env
def test_beginnings_have_gymnasiums_distribution(env):
    theirs = Theirs(oracle(env)).resets(3000)
    begun = env.init(Rng(5, torch.arange(3000), 0, 0, STREAM_INIT), env.params)
    for field, ours, expected in zip(begun._fields, begun, theirs.T, strict=True):
        assert furthest_apart(ours.double().numpy(), expected) < 0.04, field
        margin = 0.01 * np.ptp(expected)
        assert expected.min() - margin <= ours.min(), field
        assert ours.max() <= expected.max() + margin, field


def furthest_apart(a, b):
    """The largest distance between two empirical distributions (Kolmogorov-Smirnov)."""
    at = np.sort(np.concatenate([a, b])).astype(np.float32)
    a, b = np.sort(a.astype(np.float32)), np.sort(b.astype(np.float32))
    return np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)).max()


@pytest.mark.parametrize("wrong", [(-0.06, 0.05), (-0.05, 0.045), (0.0, 0.05)])
def test_a_wrong_beginning_is_seen(wrong):
    right = Theirs(OF_CARTPOLE).resets(3000)[:, 0]
    assert furthest_apart(np.random.default_rng(0).uniform(*wrong, 3000), right) >= 0.04


def episode(env, start, row):
    """Gymnasium's episode, time limit and all: arrays of actions, observations, rewards and the two flags."""
    made = gymnasium.make(oracle(env).id, disable_env_checker=True)
    obs, _ = made.reset(seed=row)
    made.unwrapped.state = start.copy()
    rng, steps, over = np.random.default_rng(row), [], False
    while not over:
        action = actions(env, rng, 1)[0] if row % 2 else oracle(env).controller(obs)
        if not isinstance(env.action_space, Discrete):
            action = np.clip(action, env.action_space.low, env.action_space.high).astype(np.float32)
        obs, reward, terminated, truncated, _ = made.step(action)
        steps.append((action, obs, reward, terminated, truncated))
        over = terminated or truncated
    return [np.array(column) for column in zip(*steps, strict=True)]


@functools.cache
def episodes(env):
    start = Theirs(oracle(env)).resets(4).astype(np.float32)
    return start, [episode(env, s.astype(np.float64), row) for row, s in enumerate(start)]


def follow(env, start, played):
    """Holds `env` to Gymnasium's episodes: common starts and actions, each side goes on from its own last state."""
    tolerance = oracle(env).tolerance
    ours = gpusim.make(env, num_envs=4, device="cpu", backend="eager")
    ours.reset(seed=0)
    state = ours.get_state()
    ours.set_state(state._replace(state=type(state.state)(*torch.from_numpy(start.T.copy()))))
    for t in range(min(max(len(p[0]) for p in played), tolerance.horizon)):
        now = [(row, p) for row, p in enumerate(played) if t < len(p[0])]
        action = np.zeros((4, *env.action_space.shape), played[0][0].dtype)
        for row, p in now:
            action[row] = p[0][t]
        _, reward, terminated, truncated, infos = ours.step(torch.from_numpy(action))
        for row, (_, obs, expected, ended, cut) in now:
            where, within = f"row {row}, step {t}", tolerance.episode
            np.testing.assert_allclose(infos["final_obs"][row], obs[t], within, within, err_msg=where)
            np.testing.assert_allclose(reward[row], expected[t], within, within, err_msg=where)
            assert (bool(terminated[row]), bool(truncated[row])) == (ended[t], cut[t]), where


@each_env
def test_whole_episodes(env):
    start, played = episodes(env)
    assert max(len(p[0]) for p in played) > 20
    follow(env, start, played)


@each_env
def test_a_wrong_episode_is_seen(env):
    name = oracle(env).telling
    with pytest.raises(AssertionError):
        follow(with_params(env, **{name: getattr(env.params, name) * 1.02}), *episodes(env))


def with_params(env, **changes):
    return dataclasses.replace(env, params=env.params._replace(**changes))


@each_env
@each_dtype
def test_parameters_mean_what_gymnasiums_attributes_mean(env, dtype):
    assert_parity(with_params(env, **changed(env)), cases(env, other=True), dtype)


def seen(env, given, dtype):
    """Whether the comparison refuses `env`."""
    try:
        assert_parity(env, given, dtype)
    except AssertionError:
        return True
    return False


@each_env
@each_dtype
def test_every_wrong_parameter_is_seen(env, dtype):
    for name, value in env.params._asdict().items():
        wrong = with_params(env, **{name: value * 1.01 if value else 0.01})
        assert seen(wrong, cases(env), dtype), f"nobody notices a wrong {name}"


@each_env
@each_dtype
def test_every_wrong_step_is_seen(env, dtype):
    """Every number, operator, sign, comparison and call of the environment's source in turn is made wrong."""
    count = 0
    for mistake, wrong in mutants(env):
        count += 1
        other = with_params(wrong, **changed(env))
        found = seen(wrong, cases(env), dtype) or seen(other, cases(env, other=True), dtype)
        assert found != (mistake in oracle(env).harmless), f"{env.id}: {mistake}"
    assert count > 20


SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
CALLS = {"sin": "cos", "cos": "sin", "ones_like": "zeros_like", "false_like": "ones_like"}
DROPPED = ("clip", "absolute", "maximum", "remainder", "ceil")


class Mistake(ast.NodeTransformer):
    """Makes one small mistake, number `which` of all that it could make."""

    def __init__(self, which):
        self.left, self.made, self.statement = which, None, ""

    def visit(self, node):
        if isinstance(node, ast.stmt):
            self.statement = ast.unparse(node)
        changed = self.wrong(node)
        if changed is not None and self.left == 0:
            self.left, self.made = -1, f"`{ast.unparse(changed)}` for `{ast.unparse(node)}` in `{self.statement}`"
            return ast.copy_location(changed, node)
        self.left -= changed is not None
        return self.generic_visit(node)

    def wrong(self, node):
        match node:
            case ast.Constant(value=float(value)):
                return ast.Constant(value * 1.01 if value else 0.01)
            case ast.BinOp(left, operator, right):
                return ast.BinOp(left, SWAPS[type(operator)](), right)
            case ast.UnaryOp(operand=operand):
                return operand
            case ast.Compare():
                return ast.UnaryOp(ast.Invert(), node)
            case ast.Call(func=ast.Name(name), args=[first, *_]) if name in DROPPED:
                return first
            case ast.Call(func=ast.Name(name), args=args) if name in CALLS:
                return ast.Call(ast.Name(CALLS[name], ast.Load()), args, [])


def mutants(env):
    """(the mistake, an `Env` with it) for every mistake in its step, observe and their helpers."""
    module = sys.modules[env.step.__module__]
    which = 0
    while True:
        tree, mistake = ast.parse(inspect.getsource(module)), Mistake(which)
        for function in tree.body:
            if isinstance(function, ast.FunctionDef) and function.name != "init":
                function.body = [mistake.visit(statement) for statement in function.body]
        if mistake.made is None:
            return
        namespace = {**vars(lang), "__name__": module.__name__}
        exec(compile(ast.fix_missing_locations(tree), module.__file__, "exec"), namespace)
        yield mistake.made, next(v for v in namespace.values() if isinstance(v, gpusim.Env))
        which += 1
