"""PPO with a memory beside PPO without one, on the tasks that need it: presets, and the same with `--network mlp`.

    python benchmarks/remembering.py [--seeds 3] [--first 3000] [--jobs 1] [--only StatelessPendulum-v1 ...]

Without a memory the network has two hidden layers, each as wide as the preset's one. Scores are those of `ten_seeds.py`; the
picture has a panel for each task, with the median, the least and the greatest of the returns during training.
"""

import json
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpusim.agents.app.plot import Line, draw, panels, save
from gpusim.agents.bench.provenance import hardware, provenance
from gpusim.agents.train.presets import expected_returns
from gpusim.agents.train.run import preset

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import folder, publish, say
from ten_seeds import curve, train

ENVS = ("StatelessCartPole-v1", "StatelessPendulum-v1")
WAYS = ("gru", "mlp")


@dataclass(frozen=True)
class Config:
    """A memory beside none."""

    seeds: int = 3
    """How many, for each."""
    first: int = 3000
    """The first of them. Settings were chosen on seed 0."""
    only: tuple[str, ...] = ()
    """Environments to measure; the rows of the others are kept from the result file. None named: all."""
    jobs: int = 1
    """Runs at a time."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    envs = [env for env in ENVS if not config.only or env in config.only]
    names = [(env, way) for env in envs for way in WAYS]
    tasks = [task(*name, seed) for name in names for seed in range(config.first, config.first + config.seeds)]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {name: [] for name in names}
    source, before = provenance(), os.getloadavg()[0]
    with multiprocessing.get_context("spawn").Pool(config.jobs) as pool:
        for i, run in enumerate(pool.imap(train, tasks)):
            env, way = names[i // config.seeds]
            runs[env, way].append(run)
            say(f"{env} {way} seed {run['seed']}: {run['score']:.1f} in {run['seconds']:.1f} s")
    result = {"device": "cpu", "jobs": config.jobs, **source}
    file = folder(result, config.out) / "remembering.json"
    known = {(row["env"], row["way"]): row for row in json.loads(file.read_text())["rows"]} if file.exists() else {}
    load = f"{before:.1f} to {os.getloadavg()[0]:.1f}"
    rows = known | {n: summary(*n, made) | {"commit": source["commit"], "load": load} for n, made in runs.items()}
    result["rows"] = [rows[env, way] for env in ENVS for way in WAYS if (env, way) in rows]
    publish("remembering", result, table(result), config.out)
    picture(result["rows"], file.with_suffix(".png"))


def task(env: str, way: str, seed: int) -> tuple[Any, ...]:
    if way == "gru":
        return "ppo", env, seed
    return "ppo", env, seed, {"network": "mlp", "hidden": 2 * preset("ppo", env).hidden}


def summary(env: str, way: str, made: list[dict[str, Any]]) -> dict[str, Any]:
    scores = [run["score"] for run in made]
    return {
        "env": env,
        "way": way,
        "asked": expected_returns()["ppo", env],
        "reached": sum(score >= expected_returns()["ppo", env] for score in scores),
        "scores": scores,
        "least": min(run["least"] for run in made),
        "seeds": [run["seed"] for run in made],
        "seconds": [run["seconds"] for run in made],
        "steps": made[0]["steps"],
        "curve": curve([run["curve"] for run in made]),
    }


def table(result: dict[str, Any]) -> list[str]:
    lines = [
        "| environment | network | target | seeds that reach it | scores | worst episode | steps | seconds | load | seeds "
        "| commit |",
        "|---|---|---:|---:|---|---:|---:|---:|---|---|---|",
    ]
    for row in result["rows"]:
        scores = ", ".join(f"{score:.1f}" for score in row["scores"])
        lines.append(
            f"| {row['env']} | {row['way']} | {row['asked']:g} | {row['reached']} of {len(row['scores'])} | {scores} "
            f"| {row['least']:.1f} | {row['steps']:,} | {np.median(row['seconds']):.0f} | {row['load']} "
            f"| {row['seeds'][0]} to {row['seeds'][-1]} | {row['commit'][:12]} |"
        )
    return [
        *lines,
        "",
        "Scores are means of 100 episodes by the policy's mode, one for each seed; the worst episode is that of 1,000 of "
        f"every seed. Seconds are medians, {result['jobs']} run at a time beside other work, of which the load tells. "
        f"{hardware(result, 'cpu')}, torch {result['versions']['torch']}; `python benchmarks/remembering.py`, "
        f"{result['date'][:10]}.",
    ]


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel for each environment, both networks in it."""
    envs = list(dict.fromkeys(row["env"] for row in rows))
    figure = panels(len(envs), across=2, size=(4.6, 3.2))
    for axes, env in zip(figure.axes, envs, strict=True):
        lines = list[Line]()
        for row in (row for row in rows if row["env"] == env):
            drawn, label = row["curve"], f"{row['way']}, median of {len(row['scores'])} seeds"
            lines.append(Line(label, drawn["steps"], drawn["median"], drawn["least"], drawn["greatest"]))
        draw(axes, lines, (expected_returns()["ppo", env], "target of the policy's mode"))
        axes.set(title=f"ppo {env}", xlabel="environment steps", ylabel="return in training")
        axes.locator_params(axis="x", nbins=4)
        axes.legend(frameon=False, fontsize="small")
    save(figure, path, dpi=120)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
