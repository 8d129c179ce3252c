"""MinAtar's Seaquest as an oracle of ours."""

from typing import Any

import numpy as np

from tests.envs.minatar_oracle import MinatarOracle, masked, share


def choices(game: Any, w: list[int]) -> list[Any]:
    """Of an enemy that is due: to the right below 1/2, submarine below 1/3, row; of a diver that is due: side, row."""
    enemy, diver = share(w[1], 16), share(w[3], 16)
    of_enemy = [0.0 if enemy % 2 else 0.5, 0.0 if share(w[2], 3) == 0 else 1 / 3, enemy // 2 + 1]
    of_diver = [0.0 if diver % 2 else 0.5, diver // 2 + 1]
    return (of_enemy if game.e_spawn_timer == 0 else []) + (of_diver if game.d_spawn_timer == 0 else [])


def policy(game: Any, random: np.random.Generator) -> int:
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


def harder(s: Any, games: list[Any], which: np.ndarray, random: np.random.Generator) -> Any:
    """An enemy comes at every step and moves every third; up to six divers are aboard."""
    aboard = random.integers(0, 7, len(games))
    for game, count in zip(masked(games, which), masked(aboard, which), strict=True):
        game.e_spawn_speed, game.e_spawn_timer, game.move_speed, game.diver_count = 1, 1, 2, int(count)
    one = np.ones_like(s.x)
    return s._replace(spawn_speed=one, spawn_timer=one, move_speed=2 * one, aboard=aboard.astype(np.int32))


ORACLE = MinatarOracle(
    "seaquest",
    choices=choices,
    policy=policy,
    prepare=harder,
    beyond_its_end=True,
    changes=[
        ("where(full, -1, aboard - to_int(up))", "where(full, 0, aboard - to_int(up))"),
        ("first & -first", "first"),
        ("(s.right ^ right)", "~(s.right ^ right)"),
        ("where(now == 0, BEATS, now) - 1", "where(now == 0, BEATS, now)"),
        ("moving & -(wait & 1)", "moving & -(wait & 0)"),
        ("s.surfaced | to_int(up)", "s.surfaced"),
        ("(s.ramp_index & 1) == 1", "(s.ramp_index & 1) == 0"),
    ],
)
