"""`gpusim watch`: the machine and its runs, live in a terminal."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gpusim.agents.app import arguments
from gpusim.errors import InputError

if TYPE_CHECKING:
    from gpusim.agents.app.watching import Watching


def main(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Watch:
        """Shows GPUs, host and what runs, and tells what is wrong, until Ctrl-C or the end of RUN."""

        once: bool = False
        """Show it once, as is done where the output is no terminal."""
        every: float = 1.0
        """Seconds between two looks."""
        folder: str = "runs"
        """Where runs are looked for if none is named."""

    named = args[0] if args and not args[0].startswith("-") else None
    asked = arguments.options(Watch(), args[bool(named) :], "gpusim watch")
    if not 0.1 <= asked.every <= 3600:
        raise InputError(f"every must lie between 0.1 and 3600 seconds, not {asked.every:g}.")
    from gpusim.agents.app.watching import Watching

    watching = Watching(None if named is None else Path(named), Path(asked.folder))
    once = asked.once or not sys.stdout.isatty()
    try:
        _once(watching) if once else _live(watching, asked.every)
    except KeyboardInterrupt:
        return 0
    finally:
        watching.nvml.close()
    return 0


def _once(watching: "Watching") -> None:
    from rich.console import Console

    from gpusim.agents.app.screen import screen

    time.sleep(0.2)  # the processor's work is that since the first look
    console = Console()
    console.print(screen(watching.look(), console.width))


def _live(watching: "Watching", every: float) -> None:
    from rich.console import Console
    from rich.live import Live

    from gpusim.agents.app.screen import screen

    console = Console()
    view = watching.look()
    with Live(screen(view, console.width), console=console, auto_refresh=False, transient=False) as live:
        while not watching.named or any(watched.status.running for watched in view.runs):
            time.sleep(every)
            view = watching.look()
            live.update(screen(view, console.width), refresh=True)
