"""A run that goes on in the background: in a session of its own, which no terminal ends, its words in the run folder."""

import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpusim.agents.app.status import log_end
from gpusim.agents.parts.world import here
from gpusim.agents.train import console, signals
from gpusim.agents.train.run import LOG, RunFolder
from gpusim.errors import InputError

LONGEST = 60.0  # seconds in which a process should have begun
SURE = 1.0  # seconds that it is watched after its first word: what is wrong with a run mostly shows at once


def require_alone() -> None:
    """Raises InputError in a process that is one of several."""
    if here().launched:
        raise InputError(
            "--detach starts a single process: start torchrun itself in the background (nohup torchrun ... &)."
        )


def detach(folder: RunFolder, words: list[str]) -> int:
    """`gpusim resume` of that run, with these options, in a process that lives on; the exit code.

    It returns as soon as that process has taken the run. Should it end before, what it said is said here.

    Raises:
        InputError: the log cannot be written, or the process does not begin.
    """
    said = _length(folder)
    process = _spawn(folder, ["resume", str(folder.path), *words])
    try:
        code = _begun(folder, process, said)
    except KeyboardInterrupt as stop:
        console.say(f"{folder.path} goes on as process {process}: `gpusim stop {folder.path}` ends it")
        return signals.exit_code(stop)
    if code is not None:
        console.say("\n".join(log_end(folder.path)))
        return code
    console.say(
        f"{folder.path} goes on in the background, as process {process}\n"
        f"  gpusim logs {folder.path} -f    what it says\n"
        f"  gpusim watch {folder.path}      how it does\n"
        f"  gpusim stop {folder.path}       saves and ends it"
    )
    return 0


def _spawn(folder: RunFolder, words: list[str]) -> int:
    """The number of a process that runs `gpusim` with these words, and outlives this one."""
    script = Path(sys.argv[0])
    program = [str(script)] if script.name == "gpusim" and script.is_file() else ["-m", "gpusim.agents"]
    try:
        log = os.open(folder.path / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise InputError(f"{folder.path / LOG} cannot be written: {error.strerror}.") from None
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    try:
        with _hangups_ignored():
            command = [sys.executable, *program, *words]
            return os.posix_spawn(sys.executable, command, os.environ, file_actions=streams, setsid=True)
    finally:
        os.close(log)


@contextmanager
def _hangups_ignored() -> Iterator[None]:
    """By what is started within, as by `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _begun(folder: RunFolder, process: int, said: int) -> int | None:
    """Waits until the process is at work on the run, and has said so; the exit code of one that ended.

    Args:
        said: the length of the log before.
    """
    end, sure = time.monotonic() + LONGEST, math.inf
    while (now := time.monotonic()) < sure:
        if (code := _ended(process)) is not None:
            return code
        by = folder.held().by
        if sure == math.inf and by is not None and by.pid == process and _length(folder) > said:
            sure = now + SURE
        if sure == math.inf and now > end:
            raise InputError(f"process {process} has not begun in {LONGEST:g} s: see {folder.path / LOG}.")
        time.sleep(0.05)
    return None


def _length(folder: RunFolder) -> int:
    """Of the log, in bytes."""
    try:
        return (folder.path / LOG).lstat().st_size
    except OSError:
        return 0


def _ended(process: int) -> int | None:
    """The exit code of a process that has; 1 where the system keeps none (SIGCHLD is ignored)."""
    try:
        ended, status = os.waitpid(process, os.WNOHANG)
    except ChildProcessError:
        return 1
    return os.waitstatus_to_exitcode(status) if ended else None
