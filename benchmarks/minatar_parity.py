"""The MinAtar games beside the package MinAtar: every cell of every board, every reward and every end, for long.

    python benchmarks/minatar_parity.py [--steps 300000] [--games Breakout ...]

Each regime of a game (see tests/envs/minatar_oracle.py) is run for its share of the steps; the first difference ends it and
is written down. Nothing is timed for its own sake.
"""

import argparse
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpusim.agents.bench.provenance import provenance
from gpusim.env import Env
from gpusim.envs.minatar import GAMES

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import publish, say

COUNT = 60  # environments that step together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300_000, help="of each game, over all its regimes")
    parser.add_argument("--seed", type=int, default=2019)
    parser.add_argument("--games", nargs="*", help=f"{' '.join(map(title, GAMES))}; all")
    parser.add_argument("--out", type=Path, help="folder for the result; that of the hardware")
    given = parser.parse_args()
    games = [env for env in GAMES if not given.games or title(env) in given.games]
    rows = [row for env in games for row in compared(env, given.steps, given.seed)]
    facts = {"device": "cpu", "minatar": version("MinAtar"), "seed": given.seed, "rows": rows}
    result = provenance() | facts
    publish("minatar_parity", result, table(rows), given.out)
    if any(row["difference"] for row in rows):
        sys.exit(1)


def title(env: Env) -> str:
    """`Breakout` of `MinAtar/Breakout-v1`."""
    return env.id.split("/")[1].split("-")[0]


def compared(env: Env, steps: int, seed: int) -> list[dict[str, Any]]:
    """What came of each regime of a game."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.envs.minatar_oracle import regimes

    matches = regimes(env, COUNT, seed)
    rows: list[dict[str, Any]] = []
    for name, match in matches.items():
        start, difference = time.perf_counter(), None
        try:
            match.play(-(-steps // len(matches) // COUNT))
        except AssertionError as error:
            difference = str(error)
        say(
            f"{env.id}, {name}: {match.steps:,} steps in {time.perf_counter() - start:.0f} s, {difference or 'the same'}"
        )
        facts = (env.id, name, match.steps, match.episodes, match.reward, difference)
        rows.append(dict(zip(("env", "regime", "steps", "episodes", "reward", "difference"), facts, strict=True)))
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown."""
    head = ["| game | regime | steps | ends | reward | differences |", "|---|---|---|---|---|---|"]
    body = [
        f"| {r['env']} | {r['regime']} | {r['steps']:,} | {r['episodes']:,} | {r['reward']:,.0f} | "
        f"{r['difference'] or 'none'} |"
        for r in rows
    ]
    return [*head, *body]


if __name__ == "__main__":
    main()
