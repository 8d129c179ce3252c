"""MinAtar's SpaceInvaders as an oracle of ours."""

from typing import Any

import numpy as np

from tests.envs.minatar_oracle import MinatarOracle, masked


def policy(game: Any, random: np.random.Generator) -> int:
    """Out of the way of a bullet; otherwise it fires, or goes to where aliens are."""
    if game.e_bullet_map[5:, game.pos].any():
        return 3 if game.pos == 0 else 1 if game.pos == 9 else int(random.choice([1, 3]))
    if game.shot_timer == 0 and random.random() < 0.7:
        return 5
    columns = np.flatnonzero(game.alien_map.any(0))
    to = columns[np.abs(columns - game.pos).argmin()] + game.alien_dir
    return 1 if to < game.pos else 3 if to > game.pos else 0


def harder(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """Fleets whole, with gaps, and all but gone, at any height."""
    two = 1 << random.integers(0, 24, (2, len(games)))
    few, many = two[0] | two[1], random.integers(1, 2**24, len(games))
    fleets = np.choose(np.arange(len(games)) // 3 % 3, [np.full(len(games), 2**24 - 1), few, many])
    heights = random.integers(0, 7, len(games))
    for game, bits, y in zip(masked(games, which), masked(fleets, which), masked(heights, which), strict=True):
        game.alien_map[:] = 0
        game.alien_map[y : y + 4, 2:8] = np.reshape([bits >> k & 1 for k in range(24)], (4, 6))[: 10 - y]
        game.alien_move_timer = 1
    return s._replace(
        aliens=fleets.astype(np.int32), fleet_y=heights.astype(np.int32), move_timer=np.ones_like(s.move_timer)
    )


ORACLE = MinatarOracle(
    "space_invaders",
    policy=policy,
    prepare=harder,
    changes=[
        ("(cannon - a <= b - cannon)", "(cannon - a < b - cannon)"),
        ("minimum(count_bits(s.aliens), s.move_interval)", "s.move_interval"),
        ("landed | rammed |", "rammed |"),
        ("ENEMY_SHOT_INTERVAL = 10", "ENEMY_SHOT_INTERVAL = 11"),
        ("s.move_interval - to_int(faster)", "s.move_interval + 0 * to_int(faster)"),
    ],
)
