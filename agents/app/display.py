"""What a person sees of a run: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Any

from gpusim import source
from gpusim.agents.train.config import RunConfig
from gpusim.agents.train.console import mute, say
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.loop import Observer

QUIET, QUIETEST = 1.0, 60.0  # seconds between two plain lines, which become fewer as a run goes on
NOT_LOSSES = {
    "iteration", "steps", "seconds", "time", "return", "length", "episodes", "learning_rate", "steps_per_second",
    "greatest_weight",
}  # fmt: skip


class Display(Observer):
    """Made before the run, used as a context around it; `total` is its number of environment steps."""

    def __init__(self, config: RunConfig, first_step: int = 0):
        self.total = config.iterations * config.steps_per_iteration
        self.title = source.name(config.env)
        self.first_step, self.start, self.last_line = first_step, time.perf_counter(), -QUIET
        self.live: Any = None

    def __enter__(self) -> "Display":
        if sys.stdout.isatty():
            from rich.live import Live

            self.live = Live(refresh_per_second=8)
            self._shown(self.live.start)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.live:
            self._shown(self.live.stop)

    def _shown(self, show: Callable[[], Any]) -> None:
        """A terminal that is gone ends the table, not the run."""
        try:
            show()
        except OSError:
            self.live = None
            mute(sys.stdout)

    def begun(self, learner: Learner) -> None:
        """Neither speed nor time left counts what was compiled."""
        self.first_step, self.start = learner.steps, time.perf_counter()

    def reading(self, learner: Learner, metrics: dict[str, float]) -> None:
        spent = time.perf_counter() - self.start
        steps = int(metrics["steps"])
        speed = (steps - self.first_step) / max(spent, 1e-9) if steps > self.first_step else None
        if self.live:
            panel = self._panel(steps, speed, metrics)
            self._shown(lambda: self.live.update(panel))
        elif (
            spent - self.last_line >= min(QUIETEST, max(QUIET, spent / 60))
            or learner.iteration == learner.config.iterations
        ):
            self.last_line = spent
            say(line(steps, self.total, speed, metrics))

    def _panel(self, steps: int, speed: float | None, metrics: dict[str, float]) -> Any:
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table.grid(padding=(0, 3), expand=False)
        losses = [(k, f"{v:.4g}") for k, v in metrics.items() if k not in NOT_LOSSES]
        facts = [
            ("steps", f"{steps:,} of {self.total:,}"),
            ("steps/s", f"{speed:,.0f}" if speed else "–"),
            ("time left", clock((self.total - steps) / speed) if speed else "–"),
            ("return", f"{metrics['return']:.1f}"),
            ("length", f"{metrics['length']:.1f}"),
            ("episodes", f"{metrics['episodes']:,.0f}"),
        ]
        for i in range(max(len(facts), len(losses))):
            left_cells = (f"[dim]{facts[i][0]}", f"[bold]{facts[i][1]}") if i < len(facts) else ("", "")
            right_cells = (f"[dim]{losses[i][0]}", losses[i][1]) if i < len(losses) else ("", "")
            table.add_row(*left_cells, *right_cells)
        body = Table.grid()
        body.add_row(ProgressBar(total=self.total, completed=steps, width=52))
        body.add_row(table)
        return Panel(body, title=f"training on {self.title}", expand=False)


def line(steps: int, total: int, speed: float | None, metrics: dict[str, float]) -> str:
    """`speed` in environment steps a second; None where there is none yet."""
    losses = "  ".join(f"{k} {v:.3g}" for k, v in metrics.items() if k not in NOT_LOSSES)
    time = f"  {speed:,.0f} steps/s  {clock((total - steps) / speed)} left" if speed else ""
    return f"{steps:>11,} / {total:,} steps  return {metrics['return']:8.2f}  {losses}{time}"


def clock(seconds: float) -> str:
    """`1:02:03`, `2:03`, or `3 s`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
