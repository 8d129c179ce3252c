"""The checkpoints of a run: files numbered by iteration, of which the newest are kept; reading one finds damage to it."""

import contextlib
import hashlib
import io
import math
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gpusim.agents.folder.files import write
from gpusim.errors import InputError
from gpusim.version import __version__

FORMAT = 1  # of a checkpoint; raised when an older one can no longer be read
KEPT = 3
SEAL = b"gpusim sha256 "  # and 64 digits: the comment at the end of the archive that torch writes
LENGTH = len(SEAL) + 64
COMMENT = LENGTH.to_bytes(2, "little")  # the length of the comment, before it
NAME = re.compile(r"[0-9]{8,}\.pt")  # files of other names are somebody else's


class Checkpoint(NamedTuple):
    """What a file holds."""

    path: Path
    seconds: float  # of training up to there
    state: dict[str, Any]  # of the learner


class Damaged(Exception):
    """A checkpoint that is cut short, changed, or none."""


class Checkpoints:
    """Those in the folder `path`."""

    def __init__(self, path: Path):
        self.path = path

    def files(self) -> list[Path]:
        """Oldest first."""
        try:
            found = [p for p in self.path.iterdir() if NAME.fullmatch(p.name)]
        except OSError:
            return []
        return sorted(found, key=lambda p: int(p.stem))

    def save(self, iteration: int, seconds: float, state: dict[str, Any]) -> None:
        """Raises OSError where it cannot be written; older ones are then all kept."""
        content = io.BytesIO()
        torch.save({"format": FORMAT, "gpusim": __version__, "seconds": seconds, "state": state}, content)
        seal(content)
        self.path.mkdir(exist_ok=True)
        write(self.path / f"{iteration:08d}.pt", content.getbuffer())
        for old in self.files()[:-KEPT]:
            with contextlib.suppress(OSError):
                old.unlink()

    def readable(self, device: torch.device) -> Iterator[Checkpoint | Damaged]:
        """Newest first, and in the place of each that cannot be taken, why.

        Raises:
            InputError: another version wrote it.
        """
        for path in reversed(self.files()):
            try:
                yield read(path, device)
            except Damaged as damage:
                yield damage

    def set_aside(self, iteration: int) -> None:
        """Renames what is newer than that iteration, from which a run goes on that could not use them."""
        for path in self.files():
            if int(path.stem) > iteration:
                with contextlib.suppress(OSError):
                    path.rename(path.with_name(path.name + ".damaged"))


def read(path: Path, device: torch.device) -> Checkpoint:
    """The checkpoint in a file.

    Raises:
        Damaged: it is cut short, one of its checksums is wrong, or it is no checkpoint.
        InputError: another version wrote it.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ValueError
        check_seal(path)
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location=device, weights_only=True)
        form, seconds, state = content["format"], content["seconds"], content["state"]
        if form == FORMAT and not (_is_time(seconds) and _is_count(state["iteration"])):
            raise ValueError
    except Exception:
        raise Damaged(f"the checkpoint {path} is cut short or damaged") from None
    if form != FORMAT:
        raise InputError(f"the checkpoint {path} has format {form}; this gpusim reads format {FORMAT}.")
    return Checkpoint(path, float(seconds), state)


def seal(archive: io.BytesIO) -> None:
    """Adds the digest of all its bytes as the comment of a zip archive that has none."""
    archive.seek(-2, io.SEEK_END)
    archive.write(COMMENT)
    digest = hashlib.sha256(archive.getbuffer()).hexdigest()
    archive.write(SEAL + digest.encode())


def check_seal(path: Path) -> None:
    """Raises an error where a digest is wrong: the seal's, or, in a checkpoint of an older gpusim, that of a tensor."""
    with open(path, "rb") as file:
        rest = file.seek(-LENGTH, io.SEEK_END)
        found = file.read()
        file.seek(max(0, rest - len(COMMENT)))
        if not found.startswith(SEAL) and file.read(len(COMMENT)) != COMMENT:  # one flipped bit is not in both
            return _check_tensors(path)
        file.seek(0)
        digest = hashlib.sha256()
        while part := file.read(min(2**20, rest)):
            digest.update(part)
            rest -= len(part)
    if found != SEAL + digest.hexdigest().encode():
        raise ValueError


def _check_tensors(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            with archive.open(record) as content:
                while content.read(2**20):
                    pass


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
