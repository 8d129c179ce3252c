"""MinAtar's Asterix as an oracle of ours."""

from typing import Any

import numpy as np

from tests.envs.minatar_oracle import MinatarOracle, masked, share


def choices(game: Any, w: list[int]) -> list[Any]:
    """To the right below 1/2, gold below 1/3, and which of the free slots."""
    return [0.0 if share(w[1], 2) else 0.5, 0.0 if share(w[2], 3) == 0 else 1 / 3, lambda count: share(w[3], count)]


def policy(game: Any, random: np.random.Generator) -> int:
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


def harder(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """Something comes, and everything moves, at every step."""
    for game in masked(games, which):
        game.spawn_speed = game.spawn_timer = game.move_speed = game.move_timer = 1
    one = np.ones_like(s.x)
    return s._replace(spawn_speed=one, spawn_timer=one, move_speed=one, move_timer=one)


ORACLE = MinatarOracle(
    "asterix",
    choices=choices,
    policy=policy,
    prepare=harder,
    beyond_its_end=True,
    changes=[
        ("below(c, 3)", "below(c, 2)"),
        ("RAMP_INTERVAL = 100", "RAMP_INTERVAL = 99"),
        ("below(d, maximum(sum_(free), 1))", "below(d, ROWS)"),
        ("kind = where((column < 0) | (column > 9)", "kind = where((column < 0) | (column > 10)"),
        ("UP, DOWN, 1, 8", "UP, DOWN, 1, 9"),
    ],
)
