"""Tables: one meaning on every backend, held once, and beyond both ends the same everywhere."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

import gpusim
from gpusim import Env, InputError, Uniform
from gpusim.kernels import launch
from gpusim.kernels.lang import rows, take, to_float, to_int, zeros_like
from gpusim.kernels.launch import recording
from gpusim.kernels.offline import compile_for
from gpusim.sim.cpu import native
from gpusim.tables import digest, on_arrays
from gpusim.testing import check_vector_env
from gpusim.tree import tensors
from tests import interpreter
from tests.envs.table_toys import BENT, HEIGHTS, MURAL, STAIR, tables
from tests.envs.test_first_env import assert_rows
from tests.envs.test_vector import MODES, make, same
from tests.golden.cases import perceptron

WITHIN = {"rtol": 1e-5, "atol": 1e-5}
each = pytest.mark.parametrize("env", [STAIR, MURAL], ids=lambda e: e.id)
each_backend = pytest.mark.parametrize("backend", ["eager", "native"])
each_mode = pytest.mark.parametrize("mode", MODES)
OTHER = tables(length=16, seed=9)


def rolled(env=STAIR, steps=30, num_envs=7, **kwargs):
    vec = make(env, num_envs, **kwargs)
    vec.reset(seed=5)
    return vec, vec.rollout(steps)


def agree(ours, theirs):
    torch.testing.assert_close(ours, theirs, **WITHIN)


class Walk(NamedTuple):
    at: object
    kept: object


def walker(body, **given):
    """Walks down a table from its second row, two rows a step; `body(state, params)` is its reward."""

    def step(s, action, rng, p):
        return Walk(s.at + 2, s.kept), body(s, p), zeros_like(s.kept) > 1

    def init(rng, p):
        at = to_int(rng.episode * 0) + 1
        return Walk(at, to_float(at))

    fields = NamedTuple("Given", [(name, object) for name in given])
    return Env(
        "Walker-v0", init, step, lambda s, p: (to_float(s.at),), NamedTuple("None_", [])(), Box(-99, 99, (1,)),
        Discrete(2), None, tables=fields(**given),
    )  # fmt: skip


def walked(body, steps=6, **given):
    return rolled(walker(body, **given), steps, 3)[1].reward[:, 0].tolist()


ROWS = np.arange(7.0, dtype=np.float32) * 10  # rows 1, 3, 5 and, from there on, the last


def test_rows_by_hand():
    assert walked(lambda s, p: take(p.x, s.at), x=ROWS) == [10, 30, 50, 60, 60, 60]
    assert walked(lambda s, p: take(p.x, -s.at + 1), x=ROWS) == [0.0] * 6
    assert walked(lambda s, p: take(p.x, s.at) + rows(p.x), steps=2, x=[1, 2, 3, 4]) == [6, 8]
    assert walked(lambda s, p: take(p.x, 2) + s.kept * 0, steps=2, x=[True, False, True]) == [1.0, 1.0]


def test_columns_by_hand():
    grid = np.arange(14, dtype=np.int32).reshape(7, 2)
    assert walked(lambda s, p: take(p.x, s.at, s.at), x=grid) == [3, 7, 11, 13, 13, 13]
    assert walked(lambda s, p: take(p.x, s.at, 0), x=grid) == [2, 6, 10, 12, 12, 12]
    assert walked(lambda s, p: take(p.x, 1, 1 - s.at) + s.kept * 0, x=grid) == [2.0] * 6


@each_mode
@each
def test_native_is_eager(env, mode):
    """Some rows and columns lie beyond both ends, in beginnings, steps, observations and images."""
    (ours, one), (theirs, two) = (
        rolled(env, backend=b, autoreset_mode=mode, max_episode_steps=6, validate=False) for b in ("native", "eager")
    )
    agree(one, two)
    agree(ours.get_state(), theirs.get_state())
    assert theirs._stepper.arrays


def test_what_the_toys_reach_lies_beyond_both_ends():
    out = rolled(steps=40)[1]
    at, far = out.obs[:, :, 1], out.obs[:, :, 2]
    assert at.min() < -5
    assert at.max() > HEIGHTS
    assert far.max() > HEIGHTS


@pytest.mark.parametrize("env", [STAIR, BENT], ids=lambda e: e.id)
def test_arrays_and_tensors_agree(env, monkeypatch):
    """Beyond the vocabulary torch steps; what keeps to it, steps on either alike."""
    vec, out = rolled(env)
    assert vec._stepper.arrays == (env is STAIR)
    if env is STAIR:
        monkeypatch.setattr("gpusim.sim.cpu.eager.keeps_to_vocabulary", lambda env: False)
        agree(out, rolled(replace(env))[1])
    else:
        at = out.obs[:, :, 1]
        assert set(at.unique().tolist()) <= set(env.tables.height.tolist())


@pytest.mark.slow
def test_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    interpreter.passes(Path(__file__).parent / "tables_in_interpreter.py")


@pytest.mark.skipif(launch.interpreted(), reason="kernels are interpreted in this process")
@each
def test_kernels_compile_for_a_gpu_without_spills(env):
    pytest.importorskip("triton")
    with recording() as launches:
        rolled(env, 2, 64, backend="triton", validate=False)
    compiled = compile_for(launches[-1], "sm_90")
    assert (compiled.spill_stores, compiled.spill_loads) == (0, 0)


@each_backend
def test_policies_in_the_loop(backend):
    vec = make(STAIR, 9, backend=backend)
    vec.reset(seed=1)
    eager = make(STAIR, 9, backend="eager")
    eager.reset(seed=1)
    policy = perceptron(vec)
    ours, theirs = vec.rollout(12, policy), eager.rollout(12, policy)
    agree(ours._replace(next_obs=None), theirs._replace(next_obs=None))


@each_backend
@each
def test_the_contract_is_kept(env, backend):
    check_vector_env(make(env, 6, backend=backend))


@each_backend
@each_mode
def test_first_env(mode, backend):
    few = make(STAIR, 4, backend=backend, first_env=5, autoreset_mode=mode, validate=False)
    assert_rows(few, make(STAIR, 11, backend=backend, autoreset_mode=mode, validate=False))


@each_backend
def test_ranges_and_masked_resets(backend):
    vecs = [make(STAIR, 7, backend=b, params={"noise": Uniform(0.1, 2.0)}) for b in (backend, "eager")]
    for vec in vecs:
        vec.reset(seed=2)
        vec.rollout(5)
    mask = torch.arange(7) % 2 == 0
    agree(*(vec.reset(options={"reset_mask": mask})[0] for vec in vecs))
    agree(*(vec.get_state() for vec in vecs))
    agree(*(vec.rollout(9) for vec in vecs))
    assert vecs[0].get_state().params.noise.unique().numel() == 7


@each_backend
def test_another_reward(backend):
    env = STAIR.with_reward(
        lambda s, action, new, reward, terminated, p: reward + p.weight * take(p.cost, s.at, 1), params={"weight": 2.0}
    )
    (_, plain), (_, ours) = rolled(backend=backend), rolled(env, backend=backend)
    at = plain.obs[:, :, 1].long().clip(0, HEIGHTS - 1)
    agree(ours.reward, plain.reward + 2.0 * STAIR.tables.cost[at, 1])
    assert env.tables.cost.data_ptr() == STAIR.tables.cost.data_ptr()
    with pytest.raises(InputError, match="has a table 'cost' already; give the reward's parameter another name"):
        STAIR.with_reward(lambda s, a, n, r, t, p: r, params={"cost": 1.0})


def test_a_state_is_without_tables():
    vec, _ = rolled()
    state = vec.get_state()
    before = vec.rollout(5)
    assert state.params._fields == ("noise",)
    assert all(len(x) != HEIGHTS for x in tensors(state) if x.ndim)
    other, _ = rolled()
    other.rollout(3)
    other.set_state(state)
    agree(before, other.rollout(5))


@each_backend
def test_copies_and_pickles(backend):
    vec, _ = rolled(backend=backend)
    twins = copy.deepcopy(vec), pickle.loads(pickle.dumps(vec))
    expected = vec.rollout(9)
    for twin in twins:
        assert same(expected, twin.rollout(9))
    env = pickle.loads(pickle.dumps(STAIR))
    assert same(tuple(env.tables), tuple(STAIR.tables))


@each_backend
def test_tables_lie_there_once(backend):
    a, b = (make(STAIR, n, backend=backend) for n in (3, 64))
    for mine, own, given in zip(a.task.tables, b.task.tables, STAIR.tables, strict=True):
        assert mine.data_ptr() == own.data_ptr() == given.data_ptr()
    for array, given in zip(on_arrays(STAIR).tables, STAIR.tables, strict=True):
        assert array.ctypes.data == given.data_ptr()


def test_an_array_that_fits_is_not_copied():
    prices = np.arange(6, dtype=np.float32)
    for writable in (True, False):
        prices.flags.writeable = writable
        assert walker(lambda s, p: take(p.x, s.at), x=prices).tables.x.data_ptr() == prices.ctypes.data


@each_backend
@each
def test_other_tables(env, backend):
    """Of another length; the environment's own stay as they were."""
    out, changed = (rolled(env, backend=backend, tables=x)[1] for x in (None, OTHER._asdict()))
    agree(changed, rolled(replace(env, tables=OTHER), backend="eager")[1])
    assert not torch.equal(changed.obs, out.obs)
    assert [x.shape for x in env.tables] == [x.shape for x in tables()]


def test_tables_of_other_lengths_are_one_code():
    from gpusim.sim.cpu import emit

    sources = set()
    for given in (tables(), OTHER):
        vec, _ = rolled(tables=given, backend="native")
        of, state = native._kinds(vec.task, vec._mode())
        sources.add(emit.source(vec.task, vec._mode(), vec.params, of, state, "act"))
    assert len(sources) == 1


def test_some_tables_by_name():
    vec = make(STAIR, 3, tables={"cost": OTHER.cost})
    assert torch.equal(vec.task.tables.cost, torch.from_numpy(OTHER.cost))
    assert vec.task.tables.height.data_ptr() == STAIR.tables.height.data_ptr()
    assert vec.task.id == "Stair-v0"


def test_a_picture_is_given_tables():
    seen = []

    def render(s, p):
        seen.append((s.at, type(p.height), p.noise))
        return np.full((4, 4, 3), int(255 * p.open[0]), np.uint8)

    vec = make(replace(STAIR, render=render), 2, render_mode="rgb_array")
    vec.reset(seed=0)
    frames = vec.render()
    assert seen[0][1] is np.ndarray
    assert (np.stack(frames) == 255 * bool(STAIR.tables.open[0])).all()


GIVEN = np.ones(5, np.float32)
WRONG = [
    ([1.0, float("nan")], "the table 'x' of Walker-v0 has nan in row 1, which no finite float32 is"),
    ([[1.0, 2.0], [3.0, float("inf")]], "has inf in row 1, column 1, which no finite float32 is"),
    ([1.0, 1e300], r"has .* in row 1, which no finite float32 is|has inf in row 1"),
    (np.array([1.0, 1e300]), r"has 1e\+300 in row 1, which no finite float32 is"),
    (np.array([1, 2, 2**31]), "has 2147483648 in row 2, which no finite int32 is"),
    (np.ones((2, 3, 4)), r"must have the shape \[T\] or \[T, K\], and from 1 to 2\*\*31 - 1 entries, not \(2, 3, 4\)"),
    (3.0, r"must have the shape \[T\] or \[T, K\]"),
    ([], r"must have the shape .*, not \(0,\)"),
    (np.ones((0, 3)), r"must have the shape .*, not \(0, 3\)"),
    (["a", "b"], r"must be numbers, in a tensor, an array or a list, not \['a', 'b'\]"),
    ([[1.0], [1.0, 2.0]], "must be numbers, in a tensor, an array or a list, not"),
    (None, "must be numbers, in a tensor, an array or a list, not None"),
    (torch.ones(3).to_sparse(), "must be numbers, in a tensor, an array or a list"),
    (np.ones(3, np.complex64), "must be of float32, int32 or bool, not complex64"),
]


@pytest.mark.parametrize(("given", "sentence"), WRONG, ids=lambda x: str(x)[:20])
def test_what_is_no_table_is_refused(given, sentence):
    with pytest.raises(InputError, match=sentence):
        walker(lambda s, p: take(p.x, s.at), x=given)
    with pytest.raises(InputError, match=sentence):
        make(walker(lambda s, p: take(p.x, s.at), x=GIVEN), 2, tables={"x": given})


def test_numbers_that_fit_are_narrowed():
    env = walker(lambda s, p: take(p.x, s.at), x=np.arange(5.0))
    assert env.tables.x.dtype == torch.float32
    assert walker(lambda s, p: take(p.x, s.at), x=[1, 2, 3]).tables.x.dtype == torch.int32
    assert walker(lambda s, p: take(p.x, s.at), x=np.ones(4, np.float32)[::2]).tables.x.is_contiguous()


def test_names_that_clash_and_what_is_no_record_are_refused():
    with pytest.raises(
        InputError, match="'noise' is a parameter and a table of Stair-v0: give one of them another name"
    ):
        replace(STAIR, tables=NamedTuple("Two", [("noise", object)])(GIVEN))
    for wrong in ({"x": GIVEN}, GIVEN, (), [GIVEN]):
        with pytest.raises(
            InputError, match="the tables of Stair-v0 must be a NamedTuple of tensors, arrays or lists, not"
        ):
            replace(STAIR, tables=wrong)


REPLACED = [
    ({"heights": GIVEN}, r"Stair-v0 has no table 'heights'; it has height, cost, jump, turn, open, wall\."),
    ({3: GIVEN}, "Stair-v0 has no table 3; it has"),
    ([GIVEN], "tables must be a dict of tables by name, not "),
    (
        {"height": np.ones((5, 1))},
        r"the table 'height' of Stair-v0 must be float32 \[T\], of any length, not float32 \[T, 1\]",
    ),
    ({"cost": np.ones((5, 2))}, r"must be float32 \[T, 3\], of any length, not float32 \[T, 2\]"),
    ({"jump": GIVEN}, r"the table 'jump' of Stair-v0 must be int32 \[T\], of any length, not float32 \[T\]"),
]


@pytest.mark.parametrize(("given", "sentence"), REPLACED, ids=lambda x: str(x)[:20])
def test_what_cannot_take_their_place_is_refused(given, sentence):
    with pytest.raises(InputError, match=sentence):
        make(STAIR, 2, tables=given)
    with pytest.raises(InputError, match="CartPole-v1 has no tables that could be replaced"):
        make("CartPole-v1", 2, tables={"x": GIVEN})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (lambda s, p: take(p.x, s.at + 4), r"the step of Walker-v0 .*fails by IndexError \(row 5 of a table of 5 rows\)"),
        (lambda s, p: take(p.x, s.at - 2), r"fails by IndexError \(row -1 of a table of 5 rows\)"),
        (lambda s, p: take(p.x, -1) + s.kept, r"fails by IndexError \(row -1 of a table of 5 rows\)"),
        (lambda s, p: take(p.x, 0, s.at), r"fails by IndexError \(column 1 of a table of 1 columns\)"),
        (lambda s, p: p.x[s.at], r"fails by TypeError \(a table is read by take\(table, row\)"),
        (lambda s, p: take(p.x, s.kept), r"TypeError \(a row is an int lane or a whole number, not a float32 lane\)"),
        (lambda s, p: take(p.x, 1.0), r"fails by TypeError \(a row is an int lane or a whole number, not 1.0\)"),
        (lambda s, p: take(p.x, s.at > 0), r"TypeError \(a row is an int lane or a whole number, not a bool lane\)"),
        (lambda s, p: rows(s.kept) + s.kept, "makes environments depend on one another"),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_trial_refuses(body, sentence):
    with pytest.raises(InputError, match=sentence):
        make(walker(body, x=GIVEN), 2)


def test_a_trial_of_other_tables_refuses():
    body = lambda s, p: take(p.x, s.at + 3)  # noqa: E731
    with pytest.raises(InputError, match=r"row 4 of a table of 4 rows"):
        make(walker(body, x=GIVEN), 2, tables={"x": GIVEN[:4]})


def test_digests_tell_tables_apart():
    assert digest(STAIR) == digest(replace(STAIR, tables=tables()))
    assert digest(STAIR) != digest(replace(STAIR, tables=OTHER))
    assert set(digest(STAIR)) == set(STAIR.tables._fields)
    flat, tall = (walker(lambda s, p: take(p.x, 0), x=x) for x in (np.ones((2, 3)), np.ones((3, 2))))
    assert digest(flat) != digest(tall)
    assert digest(gpusim.make("CartPole-v1", 1, device="cpu").task) is None
