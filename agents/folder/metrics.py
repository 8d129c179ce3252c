"""metrics.jsonl: a JSON object for each reading, a line each."""

import json
import math
import os
import stat
from pathlib import Path

from gpusim.agents.folder.files import read_lines, write
from gpusim.agents.folder.strict_json import dumps

NUMBERED = ("iteration", "steps", "seconds")  # every reading has these, and they are finite
LAST = 2**16  # bytes in which the newest reading is


class Metrics:
    """The readings in the file `path`. One that cannot be written waits in `pending` for the next."""

    def __init__(self, path: Path):
        self.path = path
        self.pending: list[str] = []
        self._ragged = False  # whether the file may end within a line

    def append(self, reading: dict[str, float]) -> None:
        """Raises OSError where it cannot be written; it is kept."""
        self.pending.append(dumps(reading) + "\n")
        self.flush()

    def flush(self) -> None:
        """Raises OSError where what is pending cannot be written."""
        text = "\n" * self._ragged + "".join(self.pending)
        self._ragged = True
        with open(self.path, "a", opener=_no_link) as file:
            file.write(text)
        self.pending, self._ragged = [], False

    def read(self) -> list[dict[str, float]]:
        """Those that are whole; null is NaN.

        Raises:
            InputError: the file cannot be read.
        """
        return [reading for line in read_lines(self.path) if (reading := parsed(line))]

    def last(self) -> dict[str, float] | None:
        """The newest reading, without those before it being read; None where there is none, or it cannot be read."""
        return next(reversed(Tail(self.path, LAST).new()), None)

    def rewind(self, iteration: int) -> list[dict[str, float]]:
        """Drops those after `iteration`, and what is no reading, and returns the others.

        Raises:
            InputError: the file cannot be read.
            OSError: it cannot be written.
        """
        *lines, last = read_lines(self.path) or [b""]
        kept = [line for line in lines if (reading := parsed(line)) and reading["iteration"] <= iteration]
        if (
            kept != lines
            or last
            or (os.path.lexists(self.path) and (self.path.is_symlink() or not self.path.is_file()))
        ):
            write(self.path, b"".join(line + b"\n" for line in kept))
        return [reading for line in kept if (reading := parsed(line))]


class Tail:
    """What has come to the file `path` since one last looked; at first its last `most` bytes. It may be written to."""

    def __init__(self, path: Path, most: int = 2**25):
        self.path, self.most = path, most
        self.place, self.file = 0, -1  # where the next line begins, and in which file

    def new(self) -> list[dict[str, float]]:
        """The readings; one that is being written comes next time. Of a file that is gone, or was cut, all of them."""
        try:
            with open(self.path, "rb", opener=_no_link_or_pipe) as file:
                facts = os.fstat(file.fileno())
                if not stat.S_ISREG(facts.st_mode):
                    return []
                if facts.st_ino != self.file or facts.st_size < self.place:
                    self.file, self.place = facts.st_ino, max(0, facts.st_size - self.most)
                file.seek(self.place)
                whole, newline, _ = file.read(self.most).rpartition(b"\n")
        except OSError:
            return []
        self.place += len(whole) + len(newline)
        return [reading for line in whole.split(b"\n") if (reading := parsed(line))]


def parsed(line: bytes) -> dict[str, float] | None:
    """The reading in a line; None where it is damaged or none."""
    try:
        found = json.loads(line)
        reading = {name: math.nan if value is None else value for name, value in found.items()}
        finite = {name: math.isfinite(value) and not isinstance(value, bool) for name, value in reading.items()}
        return reading if all(finite[name] for name in NUMBERED) else None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError, OverflowError):
        return None


def _no_link_or_pipe(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _no_link(path: str, flags: int) -> int:
    """A folder from somebody else names no file outside that would be written to."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)
