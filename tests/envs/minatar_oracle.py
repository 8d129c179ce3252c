"""The package MinAtar as an oracle: many games in step with ours, told every choice that Philox made here.

The choices are derived here from the words of the generator anew, in whole numbers, and not taken from our games.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from minatar import Environment

from gpusim import Env
from gpusim.kernels.lang import STREAM_INIT, STREAM_STEP, Rng, words
from tests.envs.beside import oracle


def title(env: Env) -> str:
    """`Breakout` of `MinAtar/Breakout-v1`."""
    return env.id.split("/")[1].split("-")[0]


class Told:
    """Stands where MinAtar has its RandomState, and answers what it is told to, in that order; `int`s of nothing else."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def rand(self, *shape: int) -> Any:
        return self._next(shape)

    def randint(self, *args: int, low: int = 0, high: int = 0) -> Any:
        answer = self._next(args[2:])
        answer = answer(args[0]) if callable(answer) else answer
        least, most = (low, high) if high else (0, args[0]) if len(args) == 1 else args[:2]
        assert np.all(least <= np.asarray(answer))
        assert np.all(np.asarray(answer) < most)
        return answer

    def _next(self, shape: tuple[int, ...]) -> Any:
        answer = self.answers.pop(0)
        assert callable(answer) or np.shape(answer) == shape
        return answer


def share(word: int, count: int) -> int:
    """Which of `count` equal parts of the numbers below 2**32 a word lies in."""
    return word * count // 2**32


def none(game: Any, words: list[int]) -> list[Any]:
    return []


@dataclass(frozen=True, eq=False)
class MinatarOracle:
    """What is known of one of MinAtar's games. Choices are what its RandomState has to answer, one after the other, made
    of a game and the four words that Philox drew."""

    module: str  # of the package
    policy: Callable[[Any, np.random.Generator], int]  # that gets somewhere
    prepare: Callable[[Any, list[Any], np.ndarray, np.random.Generator], Any]  # harder beginnings, see `Match`
    changes: list[tuple[str, str]]  # of our source, each a mistake that is to be seen
    choices: Callable[[Any, list[int]], list[Any]] = none  # of a step
    beginning: Callable[[Any, list[int]], list[Any]] = none
    beyond_its_end: bool = False  # whether the game can go on after it has ended
    long: bool = False  # whether an episode has thousands of steps

    @property
    def against(self) -> tuple[str, str]:
        """The source, and the name of the module in it."""
        return "MinAtar", self.module


@dataclass
class Match:
    """Where `count` environments of ours and as many of MinAtar's stand, and what was compared so far.

    `prepare(state, games, which, random)` changes the beginnings on both sides; of MinAtar's only those in `which`.
    """

    env: Env
    count: int
    seed: int = 0
    ramping: bool = True
    sticky: float = 0.1
    policy: Callable[[Any, np.random.Generator], int] | None = None
    prepare: Callable[[Any, list[Any], np.ndarray, np.random.Generator], Any] | None = None
    undying: bool = False  # whether both sides go on where the episode would end
    steps: int = 0
    episodes: int = 0
    reward: float = 0.0

    def __post_init__(self) -> None:
        self.known = oracle(self.env)
        p = self.env.params._replace(sticky=self.sticky)
        self.params = p._replace(ramping=float(self.ramping)) if "ramping" in p._fields else p
        self.oracles = [Environment(self.known.module, self.sticky, self.ramping) for _ in range(self.count)]
        minimal = int(self.env.action_space.n) < 6 if isinstance(self.env.action_space, Discrete) else False
        self.codes = self.oracles[0].minimal_action_set() if minimal else list(range(6))
        self.luck, self.told = [Told() for _ in self.oracles], [Told() for _ in self.oracles]
        for each, luck, told in zip(self.oracles, self.luck, self.told, strict=True):
            each.random, each.env.random = luck, told
        self.index = np.arange(self.count)
        self.episode, self.elapsed = np.zeros(self.count, np.int64), np.zeros(self.count, np.float32)
        self.random = np.random.default_rng(self.seed)
        self.state = self._begun(np.ones(self.count, bool))
        self.compare(self.state, "at the beginning")

    def _words(self, stream: int) -> np.ndarray:
        """`[N, 4]`."""
        return np.stack(words(Rng(self.seed, self.index, self.episode, self.elapsed, stream), 0), 1)

    def _begun(self, which: np.ndarray) -> Any:
        """Beginnings on our side, and those on MinAtar's of which it is asked."""
        rows = self._words(STREAM_INIT).tolist()
        begun = self.env.init(Rng(self.seed, self.index, self.episode, 0, STREAM_INIT), self.params)
        for i in np.flatnonzero(which):
            game = self.oracles[i]
            self.told[i].answers = self.known.beginning(game.env, rows[i])
            game.reset()
            game.last_action = 0  # which MinAtar keeps from the episode before, and we do not
            assert not self.told[i].answers
        if self.prepare is None:
            return begun
        return self.prepare(begun, [o.env for o in self.oracles], which, self.random)

    def actions(self) -> np.ndarray:
        """Uniform for the first of every three environments, as the policy has it nine times of ten for the others."""
        act = self.random.integers(0, len(self.codes), self.count)
        if self.policy is not None:
            for i in np.flatnonzero((self.index % 3 > 0) & (self.random.random(self.count) < 0.9)):
                code = self.policy(self.oracles[i].env, self.random)
                act[i] = self.codes.index(code) if code in self.codes else 0
        return act.astype(np.int32)

    def play(self, steps: int) -> "Match":
        """So many steps of all, every board, reward and end of them compared."""
        for _ in range(steps):
            self._step()
        return self

    def _step(self) -> None:
        act = self.actions()
        rows = self._words(STREAM_STEP).tolist()
        rng = Rng(self.seed, self.index, self.episode, self.elapsed, STREAM_STEP)
        new, reward, terminated = self.env.step(self.state, act, rng, self.params)
        theirs = [self._their_step(i, self.codes[act[i]], rows[i]) for i in range(self.count)]
        where = f"after {self.steps} steps"
        self.compare(new, where)
        assert reward.tolist() == [float(r) for r, _ in theirs], (self.env.id, where)
        assert terminated.tolist() == [bool(t) for _, t in theirs], (self.env.id, where)
        self.steps += self.count
        self.episodes += int(terminated.sum())
        self.reward += float(reward.sum())
        self.elapsed += 1
        for each in self.oracles:
            if self.undying:
                each.env.terminal = False
        self.state = self._after(new, terminated & (not self.undying))

    def _their_step(self, i: int, code: int, row: list[int]) -> tuple[float, bool]:
        self.luck[i].answers = [row[0] // 256 / 2**24]
        self.told[i].answers = self.known.choices(self.oracles[i].env, row)
        return self.oracles[i].act(code)

    def _after(self, new: Any, over: np.ndarray) -> Any:
        """With new beginnings where an episode ended."""
        if over.any():
            self.episode, self.elapsed = self.episode + over, np.where(over, 0, self.elapsed).astype(np.float32)
            begun = self._begun(over)
            pick = [(over if a.ndim == 1 else over[:, None], a, b) for a, b in zip(begun, new, strict=True)]
            new = type(new)(*(np.where(*x) for x in pick))
            self.compare(new, "at a beginning")
        return type(new)(*(x if x.dtype == bool else x.astype(np.int32) for x in new))

    def compare(self, state: Any, where: str) -> None:
        """All boards, cell by cell."""
        shape = self.env.observation_space.shape
        cell = np.arange(np.prod(shape), dtype=np.int32)[None]
        params = self.params
        seen = self.env.observe(type(state)(*(x[:, None] for x in state)), cell, params).reshape(-1, *shape)
        for i, each in enumerate(self.oracles):
            board = each.state()
            if not np.array_equal(seen[i], board):
                off = np.argwhere(seen[i] != board).tolist()
                raise AssertionError(f"{self.env.id} {where}: board {i} differs at (row, column, channel) {off[:6]}")


def masked(values: Any, which: np.ndarray) -> list[Any]:
    return [values[i] for i in np.flatnonzero(which)]


def regimes(env: Env, count: int, seed: int = 0) -> dict[str, Match]:
    """Ways in which a game is compared: as it is, from harder beginnings, and on beyond its end where that is possible."""
    known = oracle(env)
    policy, harder = known.policy, known.prepare
    made = {
        "as it is": Match(env, count, seed, policy=policy),
        "at random, sticky 0.5, no ramp": Match(env, count, seed + 1, ramping=False, sticky=0.5),
        "harder": Match(env, count, seed + 2, policy=policy, prepare=harder),
    }
    if known.beyond_its_end:
        made["undying"] = Match(env, count, seed + 3, policy=policy, undying=True)
        made["harder, undying"] = Match(env, count, seed + 4, policy=policy, prepare=harder, undying=True)
    return made
