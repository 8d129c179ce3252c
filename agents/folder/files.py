"""Files of a run folder: written as a whole or not at all; read as what they should be, or refused in a sentence."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from gpusim.errors import InputError

LARGEST = 2**24  # bytes of a JSON file that is read at all


def write(path: Path, content: str | bytes | memoryview) -> None:
    """All of the file or none of it, whenever the process is killed. What `path` was, a link included, is replaced.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with open(part, "xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """So that the file's name outlives a loss of power too; not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be read, or holds something else; `what` says what it should be.
    """
    try:
        if not path.is_file():
            if not os.path.lexists(path):
                raise FileNotFoundError(path)
            raise ValueError
        if path.stat().st_size > LARGEST:
            raise ValueError
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is damaged: it is not {what}.") from None
    return content


def read_lines(path: Path) -> list[bytes]:
    """Of a regular file; of anything else none.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes().split(b"\n") if path.is_file() else []
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
