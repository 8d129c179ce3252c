"""Learning curves as pictures: of one run, and of several with the interval that their seeds leave."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpusim import source
from gpusim.agents.folder.drawing import AXES, METRICS, Line, draw, panels, series, solved_at, titled
from gpusim.agents.folder.drawing import curve as curve
from gpusim.agents.folder.drawing import save as save
from gpusim.agents.train.run import RunFolder
from gpusim.errors import InputError

SAME = {  # settings that change where and how long a run goes, not what it learns
    "env", "seed", "run_dir", "device", "backend", "threads", "log_every", "checkpoint_every", "target_return",
}  # fmt: skip
DEPTH = 5  # folders below the one that is named in which runs are looked for
MOST = 500  # points of a line
RESAMPLES = 2000


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
    by_env, notes = by_environment(paths, x, metric)
    figure = panels(len(by_env), size=(6.4, 3.6 + 0.2 * max(map(len, by_env.values()))))
    for axes, (env, named) in zip(figure.axes, by_env.items(), strict=True):
        panel(axes, env, named, x, metric)
    return figure, notes


def by_environment(
    paths: Sequence[str | Path], x: str, metric: str
) -> tuple[dict[str, dict[str, list[Run]]], list[str]]:
    """The runs that have such readings, grouped by environment, and in it by algorithm and settings, and notes on others.

    Raises:
        InputError: a folder is no run and holds none, or no run has such a reading.
    """
    if x not in AXES:
        raise InputError(f"x must be {', '.join(AXES)}, not {x!r}.")
    runs, notes = load(paths, x, metric)
    runs = _one_of_each_seed(runs, notes)
    envs = sorted({source.name(run.config.env) for run in runs})
    by_env = {env: grouped([run for run in runs if source.name(run.config.env) == env]) for env in envs}
    if x != "seconds":
        notes += [note for named in by_env.values() for group in named.values() for note in _short(group, x)]
    return by_env, notes


def panel(axes: Any, env: str, named: dict[str, list[Run]], x: str, metric: str) -> None:
    """The groups of one environment as lines, with the level at which it counts as solved where returns are drawn."""
    lines = [summed_up(label, group) for label, group in named.items()]
    thresholds = [run.threshold for group in named.values() for run in group if run.threshold is not None]
    draw(axes, lines, solved_at(next(iter(thresholds), None)) if metric == "return" else None)
    axes.set(xlabel=AXES[x], ylabel=METRICS.get(metric, metric), title=titled(env))
    _legend_below(axes)


def load(paths: Sequence[str | Path], x: str, metric: str) -> tuple[list[Run], list[str]]:
    """The runs that have such readings, and what is to be said of the others."""
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
        if not os.path.isdir(path):  # False, not an error, for a name that is too long
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


def _legend_below(axes: Any) -> None:
    """Under the name of the x axis, which ends 36 points below the axes, so that it hides nothing."""
    from matplotlib.transforms import ScaledTranslation

    below = axes.transAxes + ScaledTranslation(0, -40 / 72, axes.figure.dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below, "borderaxespad": 0}
    axes.legend(**place, frameon=False, fontsize="small")
