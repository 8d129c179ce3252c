"""The pictures of the benchmarks, drawn of what their result files hold."""

import statistics
from pathlib import Path
from typing import Any

from gpusim.agents.bench.provenance import hardware

OURS, THEIRS = "tab:blue", "0.4"


def figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def origin(result: dict[str, Any]) -> str:
    return f"{hardware(result, result['device'])}, commit {result['commit']}, {result['date'][:10]}"


def throughput(result: dict[str, Any], path: Path) -> None:
    """A panel for each environment and size: the best of each contestant's modes, whiskers from the slowest to the fastest
    round."""
    groups = list(dict.fromkeys((r["env"], r["num_envs"]) for r in result["rows"]))
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    made = figure(5.4 * columns, 2.4 * rows + 0.5)
    grid = list(made.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[len(groups) :]:
        axes.axis("off")
    for (env, num_envs), axes in zip(groups, grid, strict=False):
        speeds(axes, fastest([r for r in result["rows"] if (r["env"], r["num_envs"]) == (env, num_envs)]))
        axes.set_title(f"{env}, {num_envs:,} environments", fontsize="medium")
        axes.set_xlabel("environment steps per second, logarithmic", fontsize="small")
    made.suptitle(f"Fastest mode of each, random actions; {origin(result)}", fontsize="medium")
    made.savefig(path, dpi=130)


def fastest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best row of each contestant, fastest first."""
    best: dict[str, dict[str, Any]] = {}
    for r in sorted(rows, key=lambda r: -r["median"]):
        best.setdefault(f"{r['who']} {r['runs']}", r)
    return list(best.values())


def speeds(axes: Any, rows: list[dict[str, Any]]) -> None:
    """A point for each, as a bar on a logarithmic axis would have a length that means nothing."""
    from matplotlib.ticker import EngFormatter, NullFormatter

    few = [f", {r['ran']:,} envs" if r["ran"] != r["num_envs"] else "" for r in rows]
    names = [f"{r['who']} {r['runs']}\n{r['mode']}{less}" for r, less in zip(rows, few, strict=True)]
    for i, r in enumerate(rows):
        colour = OURS if r["who"] == "gpusim" else THEIRS
        spread = [[r["median"] - r["low"]], [r["high"] - r["median"]]]
        axes.errorbar(r["median"], i, xerr=spread, fmt="o", color=colour, capsize=2, elinewidth=1)
        axes.annotate(f"  {r['median'] / 1e6:.3g} M", (r["high"], i), va="center", fontsize="x-small")
    axes.set_yticks(range(len(rows)), names)
    axes.set(xscale="log", ylim=(len(rows) - 0.5, -0.5))
    axes.tick_params(axis="y", labelsize="x-small")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(r["low"] for r in rows) / 2, 6 * max(r["high"] for r in rows))
    axes.grid(alpha=0.3, axis="x")


def time_to_solve(result: dict[str, Any], path: Path) -> None:
    """A panel for each algorithm: a dot for each seed, open where the run ended unsolved."""
    from matplotlib.ticker import FuncFormatter

    algorithms = list(dict.fromkeys(r["algorithm"] for r in result["rows"]))
    made = figure(7.0, 1.9 * len(algorithms) + 0.6)
    for algorithm, axes in zip(algorithms, made.subplots(len(algorithms), squeeze=False).flat, strict=True):
        rows = [r for r in result["rows"] if r["algorithm"] == algorithm]
        names = sorted({r["who"] for r in rows}, key=lambda w: statistics.median(seconds(rows, w)))
        for i, who in enumerate(names):
            colour = OURS if who == "gpusim" else THEIRS
            for r in (r for r in rows if r["who"] == who):
                face = colour if r["solved"] else "none"
                axes.plot(r["seconds"], i, "o", color=colour, markerfacecolor=face, markersize=6)
            middle = statistics.median(seconds(rows, who))
            bound = "" if all(r["solved"] for r in rows if r["who"] == who) else "≥ "
            axes.annotate(
                f"{bound}{middle:.1f} s",
                (middle, i),
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axes.set_yticks(range(len(names)), names)
        axes.set(xscale="log", title=algorithm, ylim=(len(names) - 0.4, -0.8))
        axes.margins(x=0.08)
        for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            which(FuncFormatter(lambda value, _: f"{value:g}" if str(value)[0] in "1235" else ""))
        axes.grid(alpha=0.3, axis="x", which="both")
    axes.set_xlabel(
        "from the start of the process until CartPole is solved [s] (open: ended unsolved)", fontsize="small"
    )
    made.suptitle(origin(result), fontsize="small")
    made.savefig(path, dpi=130)


def seconds(rows: list[dict[str, Any]], who: str) -> list[float]:
    return [r["seconds"] for r in rows if r["who"] == who]
