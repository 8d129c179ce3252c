"""A backtest drawn: worth beside the others', weights as an area (the rest is cash), and drawdowns."""

from pathlib import Path

import numpy as np

from gpusim.envs.trading.backtest import Course
from gpusim.envs.trading.data import Prices
from gpusim.errors import InputError

STRETCHES = 200  # of time, each a step of the area of weights


def draw(courses: dict[str, Course], prices: Prices, path: str | Path, title: str = "") -> None:
    """Into a file, a .png or .svg.

    Raises:
        InputError: matplotlib is missing, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('a picture is drawn by matplotlib, which is missing: pip install "gpusim[train]"') from None
    figure = Figure((9, 9), layout="constrained")
    worth, weights, lost = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 1.5))
    policy = next(iter(courses))
    for k, (name, course) in enumerate(courses.items()):
        at = prices.labels[: len(course.worth)]
        style: dict = (
            {"color": "black", "lw": 1.6, "zorder": 3} if name == policy else {"color": f"C{k - 1}", "lw": 1.1}
        )
        worth.plot(at, course.worth, label=f"{name} ×{course.worth[-1]:.2f}", **style)
        if name != "cash":
            lost.plot(at, -100 * course.drawdown, **style)
    worth.set(ylabel="worth", yscale="log", title=title)
    worth.legend(loc="best", frameon=False)
    _area(weights, courses[policy], prices)
    lost.set(ylabel="drawdown [%]")
    for axes in (worth, weights, lost):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be written: {error}.") from None


def _area(axes, course: Course, prices: Prices) -> None:
    """The mean weights of stretches of bars, few enough to be told apart."""
    count = len(course.weights)
    each = -(-count // STRETCHES)
    begins = np.arange(0, count, each)
    weights = np.add.reduceat(course.weights, begins) / np.diff(np.append(begins, count))[:, None]
    at, colors = prices.labels[begins], [f"C{k}" for k in range(weights.shape[1])]
    axes.stackplot(at, np.maximum(weights, 0.0).T, labels=prices.names, colors=colors, step="post", lw=0)
    if (weights < 0.0).any():
        axes.stackplot(at, np.minimum(weights, 0.0).T, colors=colors, step="post", lw=0)
    axes.axhline(1.0, color="black", lw=0.6, ls=":")
    axes.set(ylabel=f"weights, mean of {each} bars" if each > 1 else "weights")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, ncols=8, fontsize="small")
