"""Seconds from the start of the process until CartPole is solved: `gpusim train ppo CartPole-v1 --target-return 475`.

    python benchmarks/time_to_solve.py [--seeds 5]

Solved means that the last 100 episodes of training, by the sampling policy, return 475 on average. The clock starts before
Python does and stops at the reading that says so, which the run's metrics.jsonl dates; the whole process is timed too. Every
seed is a new process, one at a time.
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
from gpusim.agents.machine import probe

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import publish, say

TARGET = 475.0


@dataclass(frozen=True)
class Config:
    """Seconds from the start of the process until CartPole is solved."""

    seeds: int = 5
    """Seeds 0 to this."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    rows = [solve(seed) for seed in range(config.seeds)]
    result = {"device": "cpu", **provenance(probe()), "rows": rows}
    publish("time_to_solve", result, table(result), config.out)


def solve(seed: int) -> dict[str, Any]:
    """One process; the times in seconds."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "run"
        args = ["train", "ppo", "CartPole-v1", "--seed", str(seed), "--target-return", str(TARGET), "--device", "cpu"]
        start = time.time()
        subprocess.run(
            [sys.executable, "-m", "gpusim.agents", *args, "--run-dir", str(folder)], check=True, capture_output=True
        )
        whole = time.time() - start
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        score = json.loads((folder / "result.json").read_text())["mean"]
    row = {
        "seed": seed,
        "solved": last["return"] >= TARGET,
        "seconds": last["time"] - start,
        "training": last["seconds"],
        "process": whole,
        "steps": last["steps"],
        "score": score,
    }
    say(f"seed {seed}: {row['seconds']:.2f} s")
    return row


def table(result: dict[str, Any]) -> list[str]:
    lines = [
        "| seed | to solved [s] | of it training [s] | whole process [s] | steps | mode's score |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for r in result["rows"]:
        solved = f"{r['seconds']:.2f}" if r["solved"] else "not solved"
        lines.append(
            f"| {r['seed']} | {solved} | {r['training']:.2f} | {r['process']:.2f} | {r['steps']:,} | {r['score']:.1f} |"
        )
    median = {k: statistics.median(r[k] for r in result["rows"]) for k in ("seconds", "training", "process")}
    lines += [
        f"| median | {median['seconds']:.2f} | {median['training']:.2f} | {median['process']:.2f} | | |",
        "",
        f"On {hardware(result, 'cpu')}, load {result['load']}; torch {result['versions']['torch']}, "
        f"commit {result['commit']}; "
        f"`{result['command']}`, {result['date'][:10]}.",
    ]
    return lines


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
