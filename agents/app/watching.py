"""Runs and machine, looked at again and again from outside: what `gpusim watch` shows."""

import math
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from gpusim.agents.app import diagnosis
from gpusim.agents.app.history import History
from gpusim.agents.app.screen import View, Watched
from gpusim.agents.app.status import Status, status
from gpusim.agents.folder import sessions
from gpusim.agents.train import devices
from gpusim.agents.train.devices import GIB, HEAT, Gpu, Machine, Nvml, Process
from gpusim.agents.train.run import RunFolder
from gpusim.errors import InputError

OFTEN = 5.0  # seconds between two judgements
LOOKS = 30  # of a GPU that are judged


class Watching:
    """Of the run `named`, or of all in the folder `place` that run."""

    def __init__(self, named: Path | None, place: Path):
        self.named, self.place = named, place
        self.nvml, self.machine = Nvml(), Machine()
        self.processor, self.cores = devices.processor(), devices.cores()
        self.histories: dict[Path, History] = {}
        self.processes: dict[int, Process] = {}
        self.gpus: dict[int, deque[Gpu]] = {}
        self.judged, self.wrong = -math.inf, list[str]()

    def look(self) -> View:
        """What there is now.

        Raises:
            InputError: the run that was named is none, or damaged.
        """
        gpus = self.nvml.all()
        for gpu in gpus:
            self.gpus.setdefault(gpu.index, deque(maxlen=LOOKS)).append(gpu)
        runs = [self._watched(found) for found in self._found()]
        if time.monotonic() - self.judged >= OFTEN:
            self.judged = time.monotonic()
            self.wrong = [*self._hot(), *self._judged(runs)]
        nothing = f"nothing runs in {self.place}" if not runs else ""
        no_gpu = "" if gpus else "no NVIDIA GPU answers"
        note = "; ".join(filter(None, (nothing, no_gpu)))
        return View(gpus, self.machine.look(), runs, self.wrong, self.processor, self.cores, note)

    def _found(self) -> Iterable[Status]:
        if self.named is not None:
            return [status(self.named)]
        return running(self.place)

    def _watched(self, found: Status) -> Watched:
        history = self.histories.setdefault(found.path, History(found.path / "metrics.jsonl"))
        history.look()
        memory = None
        if found.running and found.by is not None and found.by.here:
            memory = self.processes.setdefault(found.by.pid, Process(found.by.pid)).look().memory
        returns = diagnosis.Run(history.readings).column("return")
        return Watched(found, returns, history.machine, memory)

    def _hot(self) -> Iterable[str]:
        """Of each GPU, as it was just seen."""
        for index, looks in self.gpus.items():
            seen = [
                {
                    "gpu_slowed_by_heat": float(bool(gpu.slowed_by(HEAT))),
                    "gpu_temperature": float(gpu.temperature or 0),
                    "gpu_clock_mhz": float(gpu.clock or 0),
                }
                for gpu in looks
            ]
            if sentence := diagnosis.slowed_by_heat(diagnosis.Run(seen)):
                yield f"GPU {index}: {sentence}"

    def _judged(self, runs: Iterable[Watched]) -> Iterable[str]:
        for watched in runs:
            sentences = judged(watched.status.path, self.histories[watched.status.path].readings)
            for sentence in sentences:
                if not (self.gpus and sentence.startswith("Heat")):
                    yield sentence if self.named else f"{watched.status.path.name}: {sentence}"


def running(place: Path) -> list[Status]:
    """The runs in that folder at which a process is at work."""
    from gpusim.agents.app.plot import folders

    found = list[Status]()
    try:
        paths = folders([place])
    except InputError:
        return []
    for path in paths:
        try:
            folder = RunFolder.open(path)
            if folder.held().now:
                found.append(status(path, folder))
        except InputError:
            continue
    return found


def judged(path: Path, readings: list[dict[str, float]]) -> list[str]:
    """What is wrong with the run in that folder.

    Raises:
        InputError: it is no run's, or damaged.
    """
    folder = RunFolder.open(path)
    config, known, memory = folder.config, sessions.read(path), devices.host_memory()
    session = known[-1] if known else {}
    found = status(path, folder)
    return diagnosis.diagnose(
        diagnosis.Run(
            readings,
            config.iterations * config.steps_per_iteration,
            folder.threshold,
            found.why if found.state == "not finite" else None,
            str(session.get("device", config.device)),
            str(session.get("backend", config.backend)),
            math.nan if memory is None else memory / GIB,
        )
    )
