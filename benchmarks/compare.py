"""Whether a commit is faster or slower than another, beyond the noise: both are measured in turn, in the same run.

    python benchmarks/compare.py BASE [HEAD] [--points CartPole-v1:compile:sim:65536 ...] [--rounds 15]

Both commits are checked out beside each other; HEAD may be `.`, the files as they are. Each point is measured by three
processes that take turns: BASE, HEAD, and BASE once more, whose difference from itself is the noise. A change counts where
the 95 % interval of the ratio excludes 1 and the ratio is farther from 1 than BASE's own. `train` is the speed of a learner,
PPO with the same settings at both commits. The exit code is 1 where something is slower, 2 where a commit or a point cannot
be used or measured.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import tyro

from gpusim import checks
from gpusim.agents.bench.measure import ratio, summarize
from gpusim.agents.bench.provenance import busy, hardware, provenance, write_json
from gpusim.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from peers.process import FOLDER, Running
from report import say

ROOT = Path(__file__).resolve().parents[1]
MODES = ("sim", "transitions", "step", "train")
POINTS = (
    "CartPole-v1:eager:sim:4096",
    "CartPole-v1:eager:step:4096",
    "CartPole-v1:compile:sim:65536",
    "CartPole-v1:compile:step:65536",
    "Acrobot-v1:compile:sim:4096",
    "Pendulum-v1:compile:sim:4096",
    "CartPole-v1:compile:train:4096",
)


@dataclass(frozen=True)
class Config:
    """Whether a commit is faster or slower than another, beyond the noise."""

    base: tyro.conf.Positional[str]
    """Commit, branch or tag."""
    head: tyro.conf.Positional[str] = "."
    """Likewise; . is the files as they are."""
    points: tuple[str, ...] = POINTS
    """What is measured, each ENV:BACKEND:MODE:NUM_ENVS."""
    device: str = "cpu"
    """cpu or cuda."""
    rounds: int = 15
    """Measurements of each."""
    seconds: float = 0.3
    """Least length of one measurement [s]."""
    steps: int = 64
    """Steps in one call."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File to write the results to."""


class Found(NamedTuple):
    """Of one point."""

    point: str
    base: float  # environment steps per second
    head: float
    change: dict[str, float]  # HEAD / BASE with its interval
    noise: dict[str, float]  # BASE / BASE
    verdict: str  # faster, slower, no change, or why it was not measured


def main(config: Config) -> int:
    wanted = [parsed(p) for p in config.points]
    try:
        device = str(checks.device(config.device))
    except InputError as problem:
        refuse(str(problem))
    facts = {"base": named(config.base), "head": named(config.head), "device": device, **provenance()}
    if busy(facts):
        say(f"This machine is busy (load {facts['load']:.1f}): the noise will be large.")
    found = []
    with tree(config.base) as base, tree(config.head) as head:
        for point, (env, backend, mode, num_envs) in zip(config.points, wanted, strict=True):
            order = (env, num_envs, config.steps, mode, config.seconds, backend, device)
            found.append(compared(point, [str(x) for x in order], (base, head, base), config.rounds))
            say(line(found[-1]))
    print("\n".join([*heading(facts), *table(found)]))
    if config.json:
        write_json(config.json, {**facts, "rows": [f._asdict() for f in found]})
    if any(f.verdict.startswith("not measured") for f in found):
        return 2
    return int(any(f.verdict == "slower" for f in found))


def parsed(point: str) -> tuple[str, str, str, int]:
    parts = point.rsplit(":", 3)
    if len(parts) != 4 or not parts[3].isdecimal() or parts[2] not in MODES:
        refuse(f"a point is ENV:BACKEND:MODE:NUM_ENVS with a mode of {', '.join(MODES)}, not {point!r}.")
    return parts[0], parts[1], parts[2], int(parts[3])


def named(commit: str) -> str:
    """The commit's full name."""
    if commit == ".":
        return "working tree"
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        refuse(f"{commit!r} is no commit of this repository.")
    return done.stdout.strip()


def refuse(sentence: str) -> NoReturn:
    say(f"compare: {sentence}")
    raise SystemExit(2)


@contextmanager
def tree(commit: str) -> Iterator[Path]:
    """The files of a commit, in a folder of their own that goes away."""
    if commit == ".":
        yield ROOT
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", named(commit)], capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def compared(point: str, order: list[str], trees: tuple[Path, Path, Path], rounds: int) -> Found:
    running: list[Running] = []
    nothing: dict[str, float] = {}
    try:
        for path in trees:
            running.append(started(path, order))
        rates: list[list[float]] = [[] for _ in running]
        for number in range(rounds):
            for i in range(len(running)):
                turn = (i + number) % len(running)
                rates[turn].append(running[turn].measure())
    except RuntimeError as problem:
        which = ("BASE", "HEAD", "BASE")[min(len(running), 2)]
        return Found(point, 0.0, 0.0, nothing, nothing, f"not measured: {which}: {str(problem).splitlines()[-1]}")
    finally:
        for process in running:
            process.close()
    base, head, again = rates
    change, noise = ratio(head, base), ratio(again, base)
    return Found(point, summarize(base).median, summarize(head).median, change, noise, verdict(change, noise))


def started(path: Path, order: list[str]) -> Running:
    environ = {**os.environ, "PYTHONPATH": str(path), "GPUSIM_TREE": str(path)}
    command = [sys.executable, str(FOLDER / "gpusim_rollout.py"), *order]
    return Running("gpusim", command, int(order[1]), environ)


def verdict(change: dict[str, float], noise: dict[str, float]) -> str:
    """faster or slower, where the interval excludes 1 and the change is larger than that of BASE against itself."""
    floor = max(abs(noise[k] - 1) for k in ("low", "median", "high"))
    if change["low"] <= 1 <= change["high"] or abs(change["median"] - 1) <= floor:
        return "no change"
    return "faster" if change["median"] > 1 else "slower"


def heading(facts: dict[str, Any]) -> list[str]:
    return [
        f"BASE {facts['base'][:12]}, HEAD {facts['head'][:12]}, on {hardware(facts, facts['device'])}, "
        f"torch {facts['versions']['torch']}, load {facts['load']}; {facts['date'][:10]}",
        "",
        "| point | BASE, M steps/s | HEAD | HEAD / BASE (95 %) | BASE / BASE | verdict |",
        "|---|---:|---:|---:|---:|---|",
    ]


def table(found: list[Found]) -> list[str]:
    return [line(f) for f in found]


def line(f: Found) -> str:
    if f.verdict.startswith("not measured"):
        return f"| {f.point} | | | | | {f.verdict} |"
    change, noise = (f"{r['median']:.3f} ({r['low']:.3f} to {r['high']:.3f})" for r in (f.change, f.noise))
    return f"| {f.point} | {f.base / 1e6:.3g} | {f.head / 1e6:.3g} | {change} | {noise} | {f.verdict} |"


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Config)))
