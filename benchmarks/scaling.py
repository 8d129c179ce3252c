"""Speed, cost, memory and start-up against the number of environments: `gpusim bench` into the folder of results.

    python benchmarks/scaling.py [--device cpu|cuda] [--rounds 5]

`scaling`: CartPole from 1,024 to 1,048,576. `modes`: CartPole in every mode, and its start-up. `memory`: every environment,
262,144 of each (of the games with boards 16,384).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from report import folder, publish, say

import gpusim
from gpusim import checks
from gpusim.agents.bench import command
from gpusim.agents.bench.command import BenchConfig, startups
from gpusim.agents.bench.measure import MODES, Mode
from gpusim.agents.bench.picture import scaling

EVERY: tuple[Mode, ...] = ("sim", "transitions", "policy", "step", "collect", "train")


@dataclass(frozen=True)
class Config:
    """Speed, cost, memory and start-up against the number of environments."""

    device: str = "auto"
    """auto, cpu or cuda."""
    largest: int = 1_048_576
    """Environments."""
    rounds: int = 5
    """Measurements of each."""
    seconds: float = 0.2
    """Least length of one measurement [s]."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    common: dict[str, Any] = {"device": config.device, "rounds": config.rounds, "seconds": config.seconds}
    backends = ("eager", "native") if checks.device(config.device).type == "cpu" else ("compile", "triton")
    say("CartPole-v1 at all sizes")
    sizes = (f"1024..{config.largest}",)
    result = bench(BenchConfig(num_envs=sizes, backend=backends, mode=("sim", "step"), startup=False, **common))
    publish("scaling", result, rates(result), config.out)
    scaling(result, folder(result, config.out) / "scaling.png")
    say("CartPole-v1 in all modes")
    modes = BenchConfig(num_envs=(4_096,), backend=backends, mode=EVERY, memory=False, startup=False, **common)
    result = bench(modes)
    result["startup"] = list(startups(replace(modes, mode=("sim", "train"), startup=True)))
    publish("modes", result, rates(result) + starts(result), config.out)
    say("memory of all environments")
    result = memory(config, common)
    publish("memory", result, sizes_of(result), config.out)


def bench(config: BenchConfig) -> dict[str, Any]:
    """What is interrupted is not published."""
    result = command.bench(config)
    if result.get("interrupted"):
        raise SystemExit(130)
    return result


def memory(config: Config, common: dict[str, Any]) -> dict[str, Any]:
    """Of one call of `env.step`, whose tensors are new each time."""
    ids = [env for env in gpusim.env_ids(gpusim.Env) if not env.endswith("-v0") or "/" not in env]
    boards = tuple(env for env in ids if len(gpusim.spec(env).observation_space.shape) > 1)
    few: dict[str, Any] = {"steps": 1, "startup": False, "mode": ("step",)} | common | {"rounds": 1, "seconds": 0.01}
    lanes = BenchConfig(
        env=tuple(env for env in ids if env not in boards), num_envs=(min(262_144, config.largest),), **few
    )
    images = BenchConfig(env=boards, num_envs=(min(16_384, config.largest),), **few)
    first, second = bench(lanes), bench(images)
    return {**first, "rows": first["rows"] + second["rows"]}


def rates(result: dict[str, Any]) -> list[str]:
    """Speeds in Markdown."""
    top = result["ceiling"]
    lines = [
        "| environment | environments | backend | mode | M steps/s | of the copy's bytes/s | of the arithmetic |",
        "|---|---:|---|---|---:|---:|---:|",
    ]
    for r in result["rows"]:
        place = f"| {r['env']} | {r['num_envs']:,} | {r['backend']} | {r['mode']}: {MODES[r['mode']]} "
        if "not_measured" in r:
            lines.append(f"{place}| not measured: {r['not_measured']} | | |")
            continue
        shares = (r["share_of_copy"], r["share_of_arithmetic"])
        shown = " | ".join("" if s is None else f"{100 * s:.2g} %" for s in shares)
        low, high = r["low"] / 1e6, r["high"] / 1e6
        lines.append(f"{place}| {r['median'] / 1e6:.3g} ({low:.3g} to {high:.3g}) | {shown} |")
    return [
        *lines,
        "",
        f"Medians of {result['config']['rounds']} rounds (slowest to fastest), load {result['load']} at the start. A copy "
        f"moves {top['bytes_per_second'] / 1e9:.3g} GB/s, read and written; a product of float32 matrices makes "
        f"{top['operations_per_second'] / 1e9:.3g} GFLOP/s. The shares are of the bytes that a step returns, with the state "
        "once in and out of a call, and of the operations of its formulas, each counted as one.",
    ]


def starts(result: dict[str, Any]) -> list[str]:
    """Start-up in Markdown."""
    lines = [
        "",
        "| start of a new process | backend | mode | compiler caches empty [s] | filled [s] | of it imports [s] |",
        "|---|---|---|---:|---:|---:|",
    ]
    for r in result["startup"]:
        place = f"| {r['env']}, {r['num_envs']:,} | {r['backend']} | {r['mode']} |"
        if "not_measured" in r:
            lines.append(f"{place} not measured: {r['not_measured']} | | |")
        else:
            lines.append(
                f"{place} {r['cold']['total_s']:.1f} | {r['warm']['total_s']:.1f} | {r['warm']['import_s']:.1f} |"
            )
    return [*lines, "", "From the start of Python to the end of the first call."]


def sizes_of(result: dict[str, Any]) -> list[str]:
    """Memory in Markdown."""
    lines = [
        "| environment | environments | backend | state, bytes per environment | peak of env.step, bytes per environment |",
        "|---|---:|---|---:|---:|",
    ]
    for r in result["rows"]:
        taken = r.get("memory") or {}
        shown = [f"{taken[k]:,.0f}" if taken.get(k) else "" for k in ("state_bytes_per_env", "peak_bytes_per_env")]
        lines.append(f"| {r['env']} | {r['num_envs']:,} | {r['backend']} | {' | '.join(shown)} |")
    return lines


if __name__ == "__main__":
    main(tyro.cli(Config))
