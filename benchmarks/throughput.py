"""Environment steps per second on this machine, gpusim beside its peers in the same run.

    python benchmarks/throughput.py [--all | --games ID ...] [--device cpu|cuda] [--sizes 4096 65536] [--rounds 9]

Everything that is measured is made and compiled first; then the rounds go through all of it again and again, so that
what disturbs the machine disturbs everyone. The table gives medians over the rounds, and for each row of ours the ratio
to the fastest row of any peer at that number of environments, whatever it leaves out. `make peers` installs gymnax.

gymnax's MinAtar has no sticky actions, ends episodes after 1,000 steps and shows boards as float32; in its modes without
transitions XLA leaves the boards out, as our `sim` does.
"""

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tyro

import gpusim
from gpusim import checks
from gpusim.agents.bench import (
    MODES,
    Bench,
    BenchConfig,
    Mode,
    busy,
    hardware,
    measure,
    prepare,
    provenance,
    summarize,
)
from gpusim.agents.machine import probe
from gpusim.envs.minatar import GAMES

sys.path.insert(0, str(Path(__file__).resolve().parent))
from peers.gymnasium_cartpole import GymnasiumCartPole
from peers.gymnax_process import PYTHON, Gymnax
from report import publish, say

CARTPOLE = "CartPole-v1"
MINATAR = tuple(env.id for env in GAMES)
PEER_MODES = {
    "sim": "statistics returned",
    "bare": "no statistics",
    "transitions": "statistics and every transition returned",
    "step": "statistics, observations returned",
}
STEPS = 64  # in one call of rollout
STEPS_OF_BOARDS = 8  # where every board is returned


@dataclass(frozen=True)
class Config:
    """Environment steps per second on this machine, gpusim beside its peers in the same run."""

    all: bool = False
    """Measure the other environments too (ours alone, at the largest size)."""
    games: tuple[str, ...] = ()
    """Measure these of the MinAtar games instead of CartPole, such as MinAtar/Breakout-v1."""
    device: str = "auto"
    """auto, cpu or cuda."""
    sizes: tuple[int, ...] = (4_096, 65_536)
    """Numbers of environments."""
    backends: tuple[str, ...] = ("eager", "compile")
    """Of ours."""
    modes: tuple[Mode, ...] = ("sim", "transitions", "step")
    """Of ours, on CartPole."""
    rounds: int = 9
    """Measurements of each."""
    seconds: float = 0.3
    """Least length of one measurement [s]."""
    compile_times: bool = True
    """Measure compilation with empty and with filled caches, in processes of their own."""
    gymnax_python: Path = PYTHON
    """The Python that gymnax is installed for."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


class Measurable(Protocol):
    first_s: float

    def measure(self) -> float: ...
    def close(self) -> None: ...


class Contestant(NamedTuple):
    who: str
    env: str
    num_envs: int
    backend: str
    mode: str
    meaning: str  # of the mode, in words
    thing: Measurable
    rates: list[float]  # one for each round


class Ours:
    """A `Bench` as a contestant."""

    def __init__(self, config: BenchConfig):
        self.ready: Bench = prepare(config)
        self.first_s = self.ready.first_s

    def measure(self) -> float:
        return measure(self.ready)

    def close(self) -> None:
        self.ready.env.close()


def main(config: Config) -> None:
    device = checks.device(config.device)
    origin = provenance(probe())
    if busy(origin):
        say(f"This machine is busy (load {origin['load']:.1f}): the figures will be too low, and uneven.")
    rows: list[Contestant] = []
    missing: dict[str, str] = {}
    versions: dict[str, str] = {}
    for num_envs in config.sizes:
        say(f"{num_envs:,} environments: compiling and warming up")
        peers = gather(peer_makers(config, num_envs), missing)
        ours = gather(our_makers(config, num_envs), missing)
        rows += compete([*ours, *peers], config.rounds)
        versions |= {k: v for c in peers for k, v in getattr(c.thing, "versions", {}).items()}
    result = {
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()},
        "device": str(device),
        **origin,
        "rows": [row(c, rows) for c in rows],
        "not_measured": missing,
        "peer_versions": versions,
        "compile_times": compile_times(config) if config.compile_times and "compile" in config.backends else [],
    }
    publish("throughput_minatar" if config.games else "throughput", result, table(result), config.out)


def compared(config: Config) -> tuple[str, ...]:
    """The environments that peers are measured with too."""
    return config.games or (CARTPOLE,)


def steps_of(env: str, mode: str) -> int:
    return STEPS_OF_BOARDS if env in MINATAR and mode != "sim" and mode != "bare" else STEPS


Makers = Iterator[tuple[str, Callable[[], Contestant]]]


def our_makers(config: Config, num_envs: int) -> Makers:
    """What of ours is measured at this size: (name, function that makes it)."""
    last = num_envs == max(config.sizes)
    beside = compared(config)
    envs = [*beside, *(e for e in gpusim.env_ids() if config.all and last and e not in beside)]
    for env in envs:
        for backend in config.backends:
            for mode in config.modes if env in beside else config.modes[:1]:
                yield f"{env} {backend} {mode}", partial(make_ours, config, env, num_envs, backend, mode)


def make_ours(config: Config, env: str, num_envs: int, backend: str, mode: Mode) -> Contestant:
    bench = BenchConfig(
        env=env,
        num_envs=num_envs,
        device=config.device,
        backend=backend,
        mode=mode,
        steps=steps_of(env, mode),
        seconds=config.seconds,
    )
    return Contestant("gpusim", env, num_envs, backend, mode, MODES[mode], Ours(bench), [])


def peer_makers(config: Config, num_envs: int) -> Makers:
    for mode in () if config.games else ("step", "bare"):
        yield f"Gymnasium {mode}", partial(make_gymnasium, config, num_envs, mode)
    for env in compared(config):
        for mode in ("sim", "transitions", "bare"):
            if mode == "transitions" and mode not in config.modes:
                continue
            name = f"gymnax {env} {mode}" if config.games else f"gymnax {mode}"
            yield name, partial(make_gymnax, config, env, num_envs, mode)


def make_gymnasium(config: Config, num_envs: int, mode: str) -> Contestant:
    thing = GymnasiumCartPole(num_envs, STEPS, mode, config.seconds)
    return Contestant("Gymnasium", CARTPOLE, num_envs, "NumPy", mode, PEER_MODES[mode], thing, [])


def make_gymnax(config: Config, env: str, num_envs: int, mode: str) -> Contestant:
    if not config.gymnax_python.exists():
        raise RuntimeError("not installed here; `make peers` installs it")
    thing = Gymnax(config.gymnax_python, env, num_envs, steps_of(env, mode), mode, config.seconds)
    return Contestant("gymnax", env, num_envs, "jit+scan", mode, PEER_MODES[mode], thing, [])


def gather(makers: Makers, missing: dict[str, str]) -> list[Contestant]:
    """Those that could be made; why the others could not goes into `missing`."""
    made = []
    for name, make in makers:
        try:
            made.append(make())
            say(f"  {name}: ready, its first call took {made[-1].thing.first_s:.1f} s")
        except (gpusim.InputError, RuntimeError, OSError) as problem:
            missing[name] = str(problem)
            say(f"  {name}: not measured: {problem}")
    return made


def compete(contestants: list[Contestant], rounds: int) -> list[Contestant]:
    """Measures all in turn, `rounds` times, each time from another one on; then closes them."""
    gc.collect()
    for number in range(rounds):
        say(f"  round {number + 1} of {rounds}")
        turn = number * len(contestants) // rounds
        for c in (*contestants[turn:], *contestants[:turn]):
            c.rates.append(c.thing.measure())
    for c in contestants:
        c.thing.close()
    return contestants


def row(c: Contestant, everyone: list[Contestant]) -> dict[str, Any]:
    """A contestant's figures; for ours with the ratio to the fastest peer of the same size, and of those that, as ours do,
    keep the statistics of episodes."""
    facts = {k: v for k, v in c._asdict().items() if k != "thing"}
    facts |= {"first_s": c.thing.first_s, **summarize(c.rates)._asdict()}
    same = [p for p in everyone if p.who != "gpusim" and (p.env, p.num_envs) == (c.env, c.num_envs)]
    if c.who == "gpusim" and same:
        alike = [p for p in same if p.mode != "bare"]
        for name, peers in (
            ("ratio", same),
            ("ratio_alike", alike),
            ("ratio_same", [p for p in same if p.mode == c.mode]),
        ):
            if peers:
                peer = max(peers, key=lambda p: statistics.median(p.rates))
                facts[name] = {"to": f"{peer.who}, {peer.meaning}", **ratio(c.rates, peer.rates)}
    return facts


def ratio(ours: list[float], theirs: list[float], draws: int = 10_000) -> dict[str, float]:
    """Ratio of the medians, with a 95 % bootstrap interval over the rounds."""
    a, b = np.array(ours), np.array(theirs)
    pick = np.random.default_rng(0).integers(len(a), size=(draws, len(a)))
    drawn = np.median(a[pick], axis=1) / np.median(b[pick], axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"median": float(np.median(a) / np.median(b)), "low": float(low), "high": float(high)}


FIRST_CALL = """
import json, sys
from gpusim.agents.bench import BenchConfig, prepare
config = BenchConfig(**json.loads(sys.argv[1]), backend="compile", seconds=0.01)
print(json.dumps(prepare(config).first_s))
"""


def compile_times(config: Config) -> list[dict[str, Any]]:
    """Seconds of the first call in a new process: with empty compiler caches, and again with what that left in them."""
    times = []
    for mode in config.modes:
        with tempfile.TemporaryDirectory() as folder:
            caches = {"TORCHINDUCTOR_CACHE_DIR": folder, "TRITON_CACHE_DIR": f"{folder}/triton"}
            cold, warm = (_first_call(config, mode, caches) for _ in range(2))
        say(f"  first call of {mode}: {cold:.1f} s with empty caches, {warm:.1f} s with filled ones")
        times.append({"env": compared(config)[0], "mode": mode, "cold_s": cold, "warm_s": warm})
    return times


def _first_call(config: Config, mode: str, environ: dict[str, str]) -> float:
    fields = {
        "env": compared(config)[0],
        "num_envs": max(config.sizes),
        "device": config.device,
        "mode": mode,
        "steps": STEPS,
    }
    command = [sys.executable, "-c", FIRST_CALL, json.dumps(fields)]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(result: dict[str, Any]) -> list[str]:
    """The result in Markdown."""
    versions = {**result["versions"], **result["peer_versions"]}
    named = ", ".join(f"{k} {v}" for k, v in versions.items() if v and k != "device")
    where = f"{hardware(result, result['device'])}; {named}; commit {result['commit']}; {result['date'][:10]}"
    lines = [
        f"{where}; `{result['command']}`.",
        "Random actions, auto-reset on. M steps/s: median of the rounds (slowest to fastest).",
        "",
        "| environment | environments | who | mode | M steps/s | ratio to the fastest peer (95 %) "
        "| to the fastest that keeps statistics too | to the fastest in the same mode |",
        "|---|---:|---|---|---:|---:|---:|---:|",
    ]
    for r in sorted(
        result["rows"], key=lambda r: (r["env"] != CARTPOLE, r["env"], r["num_envs"], r["who"] != "gpusim")
    ):
        speed = f"{r['median'] / 1e6:,.1f} ({r['low'] / 1e6:,.1f} to {r['high'] / 1e6:,.1f})"
        shown = " | ".join(
            f"{r[k]['median']:.2f} ({r[k]['low']:.2f} to {r[k]['high']:.2f})" if k in r else ""
            for k in ("ratio", "ratio_alike", "ratio_same")
        )
        who = f"{r['who']} {r['backend']}"
        lines.append(f"| {r['env']} | {r['num_envs']:,} | {who} | {r['meaning']} | {speed} | {shown} |")
    lines += [""] + [f"Not measured: {name}: {why}." for name, why in result["not_measured"].items()]
    for t in result["compile_times"]:
        lines.append(
            f"First call in a new process, {t['env']}, backend compile, {MODES[t['mode']]}: "
            f"{t['cold_s']:.1f} s with empty compiler caches, {t['warm_s']:.1f} s with filled ones.\n"
        )
    return lines


if __name__ == "__main__":
    main(tyro.cli(Config))
