"""What `gpusim watch` shows: what is wrong, a panel for each GPU, one for the host, and one for each run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gpusim.agents.app.display import clock
from gpusim.agents.app.status import Status
from gpusim.agents.folder.drawing import LARGEST
from gpusim.agents.train.devices import GIB, Gpu, Host

BARS = "▁▂▃▄▅▆▇█"
NARROW = 100  # columns from which on there is room for longer bars


@dataclass
class Watched:
    """A run on the screen."""

    status: Status
    returns: np.ndarray  # [P] so far
    machine: dict[str, float] = field(default_factory=dict)  # its newest figures of the machine
    host_memory: int | None = None  # bytes that its process takes


@dataclass
class View:
    """All that is shown."""

    gpus: Sequence[Gpu]
    host: Host
    runs: Sequence[Watched]
    wrong: Sequence[str]
    processor: str = ""
    cores: int = 1
    note: str = ""  # a line about what there is not


def screen(view: View, width: int) -> RenderableType:
    """For a terminal of so many columns."""
    by_process = {w.status.by.pid: w for w in view.runs if w.status.running and w.status.by and w.status.by.here}
    parts: list[RenderableType] = [_wrong(view.wrong, width)] if view.wrong else []  # first, as a terminal may be short
    parts += [_gpu(gpu, by_process, width) for gpu in view.gpus]
    parts.append(_host(view, width))
    parts += [_run(watched, width) for watched in view.runs]
    if view.note:
        parts.append(Text(view.note, "dim"))
    return Group(*parts)


def _wrong(sentences: Iterable[str], width: int) -> Panel:
    table = Table.grid(padding=(0, 1))
    for sentence in sentences:
        table.add_row(Text("!", "bold red"), Text(sentence))
    return Panel(table, title=Text("what is wrong", "bold red"), title_align="left", width=width, border_style="red")


def _gpu(gpu: Gpu, runs: dict[int, Watched], width: int) -> Panel:
    total = gpu.memory_total or 0
    rows = [
        ("at work", _bar(gpu.utilization, 100, width), _number(gpu.utilization, "%")),
        ("memory", _bar(gpu.memory, total, width), f"{_gib(gpu.memory)} of {_gib(total or None)}"),
        ("of it", None, _whose(gpu, runs)),
        ("state", None, _state(gpu)),
        ("slowed", None, _slowed(gpu)),
    ]
    return _panel(f"GPU {gpu.index}", gpu.name or "", rows, width)


def _state(gpu: Gpu) -> str:
    """Temperature, power and clock."""
    facts = [
        _number(gpu.temperature, "°C"),
        _of(gpu.power, gpu.power_limit, "W"),
        _of(gpu.clock, gpu.clock_most, "MHz"),
    ]
    return "   ".join(fact for fact in facts if fact)


def _slowed(gpu: Gpu) -> Text:
    """What holds its clock back."""
    if gpu.slowed is None:
        return Text("")
    return Text(", ".join(gpu.reasons) or "nothing", "yellow" if gpu.reasons else "dim")


def _whose(gpu: Gpu, runs: dict[int, Watched]) -> Text:
    """The memory of each run on it, and of other processes."""
    text, others = Text(), 0
    for number, size in gpu.processes:
        if watched := runs.get(number):
            text.append(f"{watched.status.path.name} ", "bold").append(f"{_gib(size)}   ")
        else:
            others += size or 0
    return text.append(f"other processes {_gib(others)}" if others else "", "dim")


def _host(view: View, width: int) -> Panel:
    host = view.host
    rows = [
        ("at work", _bar(host.cpu, 100, width), f"{_number(host.cpu, '%')} of {view.cores} cores"),
        ("memory", _bar(host.memory, host.memory_total, width), f"{_gib(host.memory)} of {_gib(host.memory_total)}"),
    ]
    if host.cpu is None:
        rows = [("", None, 'psutil tells what the host does: pip install "gpusim[train]"')]
    return _panel("host", view.processor, rows, width)


def _run(watched: Watched, width: int) -> Panel:
    s, machine = watched.status, watched.machine
    done = _bar(s.steps, s.total, width)
    left = "" if math.isnan(s.left) else f", {clock(s.left)} left"
    memory = [f"{_gib(watched.host_memory)} of the host" if watched.host_memory else ""]
    if reserved := machine.get("torch_reserved_gib"):
        memory.append(f"{reserved:.1f} GiB of {s.device.partition(',')[0]}")
    rows: list[tuple[str, Any, Any]] = [
        ("steps", done, f"{s.steps:,} of {s.total:,}"),
        ("speed", None, "–" if math.isnan(s.speed) else f"{s.speed:,.0f} steps/s{left}"),
        ("return", None, Text.assemble(_return(s.mean_return), "  ", (sparkline(watched.returns, width // 3), "cyan"))),
    ]
    if any(memory):
        rows.append(("memory", None, ", ".join(filter(None, memory))))
    if not s.running:
        rows.append((s.state, None, s.ended(told=True)))
    return _panel(s.title, str(s.path), rows, width, "green" if s.running else "default")


def _panel(title: str, about: str, rows: Iterable[tuple[str, Any, Any]], width: int, border: str = "default") -> Panel:
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=7, style="dim", no_wrap=True)
    table.add_column()
    for name, bar, value in rows:
        if value := value if isinstance(value, Text) else Text(value):
            table.add_row(name, Text.assemble(bar, "  ", value) if bar else value)
    heading = Text.assemble((title, "bold"), f"  {about}" if about else "")
    heading.truncate(width - 8, overflow="ellipsis")
    return Panel(table, title=heading, title_align="left", width=width, border_style=border)


def _bar(value: float | None, total: float | None, width: int) -> Text | None:
    """A share as a bar: green, yellow from 0.8 on, red from 0.95."""
    if value is None or not total:
        return None
    long = 24 if width < NARROW else 48
    share = min(1.0, max(0.0, value / total))
    full = round(share * long)
    return Text.assemble(("█" * full, "cyan"), ("░" * (long - full), "dim"))


def sparkline(values: np.ndarray, width: int) -> str:
    """So many characters, or as many as there are values, each as high as the mean of its part; of numbers alone."""
    values = values[np.abs(values) <= LARGEST]
    if len(values) < 2:
        return ""
    means = np.array([part.mean() for part in np.array_split(values, min(width, len(values)))])
    low, high = means.min(), means.max()
    heights = (means - low) / (high - low) if high > low else np.zeros(len(means))
    return "".join(BARS[round(height * (len(BARS) - 1))] for height in heights)


def _return(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.0f} {unit}"


def _of(value: float | None, most: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.0f}{'' if most is None else f' of {most:,.0f}'} {unit}"


def _gib(size: float | None) -> str:
    return "?" if size is None else f"{size / GIB:.1f} GiB"
