"""`gpusim runs`: what runs, and what has ended."""

import dataclasses
import math
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpusim.agents.app import arguments
from gpusim.agents.train import console
from gpusim.errors import InputError

if TYPE_CHECKING:
    from gpusim.agents.app.status import Status

COLOURS = {"running": "bold green", "complete": "green", "killed": "red", "not finite": "red", "not begun": "dim"}
WIDE = 200  # columns where no terminal says how many there are


def main(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Runs:
        """Lists the runs in a folder, those that run first: steps, return, speed, time left, device."""

    named = args[0] if args and not args[0].startswith("-") else None
    arguments.options(Runs(), args[bool(named) :], "gpusim runs")
    found, notes = listed(Path(named or "runs"), named is not None)
    if found:
        _print(found)
    for note in notes:
        console.warn(note)
    return 0


def listed(place: Path, asked: bool) -> tuple[list["Status"], list[str]]:
    """The runs in that folder, and what is to be said of others.

    Raises:
        InputError: there are none.
    """
    from gpusim.agents.app.plot import folders
    from gpusim.agents.app.status import status

    if not asked and not place.is_dir():
        raise InputError("there is no folder runs here: `gpusim runs FOLDER` lists the runs of another.")
    found, notes = [], []
    for path in folders([place]):
        try:
            found.append(status(path))
        except InputError as error:
            notes.append(f"left out: {error}")
    return sorted(found, key=lambda one: (not one.running, -one.written)), notes


def _print(found: list["Status"]) -> None:
    from rich.console import Console

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    Console(width=width).print(table(found, width))


def table(found: list["Status"], width: int) -> Any:
    """A row for each; what is least missed is left out where there are few columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from gpusim.agents.app.display import clock

    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    rows.add_column("run", overflow="fold", ratio=1 if width < 100 else None)
    rows.add_column("state", no_wrap=True)
    for name in ("steps", "return", "steps/s"):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("left" if width < 100 else "time left", justify="right", no_wrap=True)
    if width >= 100:
        rows.add_column("ended", no_wrap=True)
        rows.add_column("device", overflow="fold")
    for one in found:
        ended = "" if one.running else f"{clock(max(0.0, time.time() - one.written))} ago"
        rows.add_row(
            Text(str(one.path)),
            Text(one.state, COLOURS.get(one.state, "")),
            f"{100 * one.steps / one.total:.0f} % of {short(one.total)}",
            "–" if math.isnan(one.mean_return) else f"{one.mean_return:.1f}",
            "–" if math.isnan(one.speed) else short(one.speed),
            "" if math.isnan(one.left) else clock(one.left),
            *((ended, Text(one.device)) if width >= 100 else ()),
        )
    return rows


def short(number: float) -> str:
    """1,234,567 as 1.23 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"
