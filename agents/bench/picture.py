"""Speed, cost and memory against the number of environments, as a picture."""

from pathlib import Path
from typing import Any

from gpusim.agents.bench.provenance import hardware

LINES = {"eager": "o-", "native": "D-", "compile": "s-", "triton": "^-"}
PANELS = (
    ("environment steps per second", lambda row: (row["median"], row["low"], row["high"])),
    ("time of one environment's step [ns]", lambda row: tuple(1e9 / row[k] for k in ("median", "high", "low"))),
    ("peak memory of one environment [B]", lambda row: peak(row)),
)


def scaling(result: dict[str, Any], path: Path) -> None:
    """A row of panels for each environment, a line for each backend and mode; whiskers are the slowest and the fastest
    round."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    envs = list(dict.fromkeys(r["env"] for r in result["rows"]))
    panels = [p for p in PANELS if any(p[1](r) for r in result["rows"] if "median" in r)]
    figure = Figure(figsize=(4.6 * len(panels), 3.4 * len(envs) + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(envs), len(panels), squeeze=False)
    for env, row_of_axes in zip(envs, grid, strict=True):
        for (title, of), axes in zip(panels, row_of_axes, strict=True):
            panel(axes, [r for r in result["rows"] if r["env"] == env and "median" in r], of)
            axes.set(xlabel="num_envs", ylabel=title, title=env)
    top = result["ceiling"]
    figure.suptitle(
        f"{hardware(result, result['device'])}, torch {result['versions']['torch']}, commit {result['commit']}, "
        f"{result['date'][:10]}\ncopy {top['bytes_per_second'] / 1e9:,.1f} GB/s, "
        f"float32 products {top['operations_per_second'] / 1e9:,.0f} GFLOP/s",
        fontsize="small",
    )
    figure.savefig(path, dpi=150)


def panel(axes: Any, rows: list[dict[str, Any]], of: Any) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    modes = list(dict.fromkeys(r["mode"] for r in rows))
    backends = list(dict.fromkeys(r["backend"] for r in rows))
    for i, mode in enumerate(modes):
        for j, backend in enumerate(backends):
            shown = [(r["num_envs"], of(r)) for r in rows if (r["mode"], r["backend"]) == (mode, backend) and of(r)]
            if not shown:
                continue
            x, y = [n for n, _ in shown], [v[0] for _, v in shown]
            spread = [[v[0] - v[1] for _, v in shown], [v[2] - v[0] for _, v in shown]]
            axes.errorbar(
                x, y, spread, fmt=LINES.get(backend, "o-"), color=f"C{i * len(backends) + j}", capsize=2, markersize=4,
                label=f"{backend}, {mode}",
            )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    sizes = sorted({r["num_envs"] for r in rows})
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes], rotation=30, fontsize="small")
    axes.xaxis.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="x-small", frameon=False)


def peak(row: dict[str, Any]) -> tuple[float, float, float] | None:
    found = (row.get("memory") or {}).get("peak_bytes_per_env")
    return (found, found, found) if found else None
