"""MinAtar's Freeway as an oracle of ours."""

from typing import Any

import numpy as np

from tests.envs.minatar_oracle import MinatarOracle, masked, share


def choices(game: Any, w: list[int]) -> list[Any]:
    """Speeds and directions of eight cars; the sign is that of `rand() - 0.5`."""
    digits = [share(w[1 + k // 4], 625) // 5 ** (k % 4) % 5 + 1 for k in range(8)]
    right = [share(w[3], 256) >> k & 1 for k in range(8)]
    return [np.array(digits), np.array([0.9 if r else 0.1 for r in right])]


def policy(game: Any, random: np.random.Generator) -> int:
    return 2 if random.random() < 0.9 else 4


def harder(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """Freeway's last hundred steps."""
    for game in masked(games, which):
        game.terminate_timer = 100
    return s._replace(time=np.full_like(s.time, 100))


ORACLE = MinatarOracle(
    "freeway",
    choices=choices,
    beginning=choices,
    policy=policy,
    prepare=harder,
    long=True,
    changes=[
        ("digit * 13108 >> 16", "digit * 13107 >> 16"),
        ("PLAYER_SPEED = 3", "PLAYER_SPEED = 2"),
        ("(s.x == COLUMN) | (x == COLUMN)", "(x == COLUMN)"),
        ("new.time < 0", "new.time <= 0"),
        ("wait = where(won[:, None], absolute(speed), s.wait)", "wait = s.wait"),
    ],
)
