"""Learning curves as pictures: of one run, and of several with the interval that their seeds leave."""

import dataclasses
import io
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpusim import source
from gpusim.errors import InputError

AXES = {"steps": "environment steps", "seconds": "time of training [s]", "iterations": "iterations"}
METRICS = {"return": "return, mean of the last episodes", "length": "steps of an episode, mean of the last"}
SAME = {  # settings that change where and how long a run goes, not what it learns
    "env", "seed", "run_dir", "device", "backend", "threads", "log_every", "checkpoint_every", "target_return",
}  # fmt: skip
DEPTH = 5  # folders below the one that is named in which runs are looked for
MOST = 500  # points of a line
RESAMPLES = 2000


class Line(NamedTuple):
    """A line of a panel, and the band about it."""

    label: str
    x: Any  # [P]
    y: Any  # [P]
    low: Any = None  # [P], or no band
    high: Any = None
    band: str | None = None  # the band's own entry in the legend


class Run(NamedTuple):
    """What is drawn of a run folder."""

    path: Path
    algorithm: str
    config: Any
    threshold: float | None  # mean return at which the task counts as solved
    x: np.ndarray  # [P] finite
    y: np.ndarray  # [P] finite
    complete: bool  # whether it has come to its end
    written: float  # when


def curve(readings: list[dict[str, float]], env: str, path: Path, threshold: float | None) -> None:
    """Return against environment steps, with the line at which the task counts as solved, as a PNG."""
    x, y = series(readings, "steps", "return")
    figure = panels(1)
    draw(figure.axes[0], [Line("return, mean of the last episodes", x, y)], solved_at(threshold))
    figure.axes[0].set(xlabel=AXES["steps"], ylabel="return", title=titled(env))
    figure.axes[0].legend(loc="best", frameon=False)
    save(figure, path)


def compare(paths: Sequence[str | Path], x: str = "steps", metric: str = "return") -> tuple[Any, list[str]]:
    """Learning curves of several runs, a panel for each environment.

    Runs that differ in their seed alone (and in what learning does not depend on) become one line: the interquartile mean,
    with its 95 % bootstrap interval. It begins where all of them have a value, and goes to the end of the longest; one that
    ended sooner keeps its last value.

    Args:
        paths: run folders, and folders that hold some.
        x: steps, seconds or iterations.
        metric: the name of a reading.

    Returns:
        figure: to be saved by `save`.
        notes: sentences about runs that were left out or cut short.

    Raises:
        InputError: a folder is no run and holds none, or no run has such a reading.
    """
    if x not in AXES:
        raise InputError(f"x must be {', '.join(AXES)}, not {x!r}.")
    runs, notes = load(paths, x, metric)
    runs = _one_of_each_seed(runs, notes)
    envs = sorted({source.name(run.config.env) for run in runs})
    groups = [grouped([run for run in runs if source.name(run.config.env) == env]) for env in envs]
    if x != "seconds":
        notes += [note for named in groups for group in named.values() for note in _short(group, x)]
    figure = panels(len(envs), size=(6.4, 3.6 + 0.2 * max(map(len, groups))))
    for axes, env, named in zip(figure.axes, envs, groups, strict=True):
        lines = [summed_up(label, group) for label, group in named.items()]
        thresholds = [run.threshold for group in named.values() for run in group if run.threshold is not None]
        draw(axes, lines, solved_at(next(iter(thresholds), None)) if metric == "return" else None)
        axes.set(xlabel=AXES[x], ylabel=METRICS.get(metric, metric), title=titled(env))
        _legend_below(axes)
    return figure, notes


def load(paths: Sequence[str | Path], x: str, metric: str) -> tuple[list[Run], list[str]]:
    """The runs that have such readings, and what is to be said of the others."""
    from gpusim.agents.run import RunFolder

    runs, notes, names = list[Run](), list[str](), set[str]()
    for path, named in folders(paths).items():
        try:
            folder = RunFolder.open(path)
        except InputError as error:
            if named:
                raise
            notes.append(f"left out: {error}")
            continue
        readings = folder.metrics()
        names |= {name for reading in readings for name in reading}
        xs, ys = series(readings, x, metric)
        if len(xs):
            written = (path / "metrics.jsonl").stat().st_mtime
            complete = (path / "result.json").exists()
            runs.append(Run(path, folder.algorithm, folder.config, folder.threshold, xs, ys, complete, written))
        else:
            lacks = "has no readings yet" if not readings else f"has no {metric} to draw"
            notes.append(f"{path} {lacks}; it is left out.")
    if not runs:
        known = names - {"steps", "iteration", "seconds", "time"}
        others = f"; there are {', '.join(sorted(known))}" if known - {metric} and metric not in known else ""
        raise InputError(
            f"no run has a finite {metric!r} to draw{others}." if names else "these runs have no readings yet."
        )
    return runs, notes


def folders(paths: Sequence[str | Path]) -> dict[Path, bool]:
    """Run folders, each once, and whether it was named itself rather than found in a folder."""
    found: dict[Path, bool] = {}
    for path in map(Path, paths):
        if not os.path.isdir(path):  # which of a name that is too long says no
            raise InputError(f"there is no folder {path}.")
        inside = [path] if (path / "config.json").exists() else sorted(_inside(path))
        if not inside:
            raise InputError(f"{path} is no run folder and holds none, {DEPTH} folders deep.")
        known = {p.resolve() for p in found}
        found |= {p: p == path for p in inside if p.resolve() not in known}
    return found


def _inside(path: Path) -> Iterator[Path]:
    """The run folders below, `DEPTH` levels deep; what is hidden, or gone before it is read, holds none."""
    for name, inner, files in os.walk(path):
        folder = Path(name)
        if "config.json" in files:
            yield folder
        deep = "config.json" in files or len(folder.relative_to(path).parts) >= DEPTH
        inner[:] = [] if deep else [other for other in inner if not other.startswith(".")]


def series(readings: list[dict[str, float]], x: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the metric is finite, `[P]` each: before the first episode has ended, a return is not."""
    key = "iteration" if x == "iterations" else x
    shown = [(r[key], r[metric]) for r in readings if key in r and math.isfinite(r.get(metric, math.nan))]
    xs, ys = np.array(shown, float).reshape(-1, 2).T
    return xs, ys


def _one_of_each_seed(runs: list[Run], notes: list[str]) -> list[Run]:
    """Of runs that repeat one another, which are no further evidence, one: complete rather than not, then the newest."""
    kept: dict[Any, Run] = {}
    for run in sorted(runs, key=lambda run: (run.complete, run.written)):
        key = (run.algorithm, run.config.env, run.config.seed, *setting(run).items())
        if other := kept.get(key):
            better = "complete" if run.complete > other.complete else "newer"
            notes.append(f"{other.path} is left out: {run.path} has the same settings and seed, and is {better}.")
        kept[key] = run
    return [run for run in runs if any(run is other for other in kept.values())]


def setting(run: Run) -> dict[str, Any]:
    """What its learning depends on, but for the seed."""
    return {name: value for name, value in dataclasses.asdict(run.config).items() if name not in SAME}


def grouped(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs of one environment by algorithm and settings; the label names those settings in which groups differ."""
    settings = [(run.algorithm, setting(run)) for run in runs]
    groups: dict[str, list[Run]] = {}
    for run, (algorithm, mine) in zip(runs, settings, strict=True):
        others = [other for name, other in settings if name == algorithm]
        differ = [name for name in mine if any(other[name] != mine[name] for other in others)]
        label = ", ".join([algorithm, *(f"{name} {mine[name]}" for name in differ)])
        groups.setdefault(label, []).append(run)
    return dict(sorted(groups.items()))


def _short(group: list[Run], x: str) -> list[str]:
    end = max(run.x[-1] for run in group)
    return [
        f"{run.path} ends at {run.x[-1]:,.0f} of {end:,.0f} {x}; from there its last value is kept."
        for run in group
        if run.x[-1] < 0.99 * end
    ]


def summed_up(label: str, group: list[Run]) -> Line:
    """One run as it is; several by their interquartile mean and its interval."""
    if len(group) == 1:
        return Line(f"{label}, seed {group[0].config.seed}", group[0].x, group[0].y)
    x, y = aligned([(run.x, run.y) for run in group])
    return Line(f"{label}, IQM of {len(group)} seeds, 95 % interval", x, iqm(y), *interval(y))


def aligned(curves: list[Any], points: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Curves `(x, y)` at the same places.

    Args:
        points: how many, evenly spaced; None takes the places that the curves have themselves, at most 500 of them.

    Returns:
        x: `[P]`, from where all have begun to where the last one ends.
        y: `[runs, P]`, linear in between; a curve that ends sooner keeps its last value.
    """
    first, last = max(x[0] for x, _ in curves), max(x[-1] for x, _ in curves)
    if points:
        grid = np.linspace(first, last, points)
    else:
        places = np.unique(np.concatenate([x for x, _ in curves]))
        places = places[places >= first]
        grid = places[np.linspace(0, len(places) - 1, min(MOST, len(places))).round().astype(int)]
    return grid, np.array([np.interp(grid, x, y) for x, y in curves])


def iqm(values: np.ndarray) -> Any:
    """Interquartile mean over the first axis: a quarter is cut off at either end (Agarwal et al., 2021)."""
    cut = len(values) // 4
    return np.sort(values, axis=0)[cut : len(values) - cut].mean(0)


def interval(values: np.ndarray) -> tuple[Any, Any]:
    """The 95 % percentile bootstrap interval of `iqm`: whole runs are drawn, with replacement, from the first axis."""
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile([iqm(values[rows]) for rows in drawn], [2.5, 97.5], axis=0)
    return low, high


def solved_at(threshold: float | None) -> tuple[float, str] | None:
    """A level to draw, and what it is called."""
    return None if threshold is None else (threshold, f"solved at {threshold:g}")


def titled(env: str) -> str:
    """An id as a title, in which a dollar begins no formula."""
    return source.name(env).replace("$", r"\$")


def panels(count: int, across: int = 3, size: tuple[float, float] = (6.4, 4.0)) -> Any:
    """A figure of `count` axes, at most `across` in a row, each of that size in inches."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('pictures are drawn by matplotlib, which is missing: pip install "gpusim[train]"') from None
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(size[0] * across, size[1] * down), layout="constrained")
    FigureCanvasAgg(figure)
    for i in range(count):
        figure.add_subplot(down, across, i + 1)
    return figure


def draw(axes: Any, lines: list[Line], level: tuple[float, str] | None = None) -> None:
    """Lines with their bands, and a level across; numbers on the x axis as 500 k, 1.5 M."""
    from matplotlib.ticker import EngFormatter

    for i, line in enumerate(lines):
        style = ("-", "--", ":", "-.")[i // 10 % 4]  # there are ten colours
        (drawn,) = axes.plot(line.x, line.y, style, label=line.label, marker="." if len(line.x) == 1 else None)
        if line.low is not None:
            axes.fill_between(
                line.x, line.low, line.high, alpha=0.25, linewidth=0, color=drawn.get_color(), label=line.band
            )
    if level:
        axes.axhline(level[0], color="grey", linestyle="--", linewidth=1, label=level[1])
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.grid(alpha=0.3)


def _legend_below(axes: Any) -> None:
    """Under the name of the x axis, which ends 36 points below the axes, so that it hides nothing."""
    from matplotlib.transforms import ScaledTranslation

    below = axes.transAxes + ScaledTranslation(0, -40 / 72, axes.figure.dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below, "borderaxespad": 0}
    axes.legend(**place, frameon=False, fontsize="small")


def save(figure: Any, path: str | Path, dpi: int = 150) -> None:
    """Writes the figure, in the format that the name asks for, as a whole or not at all.

    Raises:
        InputError: there is no such format, or the file cannot be written.
    """
    from gpusim.agents.run import write

    path, known = Path(path), figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in known:
        raise InputError(f"the picture {path} must end in .{', .'.join(sorted(known))}.")
    content = io.BytesIO()
    figure.savefig(content, dpi=dpi, format=path.suffix[1:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content.getvalue())
    except OSError as error:
        raise InputError(f"the picture {path} cannot be written: {error.strerror}.") from None
