"""`gpusim bench`: how fast this machine steps environments, in which mode, and what share that is of what it could do."""

import gc
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import gpusim
from gpusim import checks, source
from gpusim.agents.bench import roofline
from gpusim.agents.bench.measure import MODES, Bench, Mode, Point, measure, prepare, summarize
from gpusim.agents.bench.memory import memory
from gpusim.agents.bench.provenance import busy, hardware, provenance, write_json
from gpusim.agents.bench.startup import startup
from gpusim.agents.train.ranges import Count, Range, check_field, hints, whole
from gpusim.errors import InputError

FAILURES = (InputError, RuntimeError, MemoryError)  # of one combination, which do not end the others


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """How fast this machine steps environments: every combination of what is given, auto-reset and statistics on."""

    env: tuple[str, ...] = ("CartPole-v1",)
    """Ids of environments, or all."""
    num_envs: tuple[str | int, ...] = (65_536,)
    """Environments that step together; 1024..1048576 stands for 1024, 4096, 16384 and so on."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""
    backend: tuple[str, ...] = ("auto",)
    """eager, native (C++, on a CPU), compile (on a GPU), triton, or auto (native on a CPU, on a GPU triton where
    it can be)."""
    mode: tuple[Mode, ...] = ("sim",)
    """sim: statistics returned; transitions: every transition; policy: likewise, by an actor and a critic; step: all that
    env.step gives; collect: PPO's own rollouts; train: PPO whole."""
    steps: Count | None = None
    """Steps in one call of rollout, or calls of env.step between two readings of the clock; None: 64, or what 1 GiB
    holds, on a CPU fewer where 64 would be more than 2**24 steps; for collect and train what the preset says."""
    rounds: Count = 7
    """Measurements of each, in turn, of which the median is reported."""
    seconds: Annotated[float, Range(0, 3600, above=True)] = 0.3
    """Least length of a measurement [s]."""
    startup: bool = True
    """Measure the start in new processes, with empty and with filled compiler caches, at the largest num_envs."""
    memory: bool = True
    """Measure memory."""
    json: Path | None = None
    """File to write the results to."""
    plot: Path | None = None
    """Picture to draw: speed, cost and memory against num_envs (.png, .svg or .pdf)."""

    @property
    def envs(self) -> list[str]:
        """Each by its id, one's own after where it comes from."""
        given = gpusim.env_ids(gpusim.Env) if tuple(self.env) == ("all",) else self.env
        if other := next((e for e in given if isinstance(gpusim.spec(e), gpusim.PhysicsEnv)), None):
            raise InputError(
                f"{other} is stepped by MuJoCo Warp, which this does not measure: name one of gpusim's own."
            )
        return [source.renamed(e, gpusim.spec(e).id) for e in given]

    @property
    def sizes(self) -> list[int]:
        """The numbers of environments, ascending."""
        return sorted({n for text in self.num_envs for n in numbers(str(text))})

    @property
    def backends(self) -> list[str]:
        """Each once, by the name that it has here."""
        device = checks.device(self.device)
        envs = [gpusim.spec(e) for e in self.envs]
        return list(dict.fromkeys(checks.backend(b, device, e) for b, e in product(self.backend, envs)))


def numbers(text: str) -> list[int]:
    """ "4096" or "4k" is one number, "1k..64k" the numbers from the first, each four times the one before, up to the second.

    Raises:
        InputError: it is neither.
    """
    low, dots, high = text.replace(",", "").partition("..")
    try:
        first, last = whole(low), whole(high if dots else low)
    except ValueError:
        first = last = 0
    if not 1 <= first <= last:
        raise InputError(f"num_envs must be a positive whole number or a range such as 1024..1048576, not {text!r}.")
    found = [first]
    while found[-1] * 4 <= last:
        found.append(found[-1] * 4)
    return found


def bench(config: BenchConfig) -> dict[str, Any]:
    """Measures, prints a table and returns the results: figures with their mode, hardware, versions, commit and command.

    A combination that cannot be measured has the reason in its row. Interrupted, it keeps what was measured so far.

    Raises:
        InputError: a field of `config` cannot be used, or a file's folder is not there.
    """
    check(config)
    device = checks.device(config.device)
    result: dict[str, Any] = {
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()},
        "device": str(device),
        **provenance(),
        "ceiling": roofline.ceiling(device)._asdict(),
        "rows": [],
        "startup": [],
    }
    try:
        for env, num_envs in product(config.envs, config.sizes):
            result["rows"] += group(config, env, num_envs, result["ceiling"])
        result["startup"] = list(startups(config))
    except KeyboardInterrupt:
        result["interrupted"] = True
    finish(config, result)
    return result


def check(config: BenchConfig) -> None:
    """Refuses, before anything is measured, what would fail later."""
    for name in ("steps", "rounds", "seconds"):
        check_field(name, getattr(config, name), hints(config)[name])
    for point in points(config):
        point.check()
    for path in filter(None, (config.json, config.plot)):
        if not path.absolute().parent.is_dir():
            raise InputError(f"cannot write {path}: the folder {path.parent} does not exist.")
        if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
            raise InputError(
                f"cannot write {path}: {'it is a folder' if path.is_dir() else 'its folder is read-only'}."
            )
    if config.plot:
        if config.plot.suffix not in (".png", ".svg", ".pdf"):
            raise InputError(f"a picture ends in .png, .svg or .pdf, not {config.plot.suffix!r}.")
        if not importlib.util.find_spec("matplotlib"):
            raise InputError('--plot needs matplotlib, which is not installed: pip install "gpusim[train]".')


def points(config: BenchConfig, env: str | None = None, num_envs: int | None = None) -> list[Point]:
    envs = config.envs if env is None else [env]
    sizes = config.sizes if num_envs is None else [num_envs]
    return [
        Point(env=e, num_envs=n, device=config.device, backend=b, mode=m, steps=config.steps, seconds=config.seconds)
        for e, n, m, b in product(envs, sizes, config.mode, config.backends)
    ]


def group(config: BenchConfig, env: str, num_envs: int, ceiling: dict[str, float]) -> list[dict[str, Any]]:
    """All modes and backends of one environment at one size: prepared first, then measured in turn."""
    rows: list[dict[str, Any]] = []
    ready: list[tuple[dict[str, Any], Point, Bench]] = []
    for point in points(config, env, num_envs):
        row = {k: getattr(point, k) for k in ("env", "num_envs", "backend", "mode")} | {"meaning": MODES[point.mode]}
        rows.append(row)
        try:
            ready.append((row, point, prepare(point)))
        except FAILURES as problem:
            row["not_measured"] = reason(problem)
    rates: list[list[float]] = [[] for _ in ready]
    gc.collect()
    for number in range(config.rounds):
        turn = number * len(ready) // config.rounds
        for i in (*range(turn, len(ready)), *range(turn)):
            try:
                rates[i].extend([] if "not_measured" in ready[i][0] else [measure(ready[i][2])])
            except FAILURES as problem:
                ready[i][0]["not_measured"] = reason(problem)
    for (row, point, prepared), found in zip(ready, rates, strict=True):
        if "not_measured" not in row:
            row |= figures(point, prepared, found, ceiling)
        prepared.env.close()
    ready.clear()
    if config.memory:
        for row, point in zip(rows, points(config, env, num_envs), strict=True):
            row["memory"] = tried(memory, point) if "not_measured" not in row else None
    return rows


def figures(point: Point, ready: Bench, rates: list[float], ceiling: dict[str, float]) -> dict[str, Any]:
    """Of one row: the speed, and what it means of the ceilings."""
    speed, need = summarize(rates), roofline.work(point, ready)
    return {
        "steps_in_a_call": ready.work // point.num_envs,
        "steps_per_second": rates,
        **speed._asdict(),
        "first_call_s": ready.first_s,
        "bytes_per_step": need.bytes,
        "operations_per_step": need.operations,
        "share_of_copy": need.bytes and need.bytes * speed.median / ceiling["bytes_per_second"],
        "share_of_arithmetic": need.operations and need.operations * speed.median / ceiling["operations_per_second"],
    }


def startups(config: BenchConfig) -> Iterator[dict[str, Any]]:
    if not config.startup:
        return
    for point in points(config, num_envs=max(config.sizes)):
        found = tried(startup, point)
        yield {k: getattr(point, k) for k in ("env", "num_envs", "backend", "mode")} | found


def tried(function: Any, point: Point) -> dict[str, Any]:
    try:
        return function(point)
    except FAILURES as problem:
        return {"not_measured": reason(problem)}


def reason(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]


# ---------------------------------------------------------------------------------------------------------- report


def finish(config: BenchConfig, result: dict[str, Any]) -> None:
    """Writes the files and prints the table."""
    if config.json:
        write_json(config.json, result)
    show(result)
    if config.plot and any("median" in r for r in result["rows"]):
        from gpusim.agents.bench.picture import scaling

        scaling(result, config.plot)


WIDE = 120  # columns of a terminal that holds all of the table; on a narrower one it is two


def show(result: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console()
    console = console if console.is_terminal or "COLUMNS" in os.environ else Console(width=180)
    console.print("\n".join(heading(result)), highlight=False)
    for env in dict.fromkeys(row["env"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["env"] == env]
        for heads in [SPEED + COSTS] if console.width >= WIDE else [SPEED, COSTS]:
            console.print(table(env, rows, heads))
    for line in notes(result):
        console.print(line, highlight=False)


SPEED = ("M steps/s", "slowest to fastest", "ns/step")
COSTS = ("of copy", "of FLOP/s", "state B/env", "peak B/env", "first call s")


def table(env: str, rows: list[dict[str, Any]], heads: tuple[str, ...]) -> Any:
    """Of one environment, those columns."""
    from rich import box
    from rich.table import Table

    made = Table(title=env, title_justify="left", box=box.SIMPLE_HEAD)
    for head in ("num_envs", "backend", "mode", *heads):
        justify: Any = "left" if head in ("backend", "mode") else "right"
        made.add_column(head.replace(" ", "\n", 1), justify=justify, no_wrap=True)
    for row in rows:
        made.add_row(f"{row['num_envs']:,}", row["backend"], row["mode"], *map(cells(row).get, heads))
    return made


def heading(result: dict[str, Any]) -> list[str]:
    names = ", ".join(dict.fromkeys(r["env"] for r in result["rows"]))
    top = result["ceiling"]
    lines = [
        f"{names} on {hardware(result, result['device'])}; torch {result['versions']['torch']}, "
        f"{result['torch_threads']} threads; commit {result['commit']}",
        f"this device copies {top['bytes_per_second'] / 1e9:,.1f} GB/s (read and written) and multiplies float32 matrices "
        f"at {top['operations_per_second'] / 1e9:,.0f} GFLOP/s, both measured now",
    ]
    if busy(result):
        lines.append(f"load {result['load']:.1f}: this machine was busy, so it can do more")
    return lines


def cells(row: dict[str, Any]) -> dict[str, str]:
    """What stands under each head."""
    if "not_measured" in row:
        return {"M steps/s": "", "slowest to fastest": "not measured"}
    taken = row.get("memory") or {}
    return {
        "M steps/s": f"{row['median'] / 1e6:,.2f}",
        "slowest to fastest": f"{row['low'] / 1e6:,.2f} to {row['high'] / 1e6:,.2f}",
        "ns/step": f"{1e9 / row['median']:,.{0 if row['median'] < 1e7 else 2}f}",
        "first call s": f"{row['first_call_s']:.2f}",
        "of copy": percent(row["share_of_copy"]),
        "of FLOP/s": percent(row["share_of_arithmetic"]),
        "state B/env": bytes_each(taken.get("state_bytes_per_env")),
        "peak B/env": bytes_each(taken.get("peak_bytes_per_env")),
    }


def bytes_each(count: float | None) -> str:
    return f"{count:,.0f}" if count else ""


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2g} %"


def notes(result: dict[str, Any]) -> Iterator[str]:
    """What the table cannot say."""
    for mode in dict.fromkeys(r["mode"] for r in result["rows"]):
        yield f"{mode}: {MODES[mode]}. Every row of every step is a transition (auto-reset within the step)."
    for row in result["rows"]:
        if "not_measured" in row:
            yield f"{place(row)}: not measured: {row['not_measured']}"
        elif "not_measured" in (row.get("memory") or {}):
            yield f"{place(row)}: memory not measured: {row['memory']['not_measured']}"
    for row in result["startup"]:
        if "not_measured" in row:
            yield f"start of {place(row)}: not measured: {row['not_measured']}"
            continue
        cold, warm = row["cold"], row["warm"]
        yield (
            f"start of {place(row)}, from Python's start to the end of the first call: {cold['total_s']:.1f} s with empty "
            f"compiler caches, {warm['total_s']:.1f} s with filled ones; of it imports {warm['import_s']:.1f} s"
        )
    if result.get("interrupted"):
        yield "interrupted: what was measured until then is kept"


def place(row: dict[str, Any]) -> str:
    return f"{row['env']}, {row['num_envs']:,} environments, {row['backend']}, {row['mode']}"
