"""A backtest drawn: worth beside the others', weights as an area, and what was lost since the highest worth."""

from pathlib import Path

import numpy as np

from gpusim.envs.trading.backtest import Course
from gpusim.envs.trading.data import Prices
from gpusim.errors import InputError


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
    for name, course in courses.items():
        at = prices.labels[: len(course.worth)]
        style = {"color": "C0", "lw": 1.8, "zorder": 3} if name == policy else {"lw": 1.1}
        worth.plot(at, course.worth, label=f"{name} ×{course.worth[-1]:.2f}", **style)
        if name != "cash":
            lost.plot(at, -100 * course.drawdown, **style)
    worth.set(ylabel="worth", yscale="log", title=title)
    worth.legend(loc="upper left", frameon=False)
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
    at = prices.labels[: len(course.weights)]
    for sign, named in ((np.maximum, True), (np.minimum, False)):
        part = sign(course.weights, 0.0)
        if named or part.any():
            colors = [f"C{k + 1}" for k in range(part.shape[1])]
            axes.stackplot(at, part.T, labels=prices.names if named else [], colors=colors, step="post", lw=0)
    axes.axhline(1.0, color="black", lw=0.6, ls=":")
    axes.set(ylabel="weights (the rest is cash)")
    axes.legend(loc="upper left", frameon=False, ncols=4, fontsize="small")
