"""The highways and the parking place: every frame highway-env's, and what else is promised of them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gpusim
from gpusim import Uniform
from gpusim.agents.train.evaluate import evaluate_oracle
from gpusim.agents.train.originals import original
from gpusim.envs.driving import (
    collision,
    control,
    crashes,
    driven,
    highway,
    highway_fast,
    mobil,
    parking,
    picture,
    traffic,
)
from gpusim.envs.driving.score import score
from gpusim.envs.driving.traffic import State
from gpusim.kernels import launch
from gpusim.kernels.lang import STREAM_INIT, Rng
from gpusim.kernels.launch import recording
from gpusim.kernels.offline import compile_for
from gpusim.testing import check_vector_env
from tests import interpreter
from tests.envs import highway_oracle, parking_oracle
from tests.envs.highway_oracle import MISSING, installed
from tests.envs.test_parity import furthest_apart

HIGHWAYS = {"fast": highway_fast, "full": highway}
ENVS = (highway_fast.HIGHWAY_FAST, highway.HIGHWAY, parking.PARKING)
each = pytest.mark.parametrize("env", ENVS, ids=lambda e: e.id)
each_highway = pytest.mark.parametrize("road", HIGHWAYS)
with_oracle = pytest.mark.skipif(not installed(), reason=MISSING)
ROUNDING = {"x": 1.3e-4, "y": 2e-6, "heading": 5e-7, "speed": 1e-5, "timer": 3e-7, "push_x": 1e-4, "push_y": 1e-4}
"""What float32 may differ by in a frame [m, rad, m/s, s]; x is beyond 1000 m. Anything else is equal."""


def make(env, num_envs=5, **kwargs):
    return gpusim.make(env, num_envs, **({"device": "cpu", "backend": "eager"} | kwargs))


def on_lanes(fields, kind=State):
    return kind(**{name: torch.from_numpy(np.array(x)) for name, x in fields.items()})


def frame(road, s, **params):
    """A frame of ours."""
    of = HIGHWAYS[road]
    p = of.Params(ego_spacing=1.5)._replace(**params)
    s = driven.driven(s, p, of.DT, of.VEHICLES, of.SLOTS, of.LANES)
    return (crashes.of_ego if road == "fast" else crashes.of_all)(s, of.DT, of.VEHICLES, of.SLOTS)


TIES = ("struck", "push_x", "push_y")
"""Where pushes have left two exactly side by side, or one behind the other, a rounding decides whether and where to."""


def differences(ours, theirs, origin, count, ties=0.0):
    """A sentence for each field that differs, with the seed, the frame and the vehicle that differ most.

    Args:
        ties: the share of frames in which what hangs on a rounding may.
    """
    found = []
    for name, after in theirs.items():
        a, b = getattr(ours, name).numpy().astype(np.float64), np.asarray(after).astype(np.float64)
        if name.startswith("push"):  # of nobody who is pushed it says nothing
            a, b = a * theirs["struck"], b * theirs["struck"]
        if a.ndim == 2:
            first = 1 if name in ("timer", "exponent") else 0  # the ego has none
            a, b = a[:, first:count], b[:, first:count]
        gap = np.abs(a - b).reshape(len(a), -1)
        bad = gap > ROUNDING.get(name, 0.0)
        if bad.any(1).mean() > (ties if name in TIES else 0.0):
            row, vehicle = np.unravel_index(np.argmax(gap * bad), gap.shape)
            seed, at = origin[row]
            told = f"{a.reshape(gap.shape)[row, vehicle]:.7g} instead of {b.reshape(gap.shape)[row, vehicle]:.7g}"
            found.append(f"{name} of {bad.sum()}: seed {seed}, frame {at}, vehicle {vehicle}: {told}")
    return found


def agree(road, given, ties=0.0, **params):
    of = HIGHWAYS[road]
    return differences(frame(road, on_lanes(given.before), **params), given.after, given.origin, of.VEHICLES, ties)


def driven_frames(road, count):
    of = HIGHWAYS[road]
    return highway_oracle.frames(of.__name__.rpartition(".")[2].replace("_", "-") + "-v0", of.SLOTS, count)


def scattered_frames(road, count, seed=0):
    of = HIGHWAYS[road]
    name = {"fast": "highway-fast-v0", "full": "highway-v0"}[road]
    return highway_oracle.scattered(name, of.SLOTS, count, seed)


# Frame by frame.


@with_oracle
@each_highway
def test_frames_of_episodes(road):
    count = 200 if road == "fast" else 30
    given = driven_frames(road, count)
    assert not agree(road, given)
    assert (given.before["target"] != given.after["target"]).any()


@with_oracle
@each_highway
def test_frames_from_anywhere(road):
    """Dense traffic, with hundreds of changes of lanes and of crashes."""
    given = scattered_frames(road, 300 if road == "fast" else 40)
    assert not agree(road, given)
    assert (given.before["target"] != given.after["target"]).sum() > 200
    assert (given.before["crashed"] != given.after["crashed"]).sum() > 200


@pytest.mark.slow
@with_oracle
@each_highway
def test_thousands_of_frames(road):
    fast = road == "fast"
    for given in (
        driven_frames(road, 4000 if fast else 600),
        scattered_frames(road, 4000 if fast else 1000, seed=1),
    ):
        found = agree(road, given, ties=0.002)
        assert not found, found


def at_once(lane, before, wanted, changing, s, count, size, d):
    """As if nobody knew what the others have decided."""
    target = before.clone()
    for i in range(1, count):
        alone = torch.arange(size) == i
        mine = torch.where(alone, wanted, before)
        target[:, i] = AGREED(lane, before, mine, changing & alone, s, count, size, d)[:, i]
    return target


AGREED = mobil.agreed
FAULTS = {
    "the exponent of the driver model": lambda m: m.setattr(driven, "free", lambda x, d: FREE(x * 1.02, d)),
    "the order of vehicles": lambda m: m.setattr(driven, "agreed", at_once),
    "nobody gives way": lambda m: m.setattr(driven, "agreed", lambda lane, before, wanted, *rest: wanted),
    "the delay of changes": lambda m: m.setattr(driven, "DELAY", 1.01),
    "slow ones change lanes": lambda m: m.setattr(mobil, "SLOWEST", 0.9),
    "the gain of the speed controller": lambda m: m.setattr(control, "SPEED_GAIN", 1.0 / 0.61),
    "the greatest steering angle": lambda m: m.setattr(control, "GREATEST_SLIP", 0.66),
    "the width of a car": lambda m: m.setattr(crashes, "WIDTH", 2.02),
    "the length of a car": lambda m: m.setattr(crashes, "LENGTH", 4.98),
    "the way of the next frame": lambda m: m.setattr(collision, "minimum", lambda x, y: x * 0.0),
    "hard braking": lambda m: m.setattr(driven, "HARDEST", 6.05),
}
FREE = driven.free
WRONG = {"jam": 10.02, "headway": 1.503, "acceleration": 3.01, "braking": 5.02, "gain": 0.25, "imposed": 1.6}


@with_oracle
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault, monkeypatch):
    FAULTS[fault](monkeypatch)
    found = agree("fast", scattered_frames("fast", 300))
    assert found
    assert all("seed 0, frame" in sentence and "vehicle" in sentence for sentence in found)


@with_oracle
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_parameter_is_seen(name):
    assert agree("fast", scattered_frames("fast", 300), **{name: WRONG[name]})


@with_oracle
def test_of_several_pushes_the_last_counts(monkeypatch):
    given = scattered_frames("full", 40)
    monkeypatch.setattr(
        crashes, "hit", lambda s, touching, meeting, *push: HIT(s, touching, meeting & ~s.struck, *push)
    )
    assert agree("full", given)


HIT = crashes.hit


# Step by step: actions, rewards, ends and observations.


@with_oracle
@each_highway
def test_steps_of_episodes(road):
    check_steps(road, 60 if road == "fast" else 6)


@pytest.mark.slow
@with_oracle
@each_highway
def test_hundreds_of_steps(road):
    check_steps(road, 900 if road == "fast" else 60)


def check_steps(road, count, **params):
    """Five frames, or fifteen, from common states; in one of many some vehicle decides otherwise by a rounding."""
    of = HIGHWAYS[road]
    given = highway_oracle.steps({"fast": "highway-fast-v0", "full": "highway-v0"}[road], of.SLOTS, count)
    env = of.HIGHWAY_FAST if road == "fast" else of.HIGHWAY
    p = env.params._replace(**params)
    after, reward, terminated = env.step(on_lanes(given.before), torch.from_numpy(given.action), None, p)
    obs = torch.stack(env.observe(after, p), -1).numpy()
    same = (np.abs(obs - given.obs) < 1e-5).all(1)
    assert same.mean() > 0.99, [given.origin[row] for row in np.flatnonzero(~same)]
    np.testing.assert_allclose(reward.numpy()[same], given.reward[same], rtol=0, atol=1e-6)
    assert (terminated.numpy() == given.terminated)[same].all()


@with_oracle
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("collision_reward", -1.01),
        ("right_lane_reward", 0.11),
        ("high_speed_reward", 0.41),
        ("slow", 20.1),
        ("fast", 30.1),
    ],
)
def test_a_wrong_reward_is_seen(name, value):
    with pytest.raises(AssertionError):
        check_steps("fast", 60, **{name: value})


@with_oracle
def test_parking_is_theirs():
    check_parking(120)


@pytest.mark.slow
@with_oracle
def test_parking_is_theirs_for_long():
    check_parking(2000)


def check_parking(count):
    given = parking_oracle.steps(count)
    action = torch.from_numpy(given.action)
    p = parking.Params()
    after, reward, terminated = parking.step(
        on_lanes(given.before, parking.State), (action[:, 0], action[:, 1]), None, p
    )
    found = differences(after, given.after, given.origin, 1)
    assert not found, found
    obs = torch.stack(parking.observe(after, p), -1).numpy()
    np.testing.assert_allclose(obs, given.obs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(reward.numpy(), given.reward, rtol=0, atol=2e-6)
    assert (terminated.numpy() == given.terminated).all()
    assert given.terminated.any()


@with_oracle
@pytest.mark.parametrize("fault", ["THICK", "WIDTH_OF_PLACE", "LENGTH_OF_PLACE", "HARDEST", "WIDTH"])
def test_a_fault_in_the_parking_place_is_seen(fault, monkeypatch):
    monkeypatch.setattr(parking, fault, getattr(parking, fault) * 1.03)
    with pytest.raises(AssertionError):
        check_parking(120)


# Beginnings.


@with_oracle
@each_highway
def test_beginnings_have_their_distribution(road):
    of = HIGHWAYS[road]
    env = highway_oracle.theirs({"fast": "highway-fast-v0", "full": "highway-v0"}[road])
    rows = []
    for seed in range(60):
        env.reset(seed=seed)
        rows.append(highway_oracle.read(env, of.SLOTS))
    theirs = {name: np.stack([row[name] for row in rows])[:, : of.VEHICLES] for name in rows[0]}
    params = (of.HIGHWAY_FAST if road == "fast" else of.HIGHWAY).params
    begun = of.init(Rng(5, torch.arange(600), 0, 0, STREAM_INIT), params)
    ours = {name: getattr(begun, name).numpy()[:, : of.VEHICLES] for name in begun._fields}
    assert furthest_apart(ours["x"][:, 0], theirs["x"][:, 0]) < 0.25  # of 60
    assert ours["x"][:, 0].min() > theirs["x"][:, 0].min() * 0.95
    for name in ("y", "speed", "timer", "exponent"):
        assert furthest_apart(ours[name][:, 1:].ravel(), theirs[name][:, 1:].ravel()) < 0.06, name
    assert furthest_apart(np.diff(ours["x"]).ravel(), np.diff(theirs["x"]).ravel()) < 0.06
    assert (ours["speed"][:, 0] == 25.0).all()
    assert (ours["target_speed"] == ours["speed"]).all()


@with_oracle
def test_beginnings_of_parking():
    theirs = parking_oracle.resets(150)
    begun = parking.init(Rng(5, torch.arange(3000), 0, 0, STREAM_INIT), parking.Params())
    heading, x, y = (v.numpy() for v in (begun.heading, begun.goal_x, begun.goal_y))
    assert furthest_apart(heading, theirs[:, 0]) < 0.15  # of 150
    spots = {(float(a), float(b)) for a, b in zip(x, y, strict=True)}
    assert spots == {(-26.0 + 4.0 * k, b) for k in range(14) for b in (-14.0, 14.0)}
    own = np.where(heading <= np.pi, 14.0, -14.0)
    assert not ((x == -2.0) & (y == own)).any()
    assert not ((theirs[:, 1] == -2.0) & (theirs[:, 2] == np.where(theirs[:, 0] <= np.pi, 14.0, -14.0))).any()
    assert furthest_apart(x, theirs[:, 1]) < 0.15


# What needs no oracle.


def test_a_follower_keeps_its_distance():
    """Behind a steady one it comes to rest at the gap of the model: g / √(1 - (v / v₀)⁴), where it wants to be faster."""
    s = traffic.begun(Rng(0, torch.arange(1), 0, 0, STREAM_INIT), highway_fast.Params(), 21, 32, 3)
    x = s.x * 0.0 - torch.arange(32.0) * 1e3
    x[0, 0], x[0, 1] = 500.0, 460.0
    y, speed = s.y * 0.0, s.speed * 0.0
    speed[0, :2] = 20.0
    target_speed = speed.clone()
    target_speed[0, 1] = 25.0
    s = s._replace(x=x, y=y, speed=speed, target_speed=target_speed, target=s.target * 0, exponent=s.exponent * 0 + 4.0)
    s = s._replace(timer=s.timer * 0.0 - 1e6)  # nobody changes lanes
    for _ in range(250):
        s = driven.driven(s, highway_fast.Params(), 0.2, 21, 32, 3)
    expected = (10.0 + 20.0 * 1.5) / np.sqrt(1.0 - (20.0 / 25.0) ** 4)
    assert float(s.speed[0, 1]) == pytest.approx(20.0, abs=1e-3)
    assert float(s.x[0, 0] - s.x[0, 1]) == pytest.approx(expected, rel=1e-3)


def test_a_square_that_runs_into_a_wall_is_pushed_out():
    """Half a metre before it at ten metres a second: in the next frame it would be a sixth of a metre inside."""
    one = torch.ones(1)
    pair = collision.Pair(one * 3.5, one * 0.0, one * (10 / 15), one * 0.0, one, one * 0.0, one, one * 0.0)
    c = collision.contact(pair, one * 100.0, 1.0, 1.0, 2.0, 2.0)
    assert not c.touching
    assert c.meeting
    assert float(c.push_x) == pytest.approx(-(10 / 15 - 0.5))
    assert float(c.push_y) == 0.0


def test_always_slower_never_crashes():
    """What a policy has to beat."""
    vec = make(highway_fast.HIGHWAY_FAST, 40)
    vec.reset(seed=0)
    total = torch.zeros(40)
    for _ in range(12):
        _, reward, terminated, _, _ = vec.step(torch.full((40,), 4))
        assert not terminated.any()
        total += reward
    assert float((total + 18.0 * reward).mean()) == pytest.approx(
        21.0, abs=0.5
    )  # of 30 steps: 20, 21 or 22 by the lane


# On every backend.


@pytest.mark.parametrize(
    "env", [ENVS[2], *(pytest.param(env, marks=pytest.mark.slow) for env in ENVS[:2])], ids=lambda e: e.id
)
def test_the_contract_is_kept(env):
    few = 2 if env is highway.HIGHWAY else 4  # fifty cars are slow to step eagerly
    check_vector_env(make(env, few, max_episode_steps=few))


@pytest.mark.slow
@each
def test_native_is_eager(env):
    given = {} if env is parking.PARKING else {"gain": Uniform(0.1, 0.5), "jam": Uniform(8.0, 12.0)}
    both = [make(env, 40, backend=backend, params=given, max_episode_steps=5) for backend in ("native", "eager")]
    for vec in both:
        vec.reset(seed=3)
    ours, theirs = (vec.rollout(12) for vec in both)
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)
    assert torch.equal(ours.terminated, theirs.terminated)


@pytest.mark.slow
def test_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    interpreter.passes(Path(__file__).parent / "driving_in_interpreter.py")


@pytest.mark.slow
@pytest.mark.skipif(launch.interpreted(), reason="kernels are interpreted in this process")
@pytest.mark.parametrize("env", [highway_fast.HIGHWAY_FAST, parking.PARKING], ids=lambda e: e.id)
def test_kernels_compile_for_a_gpu_without_spills(env):
    """Those of `highway-v0`, with its 64 slots, compile too, but spill."""
    pytest.importorskip("triton")
    with recording() as launches:
        vec = make(env, 64, backend="triton", validate=False)
        vec.reset(seed=0)
        vec.rollout(2)
    compiled = compile_for(launches[-1], "sm_90")
    assert (compiled.spill_stores, compiled.spill_loads) == (0, 0)


# Scores and pictures.


def test_a_score_tells_crashes_from_arrivals():
    vec = make(highway_fast.HIGHWAY_FAST, 40, max_episode_steps=12)
    slower = score(lambda obs: torch.full((40,), 4), vec, seed=0)
    faster = score(lambda obs: torch.full((40,), 3), vec, seed=0)
    assert (slower.lengths == 12).all()
    assert not slower.crashed.any()
    assert slower.speed == pytest.approx(20.0, abs=0.5)
    assert faster.summary()["crashed"] > 0.6
    assert faster.speed > 25.0
    assert not faster.arrived.any()
    assert faster.returns.mean() == pytest.approx(6.0, abs=1.5)


def test_a_score_of_a_parking_place():
    vec = make(parking.PARKING, 12, params={"success_goal_reward": 0.4})
    ahead = score(lambda obs: torch.tensor([[1.0, 0.0]]).expand(12, 2), vec, seed=0)
    assert (ahead.crashed | ahead.arrived).all()
    assert ahead.crashed.any()
    assert ahead.arrived.any()
    assert (ahead.returns[ahead.crashed] < -5.0).all()


@with_oracle
def test_a_policy_is_played_in_highway_env():
    returns = evaluate_oracle(lambda obs: np.full(len(obs), 4), "Highway/highway-fast-v0", 1, 0)
    assert ((returns > 19.5) & (returns < 23.0)).all()
    venv = original("Highway/parking-v0", 1)
    obs, _ = venv.reset(seed=0)
    assert obs.shape == (1, 12)
    assert obs.dtype == np.float32


def test_highway_env_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "highway_env", None)
    with pytest.raises(gpusim.InputError, match="pip install highway-env"):
        original("Highway/highway-v0", 1)


@pytest.mark.parametrize("env", ENVS[::2], ids=lambda e: e.id)
def test_pictures(env):
    """The ego is green, a wreck red; the same state gives the same picture."""
    vec = make(env, 2)
    vec.reset(seed=0)
    one, two = (gpusim.render(vec, 0, size=None) for _ in range(2))
    assert (one == two).all()
    ego = (one == picture.EGO).all(2).sum()
    assert 200 < ego < 5 * 2 * 36
    state = vec.get_state()
    wrecked = torch.ones_like(state.state.crashed)
    vec.set_state(state._replace(state=state.state._replace(crashed=wrecked)))
    after = gpusim.render(vec, 0, size=None)
    assert not (after == picture.EGO).all(2).any()
    assert (after == picture.WRECK).all(2).sum() >= ego


def test_the_road_moves_past_the_ego():
    vec = make(highway_fast.HIGHWAY_FAST, 1)
    vec.reset(seed=0)
    first = gpusim.render(vec, 0, size=None)
    vec.step(torch.tensor([1]))
    second = gpusim.render(vec, 0, size=None)
    rows, columns = (np.nonzero((frame == picture.EGO).all(2)) for frame in (first, second))
    assert abs(rows[1].mean() - columns[1].mean()) < 2
    assert (first != second).any()
