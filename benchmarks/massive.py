"""What the presets for many environments reach: PPO trained with no flag but `--num-envs`.

    python benchmarks/massive.py [--num-envs 4096 65536] [--seeds 3] [--only CartPole-v1]

A score is the mean return of 100 new episodes by the mode of the policy, taken at every reading (`log_every` iterations) and
at the end. The training metric `return`, of the episodes that ended last, stands beside it in the JSON file.
"""

import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpusim.agents.bench.provenance import hardware, provenance
from gpusim.agents.train.evaluate import evaluate
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.loop import Observer, run
from gpusim.agents.train.presets import expected_returns
from gpusim.agents.train.run import make_learner, preset

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import folder, publish, say

ENVS = [env for algorithm, env in sorted(expected_returns()) if algorithm == "ppo"]


@dataclass(frozen=True)
class Config:
    """What the presets for many environments reach."""

    num_envs: tuple[int, ...] = (4096, 65_536)
    """Sizes to train at; the rows of the others are kept from the result file."""
    seeds: int = 3
    """Seeds 0 to this, for each."""
    only: tuple[str, ...] = ()
    """Environments to train on; the rows of the others are kept from the result file. None named: all."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    result: dict[str, Any] = {"device": config.device, **provenance()}
    file = folder(result, config.out) / "massive.json"
    for num_envs in sorted(config.num_envs):
        for env in [e for e in ENVS if not config.only or e in config.only]:
            runs = [train(env, num_envs, seed, config.device) for seed in range(config.seeds)]
            kept = json.loads(file.read_text())["rows"] if file.exists() else []
            rows = {(r["env"], r["num_envs"]): r for r in kept}
            rows[env, num_envs] = {**summary(env, num_envs, runs), "commit": result["commit"], "date": result["date"]}
            result["rows"] = [rows[key] for key in sorted(rows, key=lambda key: (key[1], ENVS.index(key[0])))]
            publish("massive", result, table(result), config.out)  # what was measured is kept if the rest is not


class Scores(Observer):
    """The policy's score at each reading, and the seconds that they took."""

    def __init__(self) -> None:
        self.readings: list[dict[str, float]] = []
        self.seconds = 0.0

    def reading(self, learner: Learner, metrics: dict[str, float]) -> None:
        start = time.perf_counter()
        scores = evaluate(
            lambda obs: learner.network.act(obs, None),
            learner.config.env,
            100,
            seed=learner.config.seed + 10_000,
            device=str(learner.env.device),
        )
        self.readings.append(
            {"iteration": learner.iteration, "score": float(scores.mean()), "return": metrics["return"]}
        )
        self.seconds += time.perf_counter() - start


def train(env: str, num_envs: int, seed: int, device: str) -> dict[str, Any]:
    """One run of the preset."""
    learner = make_learner("ppo", preset("ppo", env, num_envs=num_envs, seed=seed, device=device))
    scores = Scores()
    result = run(learner, (scores,))
    if result.ending == "interrupted":
        raise KeyboardInterrupt  # what is cut short is no result
    seconds = result.metrics[-1]["seconds"] - scores.seconds
    last = scores.readings[-1]["score"]
    say(f"{env}, {num_envs:,} environments, seed {seed}: {last:.1f} in {seconds:.1f} s")
    return {"seed": seed, "score": last, "seconds": seconds, "steps": learner.steps, "readings": scores.readings}


def summary(env: str, num_envs: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    asked = expected_returns()["ppo", env]
    return {
        "env": env,
        "num_envs": num_envs,
        "asked": asked,
        "reached": sum(r["score"] >= asked for r in runs),
        "settings": dataclasses.asdict(preset("ppo", env, num_envs=num_envs)),
        "iterations": runs[0]["readings"][-1]["iteration"],
        "solved_at": [next((x["iteration"] for x in r["readings"] if x["score"] >= asked), None) for r in runs],
        "runs": runs,
    }


def table(result: dict[str, Any]) -> list[str]:
    lines = [
        "| environment | num_envs | target | seeds that reach it | mean | worst seed | first reached at iteration "
        "| of | steps | seconds | commit |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in result["rows"]:
        scores = [r["score"] for r in row["runs"]]
        first = ", ".join(str(i or "never") for i in row["solved_at"])
        lines.append(
            f"| {row['env']} | {row['num_envs']:,} | {row['asked']:g} | {row['reached']} of {len(scores)} "
            f"| {np.mean(scores):.1f} | {min(scores):.1f} | {first} | {row['iterations']} | {row['runs'][0]['steps']:,} "
            f"| {np.median([r['seconds'] for r in row['runs']]):.0f} | {row['commit']} |"
        )
    return [
        *lines,
        "",
        f"Scores are means of 100 new episodes by the policy's mode. Seconds are medians of training alone on "
        f"{hardware(result, result['device'])}, load {result['load']}. torch {result['versions']['torch']}; "
        f"`python benchmarks/massive.py`, {result['date'][:10]}.",
    ]


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
