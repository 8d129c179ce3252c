"""The readings of a run that goes on, as far as they are needed to judge and to draw it."""

from pathlib import Path

from gpusim.agents.folder.metrics import Tail

MOST = 2000  # readings of a kind; of more every other one is kept
MACHINE = "host_cpu"  # which a reading with figures of the machine has


class History:
    """Those in the file `path`, by and by."""

    def __init__(self, path: Path):
        self.tail = Tail(path)
        self.last: dict[str, float] = {}
        self.machine: dict[str, float] = {}  # the newest figures of it
        self._kept: dict[bool, list[dict[str, float]]] = {True: [], False: []}

    def look(self) -> None:
        """Takes in what is new."""
        if new := self.tail.new():
            if self.last and new[0]["iteration"] <= self.last["iteration"]:  # it was resumed, or begun anew
                for kept in self._kept.values():
                    kept[:] = [r for r in kept if r["iteration"] < new[0]["iteration"]]
            self.last = new[-1]
        for reading in new:
            if MACHINE in reading:
                self.machine = reading
            kept = self._kept[MACHINE in reading]
            kept.append(reading)
            if len(kept) > 2 * MOST:
                kept[:] = kept[::2]

    @property
    def readings(self) -> list[dict[str, float]]:
        """Oldest first."""
        return sorted(self._kept[True] + self._kept[False], key=lambda reading: reading["iteration"])
