"""Gymnasium's environments as oracles, cases to ask them about, and the comparison of an `Env` with their answers."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Discrete

from gpusim import Env
from gpusim.kernels.lang import Rng
from tests.envs.beside import oracle


class Tolerance(NamedTuple):
    """How far from the oracle is near enough; absolute, and relative for values above 1."""

    step32: float  # one step in float32, on rows that are well conditioned
    step64: float  # one step in float64: the formulas, without the rounding
    episode: float  # a whole episode in float32, each from its own last state
    horizon: int  # for so many steps of it
    steady: float  # the least share of rows that must be well conditioned
    reason: str


@dataclass(frozen=True, eq=False)
class GymnasiumOracle:
    """What is known of one of Gymnasium's environments, and of those of ours that are to be like it."""

    id: str
    tolerance: Tolerance
    ranges: list[tuple[float, float]]  # where to sample each component of the state
    special: list[tuple[float, ...]]  # its values where something happens
    attributes: dict[str, tuple[str, float]]  # what a parameter is called there, and a value to give to both
    controller: Callable[[Any], Any]  # from an observation to an action, so that an episode goes somewhere
    telling: str  # a parameter of which an error of 2 % shows in an episode
    derive: Callable[[Any], None] = lambda theirs: None  # makes what follows from attributes that were changed
    terminates: bool = True
    harmless: tuple[str, ...] = ()  # mistakes in the source that are none

    @property
    def against(self) -> tuple[str, str]:
        """The source, and the name of the class in it."""
        return "Gymnasium", str(gymnasium.spec(self.id).entry_point).rpartition(":")[2]


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


def changed(env: Env) -> dict[str, float]:
    return {name: value for name, (_, value) in oracle(env).attributes.items()}


class Theirs:
    """Gymnasium's environment, put into any state, and with other parameters where told so."""

    def __init__(self, known: GymnasiumOracle, other: bool = False):
        self.env: Any = gymnasium.make(known.id, disable_env_checker=True).unwrapped
        self.env.reset(seed=0)
        for attribute, value in known.attributes.values() if other else ():
            assert hasattr(self.env, attribute)
            setattr(self.env, attribute, value)
        known.derive(self.env)

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


class Cases(NamedTuple):
    state: np.ndarray  # [M, k] float64 that float32 holds exactly
    action: np.ndarray  # [M] int64 or [M, d] float64
    expected: Answer
    steady: np.ndarray  # [M] bool, well conditioned
    theirs: Theirs


@functools.cache
def cases(env: Env, other: bool = False, random: int = 1500, edges: int = 40) -> Cases:
    """Random states and actions, special values in all combinations, and pairs of states that straddle a threshold."""
    rng = np.random.default_rng(7)
    known = oracle(env)
    low, high = np.array(known.ranges, np.float64).T
    anywhere = rng.uniform(low, high, (random, len(low)))
    corners = np.array(list(itertools.product(*known.special)), np.float64)
    state = np.concatenate([anywhere, corners]).astype(np.float32).astype(np.float64)
    action = actions(env, rng, len(state))
    theirs = Theirs(known, other)
    ended = theirs.step(state, action).terminated
    if ended.any():
        near, at = straddle(theirs, state, action, ended, edges, rng)
        state, action = np.concatenate([state, near]), np.concatenate([action, at])
    expected = theirs.step(state, action)
    return Cases(state, action, expected, steady(theirs, state, action, expected), theirs)


def actions(env: Env, rng: np.random.Generator, count: int) -> np.ndarray:
    """Of a `Box` some beyond its bounds, some on them."""
    if isinstance(env.action_space, Discrete):
        return rng.integers(0, env.action_space.n, count)
    wide = rng.uniform(1.5 * env.action_space.low, 1.5 * env.action_space.high, (count, *env.action_space.shape))
    wide[::7] = np.clip(np.round(wide[::7]), env.action_space.low, env.action_space.high)
    return wide.astype(np.float32).astype(np.float64)


def straddle(theirs, state, action, ended, count, rng):
    """States on the way from one that ends the episode to one that does not, around the point where that changes."""
    inside, outside = (rng.choice(np.flatnonzero(rows), count) for rows in (~ended, ended))
    a, b, act = state[inside], state[outside], action[outside]
    start = theirs.step(a, act).terminated
    a, b, act = a[~start], b[~start], act[~start]
    low, high = np.zeros(len(a)), np.ones(len(a))
    for _ in range(26):
        middle = (low + high) / 2
        over = theirs.step(_between(a, b, middle), act).terminated
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    offsets = (0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, -1e-6, -1e-5, -1e-4, -1e-3, -1e-2)
    near = np.concatenate([_between(a, b, high + offset) for offset in offsets])
    return near, np.concatenate([act] * len(offsets))


def _between(a, b, share):
    return (a + (b - a) * share[:, None]).astype(np.float32).astype(np.float64)


def steady(theirs, state, action, expected):
    nudge = NUDGE[torch.float32]
    nudged = theirs.step(state + nudge * np.where(np.arange(len(state))[:, None] % 2, 1, -1), action)
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
    tolerance = oracle(env).tolerance
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
            near = given.theirs.step(nudged, action[off[left]])
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
