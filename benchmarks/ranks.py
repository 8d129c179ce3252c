"""PPO by torchrun with one, two and four processes on this CPU: whether the runs are one, and what it costs to add up.

    python benchmarks/ranks.py [--sizes 1 2 4] [--only CartPole-v1 ...]

Weak scaling: an iteration in which every rank has as many environments as the preset, beside one rank alone. Cores that are
fewer than ranks are shared by them, and so is what other work leaves of them.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpusim.agents.app.plot import Line, draw, panels, save
from gpusim.agents.bench.provenance import hardware, provenance

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import folder, publish, say

STEPS = {"CartPole-v1": 100_000, "Pendulum-v1": 400_000}
STYLES = {1: "one process", 2: "two processes", 4: "four processes"}


@dataclass(frozen=True)
class Config:
    """One process beside several."""

    sizes: tuple[int, ...] = (1, 2, 4)
    """Processes."""
    only: tuple[str, ...] = tuple(STEPS)
    """Environments; the rows of the others are kept from the result file."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    source, before = provenance(), os.getloadavg()[0]
    rows = []
    for env in config.only:
        for size in config.sizes:
            say(f"{env} on {size}")
            rows.append(measured(env, size))
    for row in rows:
        alone = next(other for other in rows if other["env"] == row["env"])
        row["same_rollout"] = row["digest"] == alone["digest"]
        row["distance"] = float(np.abs(np.subtract(row["weights"], alone["weights"])).max())
    load = f"{before:.1f} to {os.getloadavg()[0]:.1f}"
    for row in rows:
        del row["weights"]
        row["load"] = load
    result = {"device": "cpu", "cores": os.cpu_count(), **source}
    file = folder(result, config.out) / "ranks.json"
    known = json.loads(file.read_text())["rows"] if file.exists() else []
    rows += [row for row in known if row["env"] not in config.only]
    result["rows"] = sorted(rows, key=lambda row: (row["env"], row["ranks"]))
    publish("ranks", result, table(result), config.out)
    picture(result["rows"], file.with_suffix(".png"))


def measured(env: str, size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "found.json"
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
        child = Path(__file__).with_name("one_rank.py")
        subprocess.run([*torchrun, str(child), env, str(STEPS[env]), str(out)], check=True)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def table(result: dict[str, Any]) -> list[str]:
    lines = [
        "| environment | processes | first rollout | weights after an iteration differ by | iteration [ms] | sums [ms] "
        "| one sum alone [ms] | steps/s | of linear | load |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in result["rows"]:
        alone = next(other for other in result["rows"] if other["env"] == row["env"])
        speed, single = (x["cost"]["steps"] / x["cost"]["least_ms"] for x in (row, alone))
        lines.append(
            f"| {row['env']} | {row['ranks']} | {'the same' if row['same_rollout'] else 'differs'} | {row['distance']:.1e} "
            f"| {row['cost']['least_ms']:.1f} | {row['cost']['least_sums_ms']:.1f} "
            f"| {row['cost']['gradient_sum_ms']:.2f} | {1e3 * speed:,.0f} "
            f"| {speed / single / row['ranks']:.0%} | {row['load']} |"
        )
    return [
        *lines,
        "",
        "The first four columns: as many environments in all; the others: as many on every process. Of 40 iterations the "
        f"fastest counts, as other work has part of the {result['cores']} cores, as load tells; sums hold the "
        f"waiting for a slower process. {hardware(result, 'cpu')}, torch {result['versions']['torch']}; "
        f"`python benchmarks/ranks.py`, {result['date'][:10]}.",
    ]


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel for each environment, with a curve for each number of processes."""
    envs = list(dict.fromkeys(row["env"] for row in rows))
    figure = panels(len(envs), across=2, size=(4.6, 3.2))
    for axes, env in zip(figure.axes, envs, strict=True):
        chosen = [row for row in rows if row["env"] == env]
        draw(axes, [Line(STYLES.get(r["ranks"], str(r["ranks"])), *np.transpose(r["curve"])) for r in chosen])
        axes.set(title=f"ppo {env}", xlabel="environment steps", ylabel="return in training")
        axes.legend(frameon=False, fontsize="small")
    save(figure, path, dpi=120)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
