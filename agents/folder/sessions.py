"""sessions.jsonl: for each process that worked on the run an object, when and where it began, and by what versions."""

import json
import os
from pathlib import Path
from typing import Any

from gpusim.agents.folder.files import read_lines
from gpusim.agents.folder.strict_json import dumps
from gpusim.errors import InputError

FILE = "sessions.jsonl"


def add(folder: Path, session: dict[str, Any]) -> None:
    """Raises OSError where it cannot be written."""
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with open(descriptor, "a") as file:
        file.write(dumps(session) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """Oldest first; lines that are damaged are passed over, a file that cannot be read is as none."""
    try:
        lines = read_lines(folder / FILE)
    except InputError:
        return []
    return [session for line in lines if (session := _parsed(line))]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        session = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return session if isinstance(session, dict) else None
