"""Environment steps per second on this machine, gpusim beside its peers in the same run.

    python benchmarks/throughput.py [--envs CartPole-v1 ...] [--sizes 4096 65536] [--rounds 7] [--out FOLDER]

Each is a process of its own (a driver in peers/; `make peers` installs them). All that are compared are compiled and warm
before the first round; then the rounds go through them again and again, each time from another one on, so that what
disturbs the machine disturbs everyone. The table gives medians over the rounds, and for each row of ours the ratio to the
fastest row of any peer, whatever that leaves out, to the fastest that keeps statistics as ours do, and to the fastest in
the same mode. Only transitions count: a step that resets is none.
"""

import gc
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import tyro

import gpusim
from gpusim import checks
from gpusim.agents.bench.measure import ratio, steps_for, summarize
from gpusim.agents.bench.provenance import busy, hardware, provenance
from gpusim.envs.classic import CLASSIC
from gpusim.envs.minatar import GAMES

sys.path.insert(0, str(Path(__file__).resolve().parent))
from peers.catalogue import beside
from peers.process import FOLDER, Peer, Running
from pictures import throughput as picture
from report import folder, publish, say

CARTPOLE = "CartPole-v1"
OTHERS = tuple(env.id for env in CLASSIC if env.id != CARTPOLE)
MINATAR = tuple(env.id for env in GAMES)
MODES = {
    "sim": "statistics returned",
    "bare": "no statistics, whatever else a step returns",
    "transitions": "statistics and every transition returned",
    "step": "statistics, observations returned",
}
SIZES = {CARTPOLE: (4_096, 65_536), **dict.fromkeys(OTHERS, (4_096,)), **dict.fromkeys(MINATAR, (2_048,))}
RATIOS = ("ratio", "ratio_alike", "ratio_same")


@dataclass(frozen=True)
class Config:
    """Environment steps per second on this machine, gpusim beside its peers in the same run."""

    envs: tuple[str, ...] = tuple(SIZES)
    """Environments."""
    sizes: tuple[int, ...] = ()
    """Numbers of environments; none stands for CartPole's 4,096 and 65,536, the other classics' 4,096, MinAtar's 2,048."""
    device: str = "auto"
    """auto, cpu or cuda, for ours."""
    backends: tuple[str, ...] = ()
    """Of ours; none stands for eager and native, on a GPU for compile and triton. MinAtar's only by the last of them."""
    modes: tuple[str, ...] = ("sim", "transitions", "step")
    """Of ours on CartPole, and of peers; elsewhere ours is measured by `sim` alone."""
    rounds: int = 7
    """Measurements of each."""
    seconds: float = 0.3
    """Least length of one measurement [s]."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


class Measurable(Protocol):
    first_s: float
    num_envs: int
    versions: dict[str, str]

    def measure(self) -> float: ...
    def close(self) -> None: ...


class Contestant(NamedTuple):
    who: str
    env: str
    num_envs: int  # that stand beside each other; `thing.num_envs` are stepped
    runs: str  # how: our backend, or a word on the peer's way
    mode: str
    thing: Measurable
    rates: list[float]  # one for each round


def main(config: Config) -> None:
    device = checks.device(config.device)
    origin = provenance()
    if busy(origin):
        say(f"This machine is busy (load {origin['load']:.1f}): the figures will be too low, and uneven.")
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    versions: dict[str, dict[str, str]] = {}
    result = {
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()},
        "device": str(device),
        **origin,
        "rows": rows,
        "not_measured": missing,
        "peer_versions": versions,
    }
    for env in config.envs:
        for num_envs in config.sizes or SIZES.get(env, (4_096,)):
            say(f"{env}, {num_envs:,} environments: compiling and warming up")
            made = compete(gather(makers(config, env, num_envs), missing), config.rounds, missing)
            rows += [row(c, made) for c in made]
            versions |= {c.who: c.thing.versions for c in made}
            publish("throughput", result, table(result), config.out, quiet=True)
    publish("throughput", result, table(result), config.out)
    into = folder(result, config.out)
    (into / "throughput_summary.md").write_text("\n".join(summary(result)) + "\n")
    picture(result, into / "throughput.png")


Makers = Iterator[tuple[str, Callable[[], Contestant]]]


def makers(config: Config, env: str, num_envs: int) -> Makers:
    """What is measured on this environment at this size: (name, function that makes it)."""
    on_cpu = checks.device(config.device).type == "cpu"
    backends = config.backends or (("eager", "native") if on_cpu else ("compile", "triton"))
    for backend in backends if env not in MINATAR else backends[-1:]:
        for mode in config.modes if env == CARTPOLE else config.modes[:1]:
            yield f"gpusim {env} {backend} {mode}", partial(ours, config, env, num_envs, backend, mode)
    for peer in beside(env):
        for mode in peer.modes:
            if mode == "bare" or (mode in config.modes and (mode != "transitions" or env == CARTPOLE)):
                yield f"{peer.name} {env} {mode}", partial(theirs, config, peer, env, num_envs, mode)


def ours(config: Config, env: str, num_envs: int, backend: str, mode: str) -> Contestant:
    driver = [sys.executable, str(FOLDER / "gpusim_rollout.py")]
    order = (
        env,
        num_envs,
        steps(config, env, num_envs, mode),
        mode,
        config.seconds,
        backend,
        checks.device(config.device),
    )
    return Contestant(
        "gpusim", env, num_envs, backend, mode, Running("gpusim", [*driver, *map(str, order)], num_envs), []
    )


def theirs(config: Config, peer: Peer, env: str, num_envs: int, mode: str) -> Contestant:
    thing = peer.start(env, num_envs, steps(config, env, num_envs, mode), mode, config.seconds)
    return Contestant(peer.name, env, num_envs, peer.runs, mode, thing, [])


def steps(config: Config, env: str, num_envs: int, mode: str) -> int:
    """Of one call: for all alike."""
    ours = gpusim.make(env, num_envs, device=config.device, backend="eager")
    return steps_for(ours, "sim" if mode == "bare" else mode)


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


def compete(contestants: list[Contestant], rounds: int, missing: dict[str, str]) -> list[Contestant]:
    """Measures all in turn, `rounds` times, each time from another one on, and closes them; who failed goes into
    `missing`, the others are returned."""
    gc.collect()
    failed: set[int] = set()
    try:
        for number in range(rounds):
            turn = number * len(contestants) // rounds
            for i in (*range(turn, len(contestants)), *range(turn)):
                c = contestants[i]
                try:
                    c.rates.extend([] if i in failed else [c.thing.measure()])
                except RuntimeError as problem:
                    failed.add(i)
                    missing[f"{c.who} {c.env} {c.mode}"] = str(problem)
    finally:
        for c in contestants:
            c.thing.close()
    return [c for i, c in enumerate(contestants) if i not in failed]


def row(c: Contestant, everyone: list[Contestant]) -> dict[str, Any]:
    """A contestant's figures; for ours with the ratios to the fastest peers of the same environment and size."""
    facts: dict[str, Any] = {k: v for k, v in c._asdict().items() if k != "thing"}
    facts |= {"ran": c.thing.num_envs, "first_s": c.thing.first_s, **summarize(c.rates)._asdict()}
    same = [p for p in everyone if p.who != "gpusim" and (p.env, p.num_envs) == (c.env, c.num_envs)]
    same = [p for p in same if on_gpu(p) == on_gpu(c)]
    chosen = (same, [p for p in same if p.mode != "bare"], [p for p in same if p.mode == c.mode])
    for name, peers in zip(RATIOS, chosen, strict=True):
        if peers and c.who == "gpusim":
            peer = max(peers, key=lambda p: statistics.median(p.rates))
            facts[name] = {"to": f"{peer.who}, {peer.mode}", **ratio(c.rates, peer.rates)}
    return facts


def on_gpu(c: Contestant) -> bool:
    """Whether it steps on a GPU: only likes are compared."""
    return any(name in c.thing.versions.get("device", "cpu").lower() for name in ("cuda", "gpu", "rocm"))


def table(result: dict[str, Any]) -> list[str]:
    """The result in Markdown."""
    lines = [
        f"Random actions, auto-reset on; {result['config']['rounds']} rounds. M steps/s: median (slowest to fastest).",
        "",
        "| environment | environments | who | mode | M steps/s | ratio to the fastest peer (95 %) "
        "| to the fastest that keeps statistics too | to the fastest in the same mode |",
        "|---|---:|---|---|---:|---:|---:|---:|",
    ]
    for r in result["rows"]:
        speed = f"{figure(r['median'])} ({figure(r['low'])} to {figure(r['high'])})"
        shown = " | ".join(
            f"{r[k]['median']:.2f} ({r[k]['low']:.2f} to {r[k]['high']:.2f})" if k in r else "" for k in RATIOS
        )
        count = f"{r['num_envs']:,}" + (f" (runs {r['ran']:,})" if r["ran"] != r["num_envs"] else "")
        lines.append(
            f"| {r['env']} | {count} | {r['who']} {r['runs']} | {r['mode']}: {MODES[r['mode']]} | {speed} | {shown} |"
        )
    named = {who: ", ".join(f"{k} {v}" for k, v in found.items()) for who, found in result["peer_versions"].items()}
    differs = {p.name: p.differs for r in result["rows"] for p in beside(r["env"]) if p.name == r["who"]}
    lines += ["", f"{hardware(result, result['device'])}; commit {result['commit']}; {result['date'][:10]}; "]
    lines[-1] += f"`{result['command']}`; load {result['load']} at the start."
    lines += [f"* {who} ({named.get(who, '')}): {words}" for who, words in differs.items()]
    return lines + [f"* Not measured: {name}: {why}" for name, why in result["not_measured"].items()]


def summary(result: dict[str, Any]) -> list[str]:
    """A line for each environment and size, in Markdown: the fastest of ours and the fastest of all peers."""
    lines = [
        "| environment | environments | gpusim, M steps/s | fastest peer, M steps/s | ratio (95 %) | in the same mode |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for env, num_envs in dict.fromkeys((r["env"], r["num_envs"]) for r in result["rows"]):
        same = [r for r in result["rows"] if (r["env"], r["num_envs"]) == (env, num_envs)]
        ours = max((r for r in same if r["who"] == "gpusim"), key=lambda r: r["median"], default=None)
        peer = max((r for r in same if r["who"] != "gpusim"), key=lambda r: r["median"], default=None)
        best, theirs = (f"{figure(r['median'])} ({named(r)}, {r['mode']})" if r else "" for r in (ours, peer))
        ratios = (ours or {}).get("ratio"), (ours or {}).get("ratio_same")
        shown = (f"{r['median']:.1f} ({r['low']:.1f} to {r['high']:.1f})" if r else "" for r in ratios)
        lines.append(f"| {env} | {num_envs:,} | {best.replace('gpusim ', '')} | {theirs} | {' | '.join(shown)} |")
    return [*lines, "", f"{hardware(result, result['device'])}, commit {result['commit']}, {result['date'][:10]}."]


def named(r: dict[str, Any]) -> str:
    """Who, how, and how many where these are not all."""
    return f"{r['who']} {r['runs']}" + (f", {r['ran']:,} environments" if r["ran"] != r["num_envs"] else "")


def figure(rate: float) -> str:
    """In millions, three digits."""
    return f"{rate / 1e6:,.0f}" if rate >= 1e8 else f"{rate / 1e6:.3g}"


if __name__ == "__main__":
    main(tyro.cli(Config))
