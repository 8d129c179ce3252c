"""How long an exported policy takes to answer, one observation and many, by what runs it: beside `load_policy` itself.

    python benchmarks/export_latency.py [--batches 1 4096] [--seconds 1] [--no-aot]

Networks are those of presets, their weights as drawn; a call is timed from numbers in memory to actions in memory, on one
thread. `pip install -e ".[train,export]"`.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpusim.agents.app.export import policy_numpy, policy_torch
from gpusim.agents.app.export.acting import Acting
from gpusim.agents.app.export.card import interface, libraries
from gpusim.agents.app.export.formats import AOT, FORMATS
from gpusim.agents.app.export.program import program
from gpusim.agents.bench.provenance import hardware, provenance
from gpusim.agents.train.discovery import learner_class
from gpusim.agents.train.environments import describe
from gpusim.agents.train.evaluate import InPlay, policy_of
from gpusim.agents.train.run import preset

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import publish, say

POLICIES = {
    "CartPole-v1, MLP": ("ppo", "CartPole-v1"),
    "Pendulum-v1, SAC": ("sac", "Pendulum-v1"),
    "StatelessCartPole-v1, GRU": ("ppo", "StatelessCartPole-v1"),
    "MinAtar/Breakout-v1, CNN": ("ppo", "MinAtar/Breakout-v1"),
}
RUNNERS = {
    "load_policy": "gpusim",
    "torch": "torch.export",
    "aot": "AOTInductor",
    "onnx": "onnxruntime",
    "json": "NumPy",
}
LEAST = 30  # calls that are timed

Call = Callable[[], Any]


@dataclass(frozen=True)
class Config:
    """Latencies of exports."""

    batches: tuple[int, ...] = (1, 4096)
    """Observations in a call."""
    seconds: float = 1.0
    """For which each is called."""
    aot: bool = True
    """Compile by AOTInductor too; a minute for each policy."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    torch.set_num_threads(1)
    result: dict[str, Any] = {"device": "cpu", **provenance(), "libraries": libraries(), "rows": []}
    for name, (algorithm, env) in POLICIES.items():
        with tempfile.TemporaryDirectory() as folder:
            for runner, make, size in players(algorithm, env, config.aot, Path(folder)):
                for batch in config.batches:
                    row = {"policy": name, "runner": RUNNERS[runner], "batch": batch, "bytes": size}
                    result["rows"].append(row | measured(asking(make(), env, batch), config.seconds))
                    say(f"{name} {RUNNERS[runner]} {batch}: {result['rows'][-1]['median_us']:,.0f} µs")
    publish("export_latency", result, table(result, config.batches), config.out)


def players(algorithm: str, env: str, aot: bool, folder: Path) -> list[tuple[str, Call, int | None]]:
    """What makes the policy of a preset, and its exports of files in `folder`; and how large these are."""
    task = describe(env)
    network = learner_class(algorithm).make_network(preset(algorithm, env), task, torch.Generator().manual_seed(0))
    policy = policy_of(network, task)
    acting = Acting(policy)
    graph, card = program(acting), interface(policy, acting, "float32")
    found: list[tuple[str, Call, int | None]] = [("load_policy", lambda: InPlay(policy), None)]
    for name, kind in ({"torch": FORMATS["torch"]} | ({"aot": AOT} if aot else {}) | FORMATS).items():
        path = folder / f"policy{kind.suffix}"
        kind.write(graph, path, card)
        player = policy_torch if kind.suffix.endswith(".pt2") else policy_numpy
        found.append((name, partial(player.Policy, str(path)), path.stat().st_size))
    return found


def asking(policy: Any, env: str, batch: int) -> Call:
    """A call of that policy, for observations of its kind."""
    space = describe(env).observation_space
    obs = np.random.default_rng(0).random((batch, *space.shape)).round(2).astype(space.dtype)
    given = torch.from_numpy(obs) if isinstance(policy, InPlay | policy_torch.Policy) else obs
    return lambda: policy(given)


def measured(call: Call, seconds: float) -> dict[str, float]:
    """Median, least and 99th percentile of the calls in so many seconds, the first ones left out."""
    for _ in range(10):
        call()
    times, end = list[float](), time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < LEAST:
        start = time.perf_counter()
        call()
        times.append(1e6 * (time.perf_counter() - start))
    spread = {"least_us": min(times), "p99_us": float(np.percentile(times, 99))}
    return {"median_us": statistics.median(times), **spread, "calls": len(times)}


def table(result: dict[str, Any], batches: tuple[int, ...]) -> list[str]:
    known = {(row["policy"], row["runner"], row["batch"]): row for row in result["rows"]}
    sizes = [f"{batch:,} observation{'s' if batch > 1 else ''}" for batch in batches]
    lines = [f"| policy | run by | file | {' | '.join(sizes)} |", "|---|---|---:|" + "---:|" * len(sizes)]
    for policy, runner in dict.fromkeys((row["policy"], row["runner"]) for row in result["rows"]):
        rows = [known[policy, runner, batch] for batch in batches]
        size = "" if rows[0]["bytes"] is None else f"{rows[0]['bytes'] / 1000:,.0f} kB"
        times = " | ".join(f"{row['median_us']:,.0f} µs ({row['least_us']:,.0f})" for row in rows)
        lines.append(f"| {policy} | {runner} | {size} | {times} |")
    versions = ", ".join(f"{name} {number}" for name, number in result["libraries"].items() if name != "onnxscript")
    return [
        *lines,
        "",
        "Median time of a call, the least in brackets, on one thread beside other work (load "
        f"{result['load']} on {result['hardware']['cores']} cores). {hardware(result, 'cpu')}, {versions}; "
        f"`python benchmarks/export_latency.py`, commit {str(result['commit'])[:12]}, {result['date'][:10]}.",
    ]


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config, description=__doc__))
