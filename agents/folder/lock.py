"""One process at a time writes into a folder: the system's lock on a file, which ends with its holder, however that ends.

It holds between machines where the file system passes locks on, as NFS version 4 does; where there are none, a line says so.
"""

import contextlib
import fcntl
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpusim.errors import InputError

_held = set[int]()  # descriptors


def _left_to_the_parent() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_left_to_the_parent)  # or a lock would last as long as the last of the children


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
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        raise InputError(f"{what} is in use by {holder}; wait for it, or stop it first.") from None
    except OSError as error:
        tell(f"{what}: this file system has no locks ({error.strerror}), so nothing keeps a second process away.")
    _note(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n")


def _note(descriptor: int, holder: str) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
