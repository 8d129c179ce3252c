"""Gymnasium's environments as oracles, cases to ask them about, and the comparison of an `Env` with their answers."""

import functools
import itertools
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Discrete

from gpusim import Env
from gpusim.kernels.lang import Rng


class Tolerance(NamedTuple):
    """How far from the oracle is near enough; absolute, and relative for values above 1."""

    step32: float  # one step in float32, on rows that are well conditioned
    step64: float  # one step in float64: the formulas, without the rounding
    episode: float  # a whole episode in float32, each from its own last state
    horizon: int  # for so many steps of it
    steady: float  # the least share of rows that must be well conditioned
    reason: str


TOLERANCES = {
    "CartPole-v1": Tolerance(
        4e-7, 1e-12, 5e-4, 100, 0.99, "under common actions errors of the pole grow by 8 % a step"
    ),
    "Acrobot-v1": Tolerance(
        2e-5, 1e-12, 2e-3, 90, 0.9, "chaotic; at full speed a step of 0.2 s multiplies errors by 1000"
    ),
    "MountainCar-v0": Tolerance(2e-7, 1e-12, 1e-5, 200, 0.99, "float32 rounds each step; hardly anything grows"),
    "MountainCarContinuous-v0": Tolerance(3e-7, 1e-7, 2e-5, 999, 0.99, "the oracle itself rounds its state to float32"),
    "Pendulum-v1": Tolerance(2e-6, 1e-12, 5e-3, 200, 0.99, "the upright pendulum is unstable; reward goes to -16"),
}
NUDGE = {torch.float32: 1e-6, torch.float64: 1e-10}
"""Beside a discontinuity (a threshold, a wall, the seam of an angle) rounding decides which side a row falls on. There,
and only there, we may answer what the oracle answers to a state this far off in each component."""
MOST_NUDGED = 0.03  # of all rows; far more of them lie near a threshold, but not within a nudge
STEADY = 100.0  # a row is well conditioned where a nudge of the state changes the answer by at most so many nudges


class Answer(NamedTuple):
    """What one step gives, rows first."""

    state: np.ndarray
    obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


class Cases(NamedTuple):
    state: np.ndarray  # [M, k] float64 that float32 holds exactly
    action: np.ndarray  # [M] int64 or [M, d] float64
    expected: Answer
    steady: np.ndarray  # [M] bool, well conditioned
    oracle: Any


ATTRIBUTES = {  # our parameter: Gymnasium's attribute, and a value given to both, to see that they mean the same
    "CartPole-v1": {
        "gravity": ("gravity", 7.5),
        "mass_cart": ("masscart", 1.25),
        "mass_pole": ("masspole", 0.375),
        "half_length": ("length", 0.75),
        "force": ("force_mag", 6.0),
        "dt": ("tau", 0.03125),
        "theta_limit": ("theta_threshold_radians", 0.1875),
        "x_limit": ("x_threshold", 2.25),
    },
    "Acrobot-v1": {
        "length1": ("LINK_LENGTH_1", 1.25),
        "mass1": ("LINK_MASS_1", 0.75),
        "mass2": ("LINK_MASS_2", 1.5),
        "com1": ("LINK_COM_POS_1", 0.625),
        "com2": ("LINK_COM_POS_2", 0.375),
        "inertia": ("LINK_MOI", 1.125),
        "max_speed1": ("MAX_VEL_1", 11.0),
        "max_speed2": ("MAX_VEL_2", 25.0),
        "torque": ("AVAIL_TORQUE", 1.75),
        "dt": ("dt", 0.1875),
    },
    "MountainCar-v0": {
        "force": ("force", 0.00125),
        "gravity": ("gravity", 0.003),
        "min_position": ("min_position", -1.125),
        "max_position": ("max_position", 0.5625),
        "max_speed": ("max_speed", 0.0625),
        "goal_position": ("goal_position", 0.4375),
        "goal_velocity": ("goal_velocity", 0.01),
    },
    "MountainCarContinuous-v0": {
        "power": ("power", 0.00125),
        "min_position": ("min_position", -1.125),
        "max_position": ("max_position", 0.5625),
        "max_speed": ("max_speed", 0.0625),
        "goal_position": ("goal_position", 0.4375),
        "goal_velocity": ("goal_velocity", 0.01),
    },
    "Pendulum-v1": {
        "gravity": ("g", 8.5),
        "mass": ("m", 1.25),
        "length": ("l", 0.75),
        "max_speed": ("max_speed", 7.0),
        "max_torque": ("max_torque", 1.5),
        "dt": ("dt", 0.0625),
    },
}


def changed(env: Env) -> dict[str, float]:
    return {name: value for name, (_, value) in ATTRIBUTES[env.id].items()}


class Oracle:
    """One of Gymnasium's environments, put into any state, and with other parameters where told so."""

    def __init__(self, name: str, other: bool = False):
        self.env: Any = gymnasium.make(name, disable_env_checker=True).unwrapped
        self.env.reset(seed=0)
        for attribute, value in ATTRIBUTES[name].values() if other else ():
            assert hasattr(self.env, attribute)
            setattr(self.env, attribute, [-value, 0.0, value] if attribute == "AVAIL_TORQUE" else value)
        if other and name == "CartPole-v1":
            self.env.total_mass = self.env.masscart + self.env.masspole
            self.env.polemass_length = self.env.masspole * self.env.length

    def step(self, state: np.ndarray, action: np.ndarray) -> Answer:
        rows = [self._row(s, a) for s, a in zip(state, action, strict=True)]
        return Answer(*(np.array(column) for column in zip(*rows, strict=True)))

    def _row(self, state: np.ndarray, action: Any) -> tuple:
        self.env.state = state.copy()
        self.env.steps_beyond_terminated = None
        obs, reward, terminated, _, _ = self.env.step(int(action) if np.ndim(action) == 0 else action)
        return np.array(self.env.state, np.float64), np.array(obs, np.float64), float(reward), terminated

    def resets(self, count: int) -> np.ndarray:
        """`[count, k]` states that episodes begin with."""
        self.env.reset(seed=1)
        return np.array([(self.env.reset(), self.env.state)[1] for _ in range(count)], np.float64)


RANGES = {  # of each component: where to sample, and values where something happens
    "CartPole-v1": (
        [(-2.6, 2.6), (-4, 4), (-0.25, 0.25), (-4, 4)],
        [(-2.39, 0, 2.39), (-1, 0, 1), (-0.205, 0, 0.205), (-1, 0, 1)],
    ),
    "Acrobot-v1": (
        [(-np.pi, np.pi), (-np.pi, np.pi), (-4 * np.pi, 4 * np.pi), (-9 * np.pi, 9 * np.pi)],
        [(-np.pi, 0, 3.1, np.pi), (-np.pi, 0, 0.1, np.pi), (-12.5, -1, 0, 1, 12.5), (-28, -1, 0, 1, 28)],
    ),
    "MountainCar-v0": (
        [(-1.2, 0.6), (-0.07, 0.07)],
        [(-1.2, -1.19, 0.45, 0.499, 0.5, 0.55, 0.6), (-0.07, -0.01, 0, 0.0005, 0.001, 0.002, 0.01, 0.07)],
    ),
    "MountainCarContinuous-v0": (
        [(-1.2, 0.6), (-0.07, 0.07)],
        [(-1.2, -1.19, 0.449, 0.45, 0.5, 0.6), (-0.07, -0.01, 0, 0.0005, 0.001, 0.002, 0.01, 0.07)],
    ),
    "Pendulum-v1": (
        [(-10, 10), (-8, 8)],
        [(-3 * np.pi, -np.pi, 0, 3.14, np.pi, 3 * np.pi), (-8, -7.9, 0, 7.9, 8)],
    ),
}


@functools.cache
def cases(env: Env, other: bool = False, random: int = 1500, edges: int = 40) -> Cases:
    """Random states and actions, special values in all combinations, and pairs of states that straddle a threshold."""
    rng = np.random.default_rng(7)
    ranges, special = RANGES[env.id]
    low, high = np.array(ranges, np.float64).T
    anywhere = rng.uniform(low, high, (random, len(low)))
    corners = np.array(list(itertools.product(*special)), np.float64)
    state = np.concatenate([anywhere, corners]).astype(np.float32).astype(np.float64)
    action = actions(env, rng, len(state))
    oracle = Oracle(env.id, other)
    ended = oracle.step(state, action).terminated
    if ended.any():
        near, at = straddle(oracle, state, action, ended, edges, rng)
        state, action = np.concatenate([state, near]), np.concatenate([action, at])
    expected = oracle.step(state, action)
    return Cases(state, action, expected, steady(oracle, state, action, expected), oracle)


def actions(env: Env, rng: np.random.Generator, count: int) -> np.ndarray:
    """Of a `Box` some beyond its bounds, some on them."""
    if isinstance(env.action_space, Discrete):
        return rng.integers(0, env.action_space.n, count)
    wide = rng.uniform(1.5 * env.action_space.low, 1.5 * env.action_space.high, (count, *env.action_space.shape))
    wide[::7] = np.clip(np.round(wide[::7]), env.action_space.low, env.action_space.high)
    return wide.astype(np.float32).astype(np.float64)


def straddle(oracle, state, action, ended, count, rng):
    """States on the way from one that ends the episode to one that does not, around the point where that changes."""
    inside, outside = (rng.choice(np.flatnonzero(rows), count) for rows in (~ended, ended))
    a, b, act = state[inside], state[outside], action[outside]
    start = oracle.step(a, act).terminated
    a, b, act = a[~start], b[~start], act[~start]
    low, high = np.zeros(len(a)), np.ones(len(a))
    for _ in range(26):
        middle = (low + high) / 2
        over = oracle.step(_between(a, b, middle), act).terminated
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    offsets = (0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, -1e-6, -1e-5, -1e-4, -1e-3, -1e-2)
    near = np.concatenate([_between(a, b, high + offset) for offset in offsets])
    return near, np.concatenate([act] * len(offsets))


def _between(a, b, share):
    return (a + (b - a) * share[:, None]).astype(np.float32).astype(np.float64)


def steady(oracle, state, action, expected):
    nudge = NUDGE[torch.float32]
    nudged = oracle.step(state + nudge * np.where(np.arange(len(state))[:, None] % 2, 1, -1), action)
    return np.abs(nudged.state - expected.state).max(1) < STEADY * nudge


def ours(env: Env, state: np.ndarray, action: np.ndarray, dtype: torch.dtype) -> Answer:
    """The same step by `env`. In float64 its parameters are lanes, as a Python number would count as float32."""
    lanes = [torch.tensor(column, dtype=dtype) for column in state.T]
    act = torch.tensor(action)
    act = act if act.ndim == 1 else act[:, 0].to(dtype)
    p = env.params
    if dtype == torch.float64:
        p = type(p)(*(torch.full_like(lanes[0], value) for value in p))
    kind = type(env.init(Rng(0, torch.zeros(1, dtype=torch.int64), 0, 0, 0), env.params))
    new, reward, terminated = env.step(kind(*lanes), act, None, p)
    obs = torch.stack([o.expand(len(state)) for o in env.observe(new, p)], 1)
    assert reward.shape == terminated.shape == (len(state),)
    assert terminated.dtype == torch.bool
    state = torch.stack(list(new), 1)
    return Answer(state.double().numpy(), obs.double().numpy(), reward.double().numpy(), terminated.numpy())


def assert_parity(env: Env, given: Cases, dtype: torch.dtype) -> int:
    """Holds `env` against the oracle's answers; returns how many rows were excused as beside a discontinuity."""
    tolerance = TOLERANCES[env.id]
    within = tolerance.step32 if dtype == torch.float32 else tolerance.step64
    rows = given.steady if dtype == torch.float32 else np.ones(len(given.state), bool)
    state, action = given.state[rows], given.action[rows]
    expected = Answer(*(x[rows] for x in given.expected))
    got = ours(env, state, action, dtype)
    off = np.flatnonzero(~agree(got, expected, within))
    assert len(off) <= MOST_NUDGED * len(state), (
        f"{env.id}: {len(off)} of {len(state)} rows differ in {dtype}, the first from {state[off[0]]} under "
        f"{action[off[0]]}: {[x[off[0]] for x in got]} and not {[x[off[0]] for x in expected]}"
    )
    left = np.ones(len(off), bool)
    answer = Answer(*(x[off] for x in got))
    for signs in itertools.product((-1, 1), repeat=state.shape[1]):
        if left.any():
            nudged = state[off[left]] + NUDGE[dtype] * np.array(signs)
            near = given.oracle.step(nudged, action[off[left]])
            left[left] = ~agree(Answer(*(x[left] for x in answer)), near, within + STEADY * NUDGE[dtype])
    assert not left.any(), f"{env.id}: {left.sum()} rows differ in {dtype}, the first from {state[off[left][0]]}"
    return len(off)


def agree(a: Answer, b: Answer, within: float) -> np.ndarray:
    """`[M]` bool."""
    close = a.terminated == b.terminated
    for x, y, least in ((a.state, b.state, 0.0), (a.obs, b.obs, 1e-7), (a.reward, b.reward, 0.0)):
        near = np.abs(x - y) <= max(within, least) * np.maximum(1.0, np.abs(y))  # the oracle's obs are float32
        close &= near if near.ndim == 1 else near.all(1)
    return close
