"""Seconds from the start of the process until CartPole is solved, or Pendulum by SAC, ours beside the peers'.

    python benchmarks/time_to_solve.py [--seeds 5] [--algorithms ppo dqn sac]

CartPole is solved when the last 100 episodes of training, by the policy that explores, return 475 on average; Pendulum
when ten episodes of the policy's mode, asked every 512 steps while the clock stands, return −200 (peers/until.py). The clock
starts before Python does, so imports and compilation count; every seed is a new process, one at a time, the learners taking
turns. A peer's run that ends unsolved, or is stopped after `--limit` seconds, counts with all its time, as a lower bound.
What was learned then plays 100 episodes in Gymnasium's own environment. Peers have the settings that they or their zoo
publish for the task (peers/*_cartpole.py, *_pendulum.py); `make peers` installs them. PureJaxRL and CleanRL are no packages
here: PUREJAXRL=CHECKOUT and CLEANRL=CHECKOUT name copies of their repositories, for this and for `make peers`, which
installs what CleanRL imports only then.
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

from gpusim.agents.bench.provenance import busy, hardware, provenance
from gpusim.agents.train.evaluate import evaluate_oracle, load_policy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from peers.catalogue import learners
from peers.process import FOLDER, Learner
from pictures import time_to_solve as picture
from report import folder, publish, say

ENV = "CartPole-v1"
TARGETS = {"ppo": 475.0, "dqn": 475.0, "sac": -200.0, "td3": -200.0}
DRIVEN = ("sac", "td3")  # of ours, by peers/gpusim_pendulum.py


@dataclass(frozen=True)
class Config:
    """Seconds from the start of the process until a task is solved."""

    seeds: int = 5
    """Seeds 0 to this."""
    algorithms: tuple[str, ...] = ("ppo", "dqn")
    """Which to measure."""
    limit: float = 300.0
    """Seconds after which a run is stopped."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    result = {"device": "cpu", **provenance(), "rows": rows, "missing": missing, "limit": config.limit}
    if busy(result):
        say(f"This machine is busy (load {result['load']:.1f}): everyone will take longer.")
    for seed in range(config.seeds):
        for algorithm in config.algorithms:
            rows.append(ours(algorithm, seed))
            for peer in (p for p in learners() if algorithm in p.algorithms and f"{p.name} {algorithm}" not in missing):
                try:
                    rows.append(theirs(peer, algorithm, seed, config.limit))
                except RuntimeError as problem:
                    missing[f"{peer.name} {algorithm}"] = str(problem)
                    say(f"{peer.name}: not measured: {problem}")
    publish("time_to_solve", result, table(result), config.out)
    picture(result, folder(result, config.out) / "time_to_solve.png")


def ours(algorithm: str, seed: int) -> dict[str, Any]:
    """One process of `gpusim train`, or of what asks the policy as the peers' drivers do; the times in seconds."""
    target = TARGETS[algorithm]
    if algorithm in DRIVEN:
        command = [sys.executable, str(FOLDER / "gpusim_pendulum.py"), algorithm, str(seed), str(target)]
        start = time.time()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return row("gpusim", algorithm, seed, start, json.loads(done.stdout.splitlines()[-1]))
    with tempfile.TemporaryDirectory() as parent:
        run = Path(parent) / "run"
        args = ["train", algorithm, ENV, "--seed", str(seed), "--target-return", str(target), "--device", "cpu"]
        start = time.time()
        subprocess.run(
            [sys.executable, "-m", "gpusim.agents", *args, "--run-dir", str(run)], check=True, capture_output=True
        )
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        score = float(evaluate_oracle(load_policy(run, True, "cpu"), ENV, 100, seed + 10_000).mean())
    found = {"solved": (last["return"] or 0.0) >= target, "time": last["time"], "training": last["seconds"]}
    return row("gpusim", algorithm, seed, start, found | {"steps": last["steps"], "score": score})


def theirs(peer: Learner, algorithm: str, seed: int, limit: float) -> dict[str, Any]:
    """One process of a peer's.

    Raises:
        RuntimeError: it is not installed or failed.
    """
    if missing := peer.missing():
        raise RuntimeError(missing)
    start = time.time()
    command = [str(peer.venv.python), str(FOLDER / peer.driver), algorithm, str(seed), str(TARGETS[algorithm])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        found = {"solved": False, "time": time.time(), "training": None, "steps": None, "score": None}
        return row(peer.name, algorithm, seed, start, found)
    if done.returncode or not done.stdout.strip():
        raise RuntimeError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return row(peer.name, algorithm, seed, start, json.loads(done.stdout.splitlines()[-1]))


def row(who: str, algorithm: str, seed: int, start: float, found: dict[str, Any]) -> dict[str, Any]:
    made = {"who": who, "algorithm": algorithm, "seed": seed, "seconds": found.pop("time") - start, **found}
    say(f"{who} {algorithm} seed {seed}: {made['seconds']:.2f} s{'' if made['solved'] else ', not solved'}")
    return made


def table(result: dict[str, Any]) -> list[str]:
    lines = [
        "| learner | by | solved | to solved [s] | of which training [s] | steps | mode's score in Gymnasium | ratio |",
        "|---|---|---:|---|---|---:|---:|---:|",
    ]
    for algorithm in dict.fromkeys(r["algorithm"] for r in result["rows"]):
        of_it = [r for r in result["rows"] if r["algorithm"] == algorithm]
        for who in sorted({r["who"] for r in of_it}, key=lambda w: middle(of_it, w)):
            made = [r for r in of_it if r["who"] == who]
            lines.append(
                f"| {algorithm} | {who} | {sum(r['solved'] for r in made)} of {len(made)} | {spread(made, 'seconds')} "
                f"| {spread(made, 'training')} | {median(made, 'steps', ',.0f')} | {median(made, 'score', '.1f')} "
                f"| {ratio(result['rows'], algorithm, who)} |"
            )
    lines += [
        "",
        "Times are medians over the seeds, least and greatest behind them; ratios are of the medians, to ours. "
        f"On {hardware(result, 'cpu')}, load {result['load']}; torch {result['versions']['torch']}, "
        f"commit {result['commit']}; `{result['command']}`, {result['date'][:10]}.",
    ]
    named = {
        r["who"]: ", ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in result["rows"] if "versions" in r
    }
    lines += [f"* {who}: {words}." for who, words in named.items()]
    return lines + [f"* Not measured: {who}: {why}" for who, why in result["missing"].items()]


def middle(rows: list[dict[str, Any]], who: str) -> float:
    return statistics.median(r["seconds"] for r in rows if r["who"] == who)


def median(rows: list[dict[str, Any]], key: str, form: str) -> str:
    values = [r[key] for r in rows if r[key] is not None]
    return format(statistics.median(values), form) if values else ""


def spread(rows: list[dict[str, Any]], key: str) -> str:
    """Median, least and greatest."""
    times = [r[key] for r in rows if r[key] is not None]
    return f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})" if times else ""


def ratio(rows: list[dict[str, Any]], algorithm: str, who: str) -> str:
    """How many times as long as ours; where a run ended unsolved, at least so many."""
    made = [r for r in rows if r["algorithm"] == algorithm]
    bound = "≥ " if any(not r["solved"] for r in made if r["who"] == who) else ""
    return "1" if who == "gpusim" else f"{bound}{middle(made, who) / middle(made, 'gpusim'):.1f}"


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
