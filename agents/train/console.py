"""What is printed: on any terminal, whatever letters it has, and whether or not anybody still reads it."""

import codecs
import contextlib
import errno
import os
import sys
from typing import Any

PLAIN = {"±": "+-", "×": "x", "−": "-", "–": "-", "…": "...", "α": "alpha", "β": "beta", "ε": "epsilon", "λ": "lambda"}


def prepare() -> None:
    """Lets the streams of this process take any letter, in a plainer form where need be, and be there at all."""
    codecs.register_error("gpusim.plain", _plainer)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by whoever started this
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="gpusim.plain")


def _plainer(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


GONE = (errno.EPIPE, errno.ENOSPC, errno.EIO)  # the reader, the room on the disk, the terminal


def say(text: str = "", end: str = "\n") -> None:
    """Prints at once. Should the reader be gone, or a file full, everything after goes nowhere, and the work goes on."""
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        give_up(error)


def warn(sentence: str) -> None:
    """A line on the standard error output."""
    with contextlib.suppress(OSError):
        print(f"gpusim: {sentence}", file=sys.stderr, flush=True)


def give_up(error: OSError) -> int:
    """Shows nothing from here on; the exit code of a command that does nothing but show: 141 on a closed pipe."""
    mute(sys.stdout)
    if isinstance(error, BrokenPipeError):  # the reader of the pipe has gone
        return 128 + 13
    warn(f"the output cannot be written ({error.strerror}); what follows is not shown.")
    return 1


def flush() -> None:
    """Raises OSError where what was printed cannot be written."""
    sys.stdout.flush()


def mute(stream: Any) -> None:
    """From now on to nowhere, what is still buffered included."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
