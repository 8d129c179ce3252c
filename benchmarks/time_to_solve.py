"""Seconds from the start of the process until CartPole is solved, by PPO and by DQN, ours beside Stable-Baselines3's.

    python benchmarks/time_to_solve.py [--seeds 5] [--algorithms ppo dqn]

Solved means that the last 100 episodes of training, by the policy that explores, return 475 on average. The clock starts
before Python does; every seed is a new process, one at a time, the learners taking turns. One that ends unsolved counts with
all its time, as a lower bound. What was learned then plays 100 episodes in Gymnasium's own environment. `make peers`
installs Stable-Baselines3, whose settings are those that RL Baselines3 Zoo tuned for CartPole.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpusim.agents.bench import hardware, provenance
from gpusim.agents.evaluate import evaluate_oracle, load_policy
from gpusim.agents.machine import probe

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import publish, say

FOLDER = Path(__file__).resolve().parent
ENV = "CartPole-v1"
TARGET = 475.0
SB3 = "Stable-Baselines3"


@dataclass(frozen=True)
class Config:
    """Seconds from the start of the process until CartPole is solved."""

    seeds: int = 5
    """Seeds 0 to this."""
    algorithms: tuple[str, ...] = ("ppo", "dqn")
    """Which to measure."""
    sb3_python: Path = FOLDER / "peers" / ".venv-sb3" / "bin" / "python"
    """Of the virtual environment that has Stable-Baselines3."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    rows, missing = [], {}
    if not config.sb3_python.exists():
        missing[SB3] = "not installed; `make peers` does that"
    for seed in range(config.seeds):
        for algorithm in config.algorithms:
            rows.append(ours(algorithm, seed))
            if not missing:
                rows.append(sb3(config.sb3_python, algorithm, seed))
    result = {"device": "cpu", **provenance(probe()), "rows": rows, "missing": missing}
    publish("time_to_solve", result, table(result), config.out)


def ours(algorithm: str, seed: int) -> dict[str, Any]:
    """One process of `gpusim train`; the times in seconds."""
    with tempfile.TemporaryDirectory() as parent:
        run = Path(parent) / "run"
        args = ["train", algorithm, ENV, "--seed", str(seed), "--target-return", str(TARGET), "--device", "cpu"]
        start = time.time()
        subprocess.run(
            [sys.executable, "-m", "gpusim.agents", *args, "--run-dir", str(run)], check=True, capture_output=True
        )
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        score = float(evaluate_oracle(load_policy(run, True, "cpu"), ENV, 100, seed + 10_000).mean())
    found = {"solved": last["return"] >= TARGET, "time": last["time"], "training": last["seconds"]}
    return row("gpusim", algorithm, seed, start, found | {"steps": last["steps"], "score": score})


def sb3(python: Path, algorithm: str, seed: int) -> dict[str, Any]:
    start = time.time()
    command = [str(python), str(FOLDER / "peers" / "sb3_cartpole.py"), algorithm, str(seed), str(TARGET)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return row(SB3, algorithm, seed, start, json.loads(done.stdout.splitlines()[-1]))


def row(who: str, algorithm: str, seed: int, start: float, found: dict[str, Any]) -> dict[str, Any]:
    made = {"who": who, "algorithm": algorithm, "seed": seed, "seconds": found.pop("time") - start, **found}
    say(f"{who} {algorithm} seed {seed}: {made['seconds']:.2f} s{'' if made['solved'] else ', not solved'}")
    return made


def table(result: dict[str, Any]) -> list[str]:
    lines = [
        "| learner | by | solved | to solved [s] | of it training [s] | steps | mode's score in Gymnasium | ratio |",
        "|---|---|---:|---|---|---:|---:|---:|",
    ]
    algorithms = dict.fromkeys(r["algorithm"] for r in result["rows"])
    for algorithm in algorithms:
        for who in dict.fromkeys(r["who"] for r in result["rows"]):
            made = [r for r in result["rows"] if (r["algorithm"], r["who"]) == (algorithm, who)]
            solved = sum(r["solved"] for r in made)
            lines.append(
                f"| {algorithm} | {who} | {solved} of {len(made)} | {spread(made, 'seconds')} | {spread(made, 'training')} "
                f"| {statistics.median(r['steps'] for r in made):,.0f} | {statistics.median(r['score'] for r in made):.1f} "
                f"| {ratio(result['rows'], algorithm, who)} |"
            )
    lines += [
        "",
        "Times are medians over the seeds, least and greatest behind them; ratios are of the medians, to ours. "
        f"On {hardware(result, 'cpu')}, load {result['load']}; torch {result['versions']['torch']}, "
        f"commit {result['commit']}; `{result['command']}`, {result['date'][:10]}.",
    ]
    lines += [f"{who}: {why}." for who, why in result["missing"].items()]
    return lines


def spread(rows: list[dict[str, Any]], key: str) -> str:
    """Median, least and greatest."""
    times = [r[key] for r in rows]
    return f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"


def ratio(rows: list[dict[str, Any]], algorithm: str, who: str) -> str:
    """How many times as long as ours; where a run ended unsolved, at least so many."""
    made = [r for r in rows if r["algorithm"] == algorithm]
    ours, theirs = (statistics.median(r["seconds"] for r in made if r["who"] == w) for w in ("gpusim", who))
    bound = "≥ " if any(not r["solved"] for r in made if r["who"] == who) else ""
    return "1" if who == "gpusim" else f"{bound}{theirs / ours:.1f}"


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
