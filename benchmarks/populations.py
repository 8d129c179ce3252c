"""How much faster a population of PPO agents learns than as many runs one after the other, in one process.

    python benchmarks/populations.py [--agents 256] [--runs 8] [--rounds 5]

Start-up is left out on both sides: each has made some iterations before. A round is iterations of the population, then of
each of `runs` runs; the runs' time is scaled up to as many as there are agents. Of the rounds least and median are told.
Both have one CPU thread, as is fastest for a run's small networks, and are told by the seconds of that thread, which other
programs of the machine change less than those of the clock; on a GPU it is the clock.
"""

import dataclasses
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gpusim.agents import ppo
from gpusim.agents.bench.provenance import hardware, provenance
from gpusim.agents.population.learner import Population
from gpusim.agents.train import presets
from gpusim.agents.train.run import preset

ITERATIONS = 2  # of a round
SIZES: tuple[dict[str, Any], ...] = ({}, {"num_envs": 16}, {"num_envs": 64}, {"hidden": (64, 64)})


@dataclass(frozen=True)
class Config:
    """A population beside runs of its agents."""

    agents: int = 256
    """In the population."""
    runs: int = 8
    """That are measured, for all."""
    rounds: int = 5
    """Of both, one after the other."""
    device: str = "cpu"
    """Where."""
    out: Path | None = None
    """File of the results, as JSON."""


def seconds(learners: list[Any], device: str) -> float:
    """Of one iteration of each."""
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    start = clock()
    for learner in learners:
        for _ in range(ITERATIONS):
            learner.iterate()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return (clock() - start) / ITERATIONS


def measured(config: Config, changes: dict[str, Any]) -> dict[str, Any]:
    """Both with the settings of a population's agents on CartPole, and these changes."""
    settings = presets.settings("ppo", "CartPole-v1", {"preset": "population"}) | changes
    base = preset("ppo", "CartPole-v1", device=config.device, **settings)
    members = [dataclasses.replace(base, seed=seed) for seed in range(config.agents)]
    backend = "native" if config.device == "cpu" else "auto"  # by which few environments step fastest too
    alone = [dataclasses.replace(member, backend=backend) for member in members[: config.runs]]
    population, runs = Population(base, members), [ppo.PPO(member) for member in alone]
    for learners in ([population], runs):
        seconds(learners, config.device)
    rounds = [(seconds([population], config.device), seconds(runs, config.device)) for _ in range(config.rounds)]
    together, apart = zip(*rounds, strict=True)
    scale = config.agents / config.runs
    return {
        "num_envs": base.num_envs,
        "num_steps": base.num_steps,
        "minibatch": base.steps_per_iteration // base.minibatches,
        "updates": base.epochs * base.minibatches,
        "hidden": base.hidden,
        "together": [min(together), statistics.median(together)],
        "apart": [scale * min(apart), scale * statistics.median(apart)],
    }


def main(config: Config) -> None:
    result = {"agents": config.agents, "runs": config.runs, "device": config.device, **provenance()}
    print(f"Seconds of an iteration of {config.agents} agents; of {config.runs} runs, scaled up: least (median)\n")
    print("| environments × steps | minibatch | hidden layers | population [s] | runs [s] | times as fast |")
    print("|---|---:|---|---:|---:|---:|")
    rows = []
    for changes in SIZES:
        row = measured(config, changes)
        rows.append(row)
        (a, am), (b, bm), sizes = row["together"], row["apart"], " × ".join(map(str, row["hidden"]))
        print(
            f"| {row['num_envs']} × {row['num_steps']} | {row['minibatch']} | {sizes} | {a:.2f} ({am:.2f}) "
            f"| {b:.2f} ({bm:.2f}) | {b / a:.1f} ({bm / am:.1f}) |",
            flush=True,
        )
    print(f"\nOn {hardware(result, config.device)}, load {result['load']}; torch {result['versions']['torch']}.")
    if config.out:
        config.out.write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
