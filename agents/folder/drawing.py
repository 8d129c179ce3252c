"""What pictures of learning curves are drawn with, and the curve of one run."""

import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpusim import source
from gpusim.agents.folder.files import write
from gpusim.errors import InputError

AXES = {"steps": "environment steps", "seconds": "time of training [s]", "iterations": "iterations"}
LARGEST = 1e300  # of the numbers that are drawn: matplotlib adds some of them up
METRICS = {"return": "return, mean of the last episodes", "length": "steps of an episode, mean of the last"}


class Line(NamedTuple):
    """A line of a panel, and the band about it."""

    label: str
    x: Any  # [P]
    y: Any  # [P]
    low: Any = None  # [P], or no band
    high: Any = None
    band: str | None = None  # the band's own entry in the legend


def curve(readings: list[dict[str, float]], env: str, path: Path, threshold: float | None) -> None:
    """Return against environment steps, with the line at which the task counts as solved, as a PNG."""
    x, y = series(readings, "steps", "return")
    figure = panels(1)
    draw(figure.axes[0], [Line("return, mean of the last episodes", x, y)], solved_at(threshold))
    figure.axes[0].set(xlabel=AXES["steps"], ylabel="return", title=titled(env))
    figure.axes[0].legend(loc="best", frameon=False)
    save(figure, path)


def series(readings: list[dict[str, float]], x: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Where both can be drawn, `[P]` each: before the first episode has ended, a return is no number."""
    key = "iteration" if x == "iterations" else x
    points = [(r.get(key, math.nan), r.get(metric, math.nan)) for r in readings]
    shown = [point for point in points if all(abs(value) <= LARGEST for value in point)]
    xs, ys = np.array(shown, float).reshape(-1, 2).T
    return xs, ys


def solved_at(threshold: float | None) -> tuple[float, str] | None:
    """A level to draw, and what it is called."""
    return None if threshold is None or abs(threshold) > LARGEST else (threshold, f"solved at {threshold:g}")


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


def save(figure: Any, path: str | Path, dpi: int = 150) -> None:
    """Writes the figure, in the format that the name asks for, as a whole or not at all.

    Raises:
        InputError: there is no such format, matplotlib fails, or the file cannot be written.
    """
    path, known = Path(path), figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in known:
        raise InputError(f"the picture {path} must end in .{', .'.join(sorted(known))}.")
    content = io.BytesIO()
    try:
        figure.savefig(content, dpi=dpi, format=path.suffix[1:])
    except Exception as error:
        why = f"{type(error).__name__}, {error}".rstrip(".")
        raise InputError(f"the picture {path} cannot be drawn, as matplotlib fails: {why}.") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content.getvalue())
    except OSError as error:
        raise InputError(f"the picture {path} cannot be written: {error.strerror}.") from None
