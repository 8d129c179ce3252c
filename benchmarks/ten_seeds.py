"""What the presets reach that say an `expected_return`: each trained without a flag on ten seeds.

    python benchmarks/ten_seeds.py [--seeds 10] [--first 0] [--jobs 2] [--only dqn | --only ppo/Acrobot-v1 ...]

A score is the mean return of 100 episodes by the mode of the policy, after training. The table gives their interquartile
mean with a 95 % bootstrap interval (Agarwal et al., 2021), the worst seed, the worst of 1,000 episodes of every seed, and
how many seeds reached what is asked; beside it what the same policies score in Gymnasium's own environment, where that has
one. The picture shows the returns during training: the median over the seeds, and the
least and the greatest.
"""

import json
import multiprocessing
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpusim.agents.app.plot import Line, aligned, draw, interval, iqm, panels, save
from gpusim.agents.bench.provenance import hardware, provenance
from gpusim.agents.train.presets import expected_returns

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import folder, publish, say

POINTS = 60  # of a learning curve
EPISODES = 20  # in Gymnasium


@dataclass(frozen=True)
class Config:
    """What the presets reach, in ten seeds each."""

    seeds: int = 10
    """How many, for each."""
    first: int = 0
    """The first of them. Settings were chosen on seeds below 2000."""
    only: tuple[str, ...] = ()
    """Algorithms, environments, or algorithm/environment, to measure; the rows of the others are kept from the result file.
    None named: all."""
    jobs: int = 2
    """Runs at a time."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    measured = sorted(expected_returns())
    chosen = [name for name in measured if not config.only or {*name, "/".join(name)} & set(config.only)]
    tasks = [(*name, seed) for name in chosen for seed in range(config.first, config.first + config.seeds)]
    context = multiprocessing.get_context("spawn")
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {name: [] for name in chosen}
    source = provenance()
    with context.Pool(config.jobs) as pool:
        for run in pool.imap(train, tasks):
            runs[run["algorithm"], run["env"]].append(run)
            say(f"{run['algorithm']} {run['env']} seed {run['seed']}: {run['score']:.1f} in {run['seconds']:.1f} s")
    result = {"device": "cpu", "jobs": config.jobs, **source}
    origin = {"commit": source["commit"], "hardware": hardware(result, "cpu")}
    made = {name: summary(name, r) | origin for name, r in runs.items()}
    file = folder(result, config.out) / "ten_seeds.json"
    before = json.loads(file.read_text()) if config.only and file.exists() else {"rows": []}
    kept = [{"hardware": hardware(before, "cpu")} | row for row in before["rows"]]
    rows = {(r["algorithm"], r["env"]): r for r in kept} | made
    result["rows"] = [rows[name] for name in measured if name in rows]
    publish("ten_seeds", result, table(result), config.out)
    picture(result["rows"], file.with_suffix(".png"))


def train(task: tuple[Any, ...]) -> dict[str, Any]:
    """One run of a preset, in a process of the pool: algorithm, environment, seed, and settings that are changed."""
    from gpusim.agents.train.environments import describe
    from gpusim.agents.train.evaluate import evaluate, played, policy_of
    from gpusim.agents.train.loop import run
    from gpusim.agents.train.run import make_learner, preset

    algorithm, env, seed, *changes = task
    start = time.perf_counter()
    learner = make_learner(algorithm, preset(algorithm, env, seed=seed, device="cpu", **dict(*changes)))
    metrics = run(learner).metrics
    seconds = time.perf_counter() - start
    scores = evaluate(played(learner.network), env, 1000, seed=seed + 10_000, device="cpu")
    return {
        "algorithm": algorithm,
        "env": env,
        "seed": seed,
        "score": float(scores[:100].mean()),
        "least": float(scores.min()),
        "gymnasium": in_gymnasium(policy_of(learner.network, describe(env)), env, seed + 10_000),
        "seconds": seconds,
        "steps": learner.steps,
        "curve": [(int(m["steps"]), round(m["return"], 2)) for m in metrics if m["return"] == m["return"]],
    }


def in_gymnasium(policy: Any, env: str, seed: int) -> float | None:
    """The mean return there; None where it has no such environment."""
    from gpusim.agents.train.evaluate import evaluate_oracle
    from gpusim.errors import InputError

    try:
        return float(evaluate_oracle(policy, env, EPISODES, seed).mean())
    except InputError:
        return None


def summary(name: tuple[str, str], made: list[dict[str, Any]]) -> dict[str, Any]:
    scores, expected = np.array([r["score"] for r in made]), expected_returns()[name]
    low, high = interval(scores)
    return {
        "algorithm": name[0],
        "env": name[1],
        "asked": expected,
        "reached": int((scores >= expected).sum()),
        "iqm": float(iqm(scores)),
        "interval": [float(low), float(high)],
        "worst": float(scores.min()),
        "least": min(r["least"] for r in made),
        "first": made[0]["seed"],
        "gymnasium": [r["gymnasium"] for r in made] if made[0]["gymnasium"] is not None else None,
        "scores": scores.tolist(),
        "seconds": [r["seconds"] for r in made],
        "steps": made[0]["steps"],
        "curve": curve([r["curve"] for r in made]),
    }


def curve(runs: list[list[tuple[int, float]]]) -> dict[str, list[float]]:
    """The median, least and greatest return over the runs at `POINTS` steps, from where all have ended an episode."""
    steps, returns = aligned([np.array(r).T for r in runs], POINTS)
    rows = {"steps": steps, "median": np.median(returns, 0), "least": returns.min(0), "greatest": returns.max(0)}
    return {name: np.round(row, 1).tolist() for name, row in rows.items()}


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel for each row whose curve is known."""
    rows = [row for row in rows if "curve" in row]
    figure = panels(len(rows), across=4, size=(3.4, 2.6))
    for axes, row in zip(figure.axes, rows, strict=True):
        drawn, median = row["curve"], f"median of {len(row['scores'])} seeds"
        line = Line(median, drawn["steps"], drawn["median"], drawn["least"], drawn["greatest"], "all seeds")
        draw(axes, [line], (row["asked"], "target of the policy's mode"))
        axes.set(title=f"{row['algorithm']} {row['env']}", xlabel="environment steps", ylabel="return in training")
        axes.locator_params(axis="x", nbins=4)
    figure.axes[0].legend(loc="lower right", frameon=False, fontsize="small")
    save(figure, path, dpi=120)


def table(result: dict[str, Any]) -> list[str]:
    lines = [
        "| algorithm | environment | target | seeds that reach it | IQM | 95 % interval | worst seed | worst episode "
        "| in Gymnasium: IQM, worst seed | steps | seconds | seeds | commit |",
        "|---|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in result["rows"]:
        low, high = row["interval"]
        theirs = row.get("gymnasium")
        again = f"{float(iqm(np.array(theirs))):.1f}, {min(theirs):.1f}" if theirs else ""
        first, least = row.get("first", 0), f"{row['least']:.1f}" if "least" in row else ""
        lines.append(
            f"| {row['algorithm']} | {row['env']} | {row['asked']:g} | {row['reached']} of {len(row['scores'])} "
            f"| {row['iqm']:.1f} | {low:.1f} to {high:.1f} | {row['worst']:.1f} | {least} | {again} | {row['steps']:,} "
            f"| {np.median(row['seconds']):.1f} | {first} to {first + len(row['scores']) - 1} | {row['commit'][:12]} |"
        )
    machines: dict[str, list[str]] = {}
    for row in result["rows"]:
        machines.setdefault(row["hardware"], []).append(row["commit"][:12])
    where = "; ".join(f"{name} ({', '.join(dict.fromkeys(commits))})" for name, commits in machines.items())
    lines += [
        "",
        "Scores are means of 100 episodes by the policy's mode; the worst episode is that of 1,000 of every seed; "
        f"in Gymnasium every seed plays {EPISODES}. "
        f"Seconds are medians, {result['jobs']} runs at a time, on the machine of the commit: {where}. "
        f"torch {result['versions']['torch']}; "
        f"`python benchmarks/ten_seeds.py`, {result['date'][:10]}.",
    ]
    return lines


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
