"""Pictures of a population: its returns with their spread, returns against settings, and who descends from whom."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpusim.agents.folder.drawing import AXES, Line, draw, panels, solved_at, titled
from gpusim.agents.population.record import OWN, Record
from gpusim.agents.population.search import Descent
from gpusim.agents.train.vary import Choice, Span

SPANS = ((5, 95, 0.2), (25, 75, 0.35))  # percentiles between which bands lie, and how dark these are


def returns(record: Record, env: str, threshold: float | None) -> Any:
    """The median of all agents' returns, and how they spread, against steps."""
    steps, values = record.series("return")
    some = np.isfinite(values).any(1)
    steps, values = steps[some], values[some]
    figure = panels(1)
    axes, middle = figure.axes[0], np.nanmedian(values, 1)
    lines = [Line(f"median of {record.size:,} agents", steps, middle)]
    draw(axes, lines, solved_at(threshold))
    for low, high, alpha in SPANS:
        edges = np.nanpercentile(values, (low, high), 1)
        axes.fill_between(steps, *edges, alpha=alpha, linewidth=0, color="C0", label=f"{high - low} % of them")
    mean, error = np.nanmean(values, 1), np.nanstd(values, 1) / np.sqrt(np.isfinite(values).sum(1))
    axes.errorbar(
        steps, mean, 1.96 * error, color="C1", linewidth=1, elinewidth=0.8, label="mean, with its 95 % interval"
    )
    axes.set(xlabel=f"{AXES['steps']} of each", ylabel="return, mean of the last episodes", title=titled(env))
    axes.legend(loc="best", frameon=False)
    return figure


def settings(record: Record, members: Sequence[Any], varied: dict[str, Span | Choice], env: str) -> Any:
    """Each agent's last return against each setting that differs."""
    names = [name for name in varied if name != "seed"]
    last = _last(record)
    figure = panels(len(names), size=(4.8, 3.6))
    for axes, name in zip(figure.axes, names, strict=True):
        axes.scatter([getattr(member, name) for member in members], last, s=8, alpha=0.5, linewidths=0)
        what = varied[name]
        axes.set(xlabel=name, xscale="log" if isinstance(what, Span) and what.log else "linear")
        axes.grid(alpha=0.3)
    figure.axes[0].set(ylabel="last return")
    figure.suptitle(titled(env))
    return figure


def _last(record: Record) -> np.ndarray:
    """`[P]`, of each agent its last finite return."""
    _, values = record.series("return")
    last = np.full(record.size, np.nan)
    for row in values:
        last = np.where(np.isfinite(row), row, last)
    return last


def founders(descents: Sequence[Descent], size: int) -> list[tuple[int, np.ndarray]]:
    """After how many steps, from 0 on, of whom each of `size` agents descends, `[size]`."""
    whose, found = np.arange(size), [(0, np.arange(size))]
    for steps in sorted({descent.steps for descent in descents}):
        before, whose = whose, whose.copy()
        for descent in (d for d in descents if d.steps == steps):
            whose[descent.child] = before[descent.parent]
        found.append((steps, whose))
    return found


def genealogy(record: Record, descents: Sequence[Descent], name: str, log: bool, env: str) -> Any:
    """Agents as lines, coloured by whom they descend from, with an arc from parent to child; and a setting as it changed."""
    end, last = record.readings[-1]["steps"], _last(record)
    lives = founders(descents, record.size)
    order = np.lexsort((-np.nan_to_num(last, nan=-np.inf), lives[-1][1]))
    place = np.empty(record.size, int)
    place[order] = np.arange(record.size)
    figure = panels(2, across=2, size=(7.0, 6.0))
    left, right = figure.axes
    colours = _colours(lives[-1][1], record.size)
    for (start, whose), stop in zip(lives, [*(s for s, _ in lives[1:]), end], strict=True):
        left.hlines(place, start, stop, color=colours[whose], linewidth=max(0.6, min(3.0, 240 / record.size)))
    for descent in descents:
        rows = place[descent.parent], place[descent.child]
        left.plot([descent.steps] * 2, rows, color="black", linewidth=0.3, alpha=0.25)
    alive = len(set(lives[-1][1].tolist()))
    left.set(ylabel="agents", title=f"{titled(env)}: {alive} of {record.size} lines are left")
    _values(right, record, name, log, last)
    for axes in (left, right):
        draw(axes, [])
        axes.set(xlabel=f"{AXES['steps']} of each")
    return figure


def _colours(whose: np.ndarray, size: int) -> np.ndarray:
    """`[size, 4]`: those that have descendants at the end in colours, the others grey."""
    from matplotlib import colormaps

    colours = np.tile((0.8, 0.8, 0.8, 1.0), (size, 1))
    alive = sorted(set(whose.tolist()), key=lambda founder: -(whose == founder).sum())
    for k, founder in enumerate(alive):
        colours[founder] = colormaps["tab20"](k % 20)
    return colours


def _values(axes: Any, record: Record, name: str, log: bool, last: np.ndarray) -> None:
    """Of each agent the setting in time, coloured by its last return."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    steps, values = record.series(OWN.format(name))
    scale = ScalarMappable(Normalize(np.nanmin(last), np.nanmax(last)), colormaps["viridis"])
    for number in np.argsort(np.nan_to_num(last, nan=-np.inf)):
        axes.plot(steps, values[:, number], color=scale.to_rgba(last[number]), linewidth=0.7, drawstyle="steps-post")
    axes.set(ylabel=name, yscale="log" if log else "linear", title=f"{name}, coloured by the last return")
    axes.figure.colorbar(scale, ax=axes)
