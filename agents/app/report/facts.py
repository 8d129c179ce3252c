"""What a report says of runs in words and numbers, of what lies in their folders."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpusim.agents.app.diagnosis import Run as Judged
from gpusim.agents.app.display import clock
from gpusim.agents.app.status import TOLD, Status, status
from gpusim.agents.app.watching import judged
from gpusim.agents.folder import sessions
from gpusim.agents.folder.files import read_lines
from gpusim.agents.train.monitor import NAMES
from gpusim.agents.train.run import LOG, RunFolder
from gpusim.errors import InputError

WARNED = 20  # lines of a log that are repeated


@dataclasses.dataclass
class Facts:
    """Of one run."""

    folder: RunFolder
    status: Status
    readings: list[dict[str, float]]
    sessions: list[dict[str, Any]]
    wrong: list[str]  # what readings tell of it
    warned: list[str]  # what it said in its log
    result: dict[str, Any]

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def settings(self) -> dict[str, Any]:
        return {"algorithm": self.folder.algorithm, **dataclasses.asdict(self.folder.config)}

    @property
    def time(self) -> str:
        """Of training."""
        return clock(self.readings[-1]["seconds"]) if self.readings else "–"

    @property
    def score(self) -> str:
        """The closing evaluation's."""
        mean, std = self.result.get("mean"), self.result.get("std")
        return f"{mean:.2f} ± {std:.2f}" if _number(mean) and _number(std) else "–"

    @property
    def machine(self) -> list[tuple[str, str, str, str]]:
        """Of each figure of the machine: its name, least, mean and greatest."""
        run = Judged(self.readings)
        found = [(words, run.columns(name)[0]) for name, words in NAMES.items()]
        return [
            (words, f"{values.min():.4g}", f"{values.mean():.4g}", f"{values.max():.4g}")
            for words, values in found
            if len(values)
        ]


def facts(path: Path) -> Facts:
    """Raises InputError where the folder is no run's, or damaged."""
    folder = RunFolder.open(path)
    readings = folder.metrics()
    return Facts(
        folder,
        status(path, folder),
        readings,
        sessions.read(path),
        judged(path, readings),
        _warned(path),
        folder.result() or {},
    )


def _warned(path: Path) -> list[str]:
    """Each once."""
    try:
        lines = [line.decode(errors="replace") for line in read_lines(path / LOG)]
    except InputError:
        return []
    return list(dict.fromkeys(line.removeprefix(TOLD) for line in lines if line.startswith(TOLD)))[:WARNED]


def settings(runs: Sequence[Facts]) -> tuple[dict[str, str], list[tuple[str, list[str]]]]:
    """What all runs have in common, and rows of what differs: the setting, and its value for each run."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    rows = {name: [shown(run.settings.get(name, "–")) for run in runs] for name in names if name != "run_dir"}
    same = {name: values[0] for name, values in rows.items() if len(set(values)) == 1}
    return same, [(name, values) for name, values in rows.items() if name not in same]


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return ", ".join(map(shown, value)) if isinstance(value, list | tuple) else str(value)


def machines(runs: Iterable[Facts]) -> list[tuple[dict[str, str], list[str]]]:
    """Each machine with its versions once, and the names of the runs on it."""
    found = list[tuple[dict[str, str], list[str]]]()
    for run in runs:
        for session in run.sessions:
            told = _machine(session)
            known = next((names for other, names in found if other == told), None)
            if known is None:
                found.append((told, known := []))
            if run.path.name not in known:
                known.append(run.path.name)
    return found


def _machine(session: dict[str, Any]) -> dict[str, str]:
    versions = session.get("versions")
    told = {name: session.get(name) for name in ("host", "gpu", "driver", "processor", "cores", "device", "backend")}
    told |= {"memory": f"{session.get('memory_gib')} GiB", "learning by": session.get("path")}
    told |= versions if isinstance(versions, dict) else {}
    return {name: shown(value) for name, value in told.items() if value is not None}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def interval(scores: Sequence[float]) -> str:
    """The interquartile mean of several runs' scores, and its 95 % bootstrap interval."""
    from gpusim.agents.app import plot

    values = np.array(scores)
    low, high = plot.interval(values[:, None])
    return f"{float(plot.iqm(values)):.2f} ({float(low[0]):.2f} to {float(high[0]):.2f})"
