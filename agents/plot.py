"""The learning curve of a run as a picture."""

from pathlib import Path

from gpusim.registry import spec


def curve(readings: list[dict[str, float]], env: str, path: Path) -> None:
    """Return against environment steps, with the line at which the task counts as solved, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = [m for m in readings if m["return"] == m["return"]]
    axes.plot([m["steps"] for m in shown], [m["return"] for m in shown], label="return, mean of the last episodes")
    threshold = spec(env).reward_threshold
    if threshold is not None:
        axes.axhline(threshold, color="grey", linestyle="--", linewidth=1, label=f"solved at {threshold:g}")
    axes.set(xlabel="environment steps", ylabel="return", title=env)
    axes.xaxis.set_major_formatter(EngFormatter())  # 500 k, 1.5 M
    axes.grid(alpha=0.3)
    axes.legend(loc="best", frameon=False)
    figure.savefig(path, dpi=150)
