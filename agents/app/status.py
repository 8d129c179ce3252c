"""How a run stands, told by its folder: whether it runs, how far it came, how fast, and why it ended."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpusim import source
from gpusim.agents.app.display import clock
from gpusim.agents.app.driving import resume_command
from gpusim.agents.folder import sessions
from gpusim.agents.folder.files import read_json
from gpusim.agents.folder.lock import Holder
from gpusim.agents.train.run import LOG, STOPPED, RunFolder
from gpusim.errors import InputError

TOLD = "gpusim: "  # how a warning begins in a log
LOG_END = 2**14  # bytes of it that are read


@dataclass(frozen=True)
class Status:
    """Of one run."""

    path: Path
    title: str  # algorithm and environment
    state: str  # "running", "complete", "stopped", "killed", "not finite" or "not begun"
    by: Holder | None  # who runs it, or was killed
    steps: int
    total: int
    mean_return: float  # NaN before an episode ended
    speed: float  # environment steps a second
    device: str  # as far as it is known
    written: float  # when the newest reading came, or the folder, in seconds since 1970
    kept: int  # the step of the newest checkpoint
    why: str | None  # the sentence that a run ended by
    way: str  # the command that goes on with it

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def left(self) -> float:
        """Seconds to the end, NaN where it does not run, or its speed is not known."""
        return (self.total - self.steps) / self.speed if self.running and self.speed > 0 else math.nan

    def ended(self, told: bool = False) -> str:
        """A sentence about a run that does not run; `told`: the number that was none is told of elsewhere."""
        way = f"`{self.way}`"
        at = f"step {self.steps:,} of {self.total:,}, {clock(max(0.0, time.time() - self.written))} ago"
        match self.state:
            case "complete":
                return f"it is complete, since {at}: `{self.way} --total-steps ...` makes more of it."
            case "killed":
                return f"{self.by} was killed at {at}: {way} goes on from step {self.kept:,}."
            case "not finite":
                return f"it ended at {at}, by a number that was none{'.' if told else f': {self.why}'}"
            case "not begun":
                return f"it has not begun{'' if self.why is None else f' ({self.why})'}: {way} begins it."
        return f"it ended at {at}{'' if self.why is None else f' ({self.why})'}: {way} goes on from step {self.kept:,}."


def status(path: Path, folder: RunFolder | None = None) -> Status:
    """How the run in that folder stands.

    Raises:
        InputError: it is no run's, or damaged.
    """
    folder = folder or RunFolder.open(path)
    held, last, known = folder.held(), folder.readings.last(), sessions.read(path)
    session = known[-1] if known else {}
    result = folder.result() or {}
    reading = last or {}
    steps = int(reading.get("steps", 0))
    total = folder.config.iterations * folder.config.steps_per_iteration
    stopped = None if held.now else _stopped(path)
    whole = last is not None and result.get("steps") == steps
    if held.now:
        state = "running"
    elif stopped is not None:
        state = "not finite"
    elif whole and (steps >= total or folder.config.target_return is not None):
        state = "complete"
    elif held.by is not None:
        state = "killed"
    else:
        state = "stopped" if last else "not begun"
    return Status(
        path,
        f"{folder.algorithm} {source.name(folder.config.env)}",
        state,
        held.by,
        steps,
        total,
        float(reading.get("return", math.nan)),
        float(reading.get("steps_per_second", math.nan)),
        _device(session, folder.config.device),
        float(reading.get("time", 0)) or (path / "config.json").stat().st_mtime,
        folder.newest_iteration() * folder.config.steps_per_iteration,
        stopped or (None if held.now or whole else _last_words(path)),
        resume_command(folder),
    )


def _device(session: dict[str, Any], asked: str) -> str:
    name = session.get("gpu") or session.get("processor")
    device = str(session.get("device") or asked)
    return f"{device}, {name}" if name else device


def _stopped(path: Path) -> str | None:
    try:
        return str(read_json(path / STOPPED, "what stopped a run").get("sentence"))
    except (FileNotFoundError, InputError):
        return None


def _last_words(path: Path) -> str | None:
    """What a run in the background said of its end, if that is the last line of its log."""
    lines = log_end(path)
    return lines[-1].removeprefix(TOLD).rstrip(".") if lines and lines[-1].startswith(TOLD) else None


def log_end(path: Path) -> list[str]:
    """The last lines of the log of the run in that folder; none where it has none."""
    file = path / LOG
    try:
        if not file.is_file() or file.is_symlink():
            return []
        with open(file, "rb") as log:
            log.seek(max(0, file.stat().st_size - LOG_END))
            return log.read().decode(errors="replace").splitlines()
    except OSError:
        return []
