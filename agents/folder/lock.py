"""One process at a time writes into a folder: the system's lock on a file, which ends with its holder, however that ends.

It holds between machines where the file system passes locks on, as NFS version 4 does; where there are none, a line says so.
"""

import contextlib
import fcntl
import os
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gpusim.errors import InputError

GLANCE = 0.2  # seconds in which whoever only looks whether a lock is held has let go of it again
_held = set[int]()  # descriptors


def _left_to_the_parent() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_left_to_the_parent)  # or a lock would last as long as the last of the children


class Holder(NamedTuple):
    """A process, as the lock's file names it."""

    pid: int
    host: str

    @property
    def here(self) -> bool:
        """Whether it is on this machine, where it can be asked for."""
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Held(NamedTuple):
    """Of a lock that nobody holds, `by` is who ended without letting go of it: it was killed."""

    now: bool
    by: Holder | None


def look(path: Path) -> Held:
    """Whether the lock in the file `path` is held, and by whom. Raises nothing: of no file nobody holds a lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return Held(False, None)
    try:
        by = _holder(os.pread(descriptor, 200, 0))
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Held(True, by)
    except OSError:  # a file system without locks
        return Held(by is not None and holds(by, path), by)
    finally:
        os.close(descriptor)
    return Held(False, by)


def holds(by: Holder, path: Path) -> bool:
    """Whether that process is here and has the file `path` open; a number that is another process's by now has not."""
    if not by.here:
        return False
    with contextlib.suppress(OSError):
        wanted = os.stat(path)
        for opened in Path(f"/proc/{by.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(opened.stat(), wanted):
                    return True
    return False


def _holder(note: bytes) -> Holder | None:
    found = re.match(r"process (\d{1,9}) on (.+)", note.decode(errors="replace"))
    return Holder(int(found[1]), found[2]) if found else None


@contextmanager
def locked(path: Path, what: str, tell: Callable[[str], Any] = warnings.warn) -> Iterator[None]:
    """Holds the lock in the file `path`, which then says by whom.

    Args:
        what: that the lock is for, in words.
        tell: told where the file system has no locks.

    Raises:
        InputError: another process holds it, or the file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise InputError(f"{what} cannot be written to: {path.name}: {error.strerror}.") from None
    _held.add(descriptor)
    try:
        _take(descriptor, what, tell)
        try:
            yield
        finally:
            if descriptor in _held:
                _note(descriptor, "")
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was made just now may not have closed it yet
            os.close(descriptor)


def _take(descriptor: int, what: str, tell: Callable[[str], Any]) -> None:
    try:
        _lock(descriptor)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        raise InputError(f"{what} is in use by {holder}; wait for it, or stop it first.") from None
    except OSError as error:
        tell(f"{what}: this file system has no locks ({error.strerror}), so nothing keeps a second process away.")
    _note(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n")


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError where it is held for longer than a glance."""
    end = time.monotonic() + GLANCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(GLANCE / 20)


def _note(descriptor: int, holder: str) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
