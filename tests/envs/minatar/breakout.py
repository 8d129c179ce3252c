"""MinAtar's Breakout as an oracle of ours."""

from typing import Any

import numpy as np

from tests.envs.minatar_oracle import MinatarOracle, masked, share


def policy(game: Any, random: np.random.Generator) -> int:
    x = game.ball_x + (1 if game.ball_dir in (1, 2) else -1) * (game.ball_y == 8 and random.random() < 0.5)
    return 1 if x < game.pos else 3 if x > game.pos else 0


def harder(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """Walls of a few bricks, so that they are broken and built anew."""
    bricks = [int(np.bitwise_or.reduce(1 << random.integers(0, 30, 1 + i % 3))) for i in range(len(games))]
    for game, bits in zip(masked(games, which), masked(bricks, which), strict=True):
        game.brick_map[1:4] = np.reshape([bits >> k & 1 for k in range(30)], (3, 10))
    return s._replace(bricks=np.array(bricks, np.int32))


ORACLE = MinatarOracle(
    "breakout",
    beginning=lambda game, w: [share(w[0], 2)],
    policy=policy,
    prepare=harder,
    changes=[
        ("10 * y + x - 10", "10 * y + x - 9"),
        ("touched & ~s.struck", "touched"),
        ("low & (s.bricks == 0)", "low & (s.bricks < 0)"),
        ("dx = where(edged, -dx, dx)", "dx = where(edged, dx, dx)"),
        ("one - 2 * side", "2 * side - one"),
    ],
)
