"""How much faster a population of PPO agents learns than as many runs one after the other, in one process.

    python benchmarks/populations.py [--agents 256] [--runs 8] [--rounds 5]

Start-up is left out on both sides: each has made some iterations before. A round is iterations of the population, then of
each of `runs` runs; the runs' time is scaled up to as many as there are agents. Of the rounds least and median are told.
Both have one CPU thread, as is fastest for a run's small networks, and are told by the seconds of that thread, which other
programs of the machine change less than those of the clock; on a GPU it is the clock. Rejax, whose agents lie side by
side by `vmap` as PureJaxRL's do, runs beside them where its virtual environment is there (`make peers`).
"""

import dataclasses
import json
import os
import statistics
import subprocess
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

PEERS = Path(__file__).parent / "peers"
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "OMP_NUM_THREADS": "1"}
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


def rejax(config: Config, base: ppo.Config) -> list[float] | None:
    """Processor seconds of an iteration of as many agents with these settings; None where Rejax is not installed."""
    python = PEERS / ".venv-rejax" / "bin" / "python"
    if not python.exists() or config.device != "cpu":
        return None
    names = {"num_envs": "num_envs", "num_steps": "num_steps", "epochs": "num_epochs", "minibatches": "num_minibatches"}
    names |= {
        "gamma": "gamma",
        "lam": "gae_lambda",
        "clip": "clip_eps",
        "entropy_coef": "ent_coef",
        "value_coef": "vf_coef",
    }
    asked = {theirs: getattr(base, ours) for ours, theirs in names.items()}
    asked |= {"agents": config.agents, "rounds": config.rounds, "hidden": base.hidden}
    asked |= {"learning_rate": base.learning_rate, "max_grad_norm": base.max_grad_norm}
    command = [str(python), str(PEERS / "rejax_population.py"), json.dumps(asked)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout)["seconds"])


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
    scale, theirs = config.agents / config.runs, rejax(config, base)
    return {
        "num_envs": base.num_envs,
        "num_steps": base.num_steps,
        "minibatch": base.steps_per_iteration // base.minibatches,
        "updates": base.epochs * base.minibatches,
        "hidden": base.hidden,
        "together": [min(together), statistics.median(together)],
        "apart": [scale * min(apart), scale * statistics.median(apart)],
        "rejax": theirs and [min(theirs), statistics.median(theirs)],
    }


def main(config: Config) -> None:
    result = {"agents": config.agents, "runs": config.runs, "device": config.device, **provenance()}
    print(f"Seconds of an iteration of {config.agents} agents; of {config.runs} runs, scaled up: least (median)\n")
    print(
        "| environments × steps | minibatch | hidden layers | population [s] | runs [s] | times as fast | Rejax, vmap [s] |"
    )
    print("|---|---:|---|---:|---:|---:|---:|")
    rows = []
    for changes in SIZES:
        row = measured(config, changes)
        rows.append(row)
        (a, am), (b, bm), sizes = row["together"], row["apart"], " × ".join(map(str, row["hidden"]))
        theirs = "" if row["rejax"] is None else "{:.2f} ({:.2f})".format(*row["rejax"])
        print(
            f"| {row['num_envs']} × {row['num_steps']} | {row['minibatch']} | {sizes} | {a:.2f} ({am:.2f}) "
            f"| {b:.2f} ({bm:.2f}) | {b / a:.1f} ({bm / am:.1f}) | {theirs} |",
            flush=True,
        )
    print(f"\nOn {hardware(result, config.device)}, load {result['load']}; torch {result['versions']['torch']}.")
    if config.out:
        config.out.write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
