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

MODULES = {
    "Breakout": "breakout",
    "Asterix": "asterix",
    "Freeway": "freeway",
    "SpaceInvaders": "space_invaders",
    "Seaquest": "seaquest",
}


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


def breakout(game: Any, w: list[int]) -> list[Any]:
    return []


def freeway(game: Any, w: list[int]) -> list[Any]:
    """Speeds and directions of eight cars; the sign is that of `rand() - 0.5`."""
    digits = [share(w[1 + k // 4], 625) // 5 ** (k % 4) % 5 + 1 for k in range(8)]
    right = [share(w[3], 256) >> k & 1 for k in range(8)]
    return [np.array(digits), np.array([0.9 if r else 0.1 for r in right])]


def asterix(game: Any, w: list[int]) -> list[Any]:
    """To the right below 1/2, gold below 1/3, and which of the free slots."""
    return [0.0 if share(w[1], 2) else 0.5, 0.0 if share(w[2], 3) == 0 else 1 / 3, lambda count: share(w[3], count)]


def space_invaders(game: Any, w: list[int]) -> list[Any]:
    return []


def seaquest(game: Any, w: list[int]) -> list[Any]:
    """Of an enemy that is due: to the right below 1/2, submarine below 1/3, row; of a diver that is due: side, row."""
    enemy, diver = share(w[1], 16), share(w[3], 16)
    of_enemy = [0.0 if enemy % 2 else 0.5, 0.0 if share(w[2], 3) == 0 else 1 / 3, enemy // 2 + 1]
    of_diver = [0.0 if diver % 2 else 0.5, diver // 2 + 1]
    return (of_enemy if game.e_spawn_timer == 0 else []) + (of_diver if game.d_spawn_timer == 0 else [])


CHOICES: dict[str, Callable[[Any, list[int]], list[Any]]] = {
    "Breakout": breakout,
    "Asterix": asterix,
    "Freeway": freeway,
    "SpaceInvaders": space_invaders,
    "Seaquest": seaquest,
}


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
        name = title(self.env)
        p = self.env.params._replace(sticky=self.sticky)
        self.params = p._replace(ramping=float(self.ramping)) if "ramping" in p._fields else p
        self.choices = CHOICES[name]
        self.oracles = [Environment(MODULES[name], self.sticky, self.ramping) for _ in range(self.count)]
        minimal = int(self.env.action_space.n) < 6 if isinstance(self.env.action_space, Discrete) else False
        self.codes = self.oracles[0].minimal_action_set() if minimal else list(range(6))
        self.luck, self.told = [Told() for _ in self.oracles], [Told() for _ in self.oracles]
        for oracle, luck, told in zip(self.oracles, self.luck, self.told, strict=True):
            oracle.random, oracle.env.random = luck, told
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
            first = [share(rows[i][0], 2)] if title(self.env) == "Breakout" else self.choices(game.env, rows[i])
            self.told[i].answers = first if title(self.env) in ("Breakout", "Freeway") else []
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
        for oracle in self.oracles:
            if self.undying:
                oracle.env.terminal = False
        self.state = self._after(new, terminated & (not self.undying))

    def _their_step(self, i: int, code: int, row: list[int]) -> tuple[float, bool]:
        self.luck[i].answers = [row[0] // 256 / 2**24]
        self.told[i].answers = self.choices(self.oracles[i].env, row)
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
        for i, oracle in enumerate(self.oracles):
            board = oracle.state()
            if not np.array_equal(seen[i], board):
                off = np.argwhere(seen[i] != board).tolist()
                raise AssertionError(f"{self.env.id} {where}: board {i} differs at (row, column, channel) {off[:6]}")


def breakout_policy(game: Any, random: np.random.Generator) -> int:
    x = game.ball_x + (1 if game.ball_dir in (1, 2) else -1) * (game.ball_y == 8 and random.random() < 0.5)
    return 1 if x < game.pos else 3 if x > game.pos else 0


def freeway_policy(game: Any, random: np.random.Generator) -> int:
    return 2 if random.random() < 0.9 else 4


def asterix_policy(game: Any, random: np.random.Generator) -> int:
    """To the row above or below, or stay, where the nearest enemy is farthest."""

    def danger(y: int) -> float:
        thing = game.entities[y - 1]
        if thing is None or thing[3]:
            return 0.0 if thing is None else -1.0
        ahead = (game.player_x - thing[0]) * (1 if thing[2] else -1)
        return 1 / (1 + ahead) if ahead >= 0 else 0.0

    y = game.player_y
    options = [(danger(y), 0), (danger(max(1, y - 1)), 2), (danger(min(8, y + 1)), 4)]
    best = min(d for d, _ in options)
    return int(random.choice([a for d, a in options if d == best]))


def space_invaders_policy(game: Any, random: np.random.Generator) -> int:
    """Out of the way of a bullet; otherwise it fires, or goes to where aliens are."""
    if game.e_bullet_map[5:, game.pos].any():
        return 3 if game.pos == 0 else 1 if game.pos == 9 else int(random.choice([1, 3]))
    if game.shot_timer == 0 and random.random() < 0.7:
        return 5
    columns = np.flatnonzero(game.alien_map.any(0))
    to = columns[np.abs(columns - game.pos).argmin()] + game.alien_dir
    return 1 if to < game.pos else 3 if to > game.pos else 0


def seaquest_policy(game: Any, random: np.random.Generator) -> int:
    """It shoots what is ahead, gathers divers, and comes up with one when oxygen is low, or with six."""
    foes = [f for f in game.e_fish + game.e_subs if f[1] == game.sub_y]
    low = game.oxygen < 60
    if game.diver_count > 0 and (low or game.diver_count == 6):
        return 2 if game.sub_y > 0 else 4
    if foes:
        near = min(foes, key=lambda f: abs(f[0] - game.sub_x))
        ahead = (near[0] > game.sub_x) == bool(game.sub_or)
        if ahead and game.shot_timer == 0:
            return 5
        if abs(near[0] - game.sub_x) < 3:
            return 4 if game.sub_y < 2 else int(random.choice([2, 4])) if game.sub_y < 8 else 2
        return 3 if near[0] > game.sub_x else 1
    if game.divers:
        x, y = min(game.divers, key=lambda d: abs(d[0] - game.sub_x) + abs(d[1] - game.sub_y))[:2]
        return 2 if y < game.sub_y else 4 if y > game.sub_y else 1 if x < game.sub_x else 3 if x > game.sub_x else 0
    return 4 if game.sub_y == 0 else int(random.integers(0, 6))


POLICIES: dict[str, Callable[[Any, np.random.Generator], int]] = {
    "Breakout": breakout_policy,
    "Freeway": freeway_policy,
    "Asterix": asterix_policy,
    "SpaceInvaders": space_invaders_policy,
    "Seaquest": seaquest_policy,
}


def few_bricks(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """Walls of a few bricks, so that they are broken and built anew."""
    bricks = [int(np.bitwise_or.reduce(1 << random.integers(0, 30, 1 + i % 3))) for i in range(len(games))]
    for game, bits in zip(_of(games, which), _of(bricks, which), strict=True):
        game.brick_map[1:4] = np.reshape([bits >> k & 1 for k in range(30)], (3, 10))
    return s._replace(bricks=np.array(bricks, np.int32))


def late(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """Freeway's last hundred steps."""
    for game in _of(games, which):
        game.terminate_timer = 100
    return s._replace(time=np.full_like(s.time, 100))


def fastest_asterix(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """Something comes, and everything moves, at every step."""
    for game in _of(games, which):
        game.spawn_speed = game.spawn_timer = game.move_speed = game.move_timer = 1
    one = np.ones_like(s.x)
    return s._replace(spawn_speed=one, spawn_timer=one, move_speed=one, move_timer=one)


def low_fleets(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """Fleets whole, with gaps, and all but gone, at any height."""
    two = 1 << random.integers(0, 24, (2, len(games)))
    few, many = two[0] | two[1], random.integers(1, 2**24, len(games))
    fleets = np.choose(np.arange(len(games)) // 3 % 3, [np.full(len(games), 2**24 - 1), few, many])
    heights = random.integers(0, 7, len(games))
    for game, bits, y in zip(_of(games, which), _of(fleets, which), _of(heights, which), strict=True):
        game.alien_map[:] = 0
        game.alien_map[y : y + 4, 2:8] = np.reshape([bits >> k & 1 for k in range(24)], (4, 6))[: 10 - y]
        game.alien_move_timer = 1
    return s._replace(
        aliens=fleets.astype(np.int32), fleet_y=heights.astype(np.int32), move_timer=np.ones_like(s.move_timer)
    )


def fastest_seaquest(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """An enemy comes at every step and moves every third; up to six divers are aboard."""
    aboard = random.integers(0, 7, len(games))
    for game, count in zip(_of(games, which), _of(aboard, which), strict=True):
        game.e_spawn_speed, game.e_spawn_timer, game.move_speed, game.diver_count = 1, 1, 2, int(count)
    one = np.ones_like(s.x)
    return s._replace(spawn_speed=one, spawn_timer=one, move_speed=2 * one, aboard=aboard.astype(np.int32))


def _of(values: Any, which: np.ndarray) -> list[Any]:
    return [values[i] for i in np.flatnonzero(which)]


HARDER: dict[str, Callable[[Any, list[Any], np.ndarray, np.random.Generator], Any]] = {
    "Breakout": few_bricks,
    "Freeway": late,
    "Asterix": fastest_asterix,
    "SpaceInvaders": low_fleets,
    "Seaquest": fastest_seaquest,
}


def regimes(env: Env, count: int, seed: int = 0) -> dict[str, Match]:
    """Ways in which a game is compared: as it is, from harder beginnings, and on beyond its end where that is possible."""
    name = title(env)
    policy, harder = POLICIES[name], HARDER[name]
    made = {
        "as it is": Match(env, count, seed, policy=policy),
        "at random, sticky 0.5, no ramp": Match(env, count, seed + 1, ramping=False, sticky=0.5),
        "harder": Match(env, count, seed + 2, policy=policy, prepare=harder),
    }
    if name in ("Asterix", "Seaquest"):
        made["undying"] = Match(env, count, seed + 3, policy=policy, undying=True)
        made["harder, undying"] = Match(env, count, seed + 4, policy=policy, prepare=harder, undying=True)
    return made
