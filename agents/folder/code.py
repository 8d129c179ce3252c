"""The code of somebody's own that a run needs, its environment's and the rule that it explores by: kept, and found again.

A folder may come from anybody, so what it names is imported only where that is asked for.
"""

import dataclasses
import os
import sysconfig
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpusim import source
from gpusim.errors import InputError
from gpusim.registry import joined
from gpusim.source import Reference

FIELDS = ("env", "script")  # of a configuration
FOLDER = "code"  # in a run's, of copies


def named(config: Any) -> dict[str, Reference]:
    """By field, what a configuration names that has to be imported."""
    found = {field: source.reference(getattr(config, field, None) or "") for field in FIELDS}
    return {field: reference for field, reference in found.items() if reference.origin}


def record(config: Any) -> tuple[dict[str, dict[str, str]], dict[str, bytes]]:
    """What a new folder keeps of it, all of it being imported. Of what is installed it keeps the name alone.

    Returns:
        places: by field, the `file` and the `sha256` of its content.
        copies: those contents, by their path in FOLDER.
    """
    places, copies = dict[str, dict[str, str]](), dict[str, bytes]()
    for field, reference in named(config).items():
        file = source.file_of(reference.origin)
        if file and not any(file.is_relative_to(folder) for folder in installed()):
            places[field] = {"file": str(file), "sha256": source.digest(file)}
            copies[f"{field}/{file.name}"] = file.read_bytes()
    return places, copies


def installed() -> list[Path]:
    return [Path(path).resolve() for name, path in sysconfig.get_paths().items() if name.endswith("lib")]


def restored(
    config: Any,
    folder: Path,
    places: Any,
    trust: bool,
    fields: Sequence[str] = FIELDS,
    tell: Callable[[str], Any] = warnings.warn,
) -> Any:
    """A run's configuration, what it names being imported: from the file that `record` wrote down, else from its copy.

    Args:
        places: what the folder has of `record`; looked at here.
        trust: whether it may be imported. An environment that is imported already needs none.
        fields: which of FIELDS are needed.
        tell: told where a file has changed, or is gone.

    Raises:
        InputError: it may not, or cannot.
    """
    known = places if isinstance(places, dict) else {}
    found = {f: _place(f, reference, folder, known.get(f)) for f, reference in named(config).items() if f in fields}
    asked = [str(place) for field, place in found.items() if field == "script" or not place.imported()]
    if asked and not trust:
        raise InputError(
            f"{folder} names code that would be run: {joined(list(dict.fromkeys(asked)), 'and')}. Look at it, and where "
            "you trust it say so: --trust, or trust=True in Python."
        )
    for remark in dict.fromkeys(place.remark for place in found.values() if place.remark):
        tell(remark)
    return dataclasses.replace(config, **{field: place.load() for field, place in found.items()})


@dataclasses.dataclass(frozen=True)
class Place:
    """Where what a field names is now."""

    reference: Reference
    file: Path | None  # None: not known, it is looked for by its name
    remark: str  # what is to be told of it

    def __str__(self) -> str:
        return str(self.file or self.reference.origin)

    def imported(self) -> bool:
        return source.imported(self.reference.origin, self.file)

    def load(self) -> str:
        """Imports it; what the field should say."""
        origin, name = self.reference
        root = source.root(origin, self.file) if self.file else None
        if self.file and not root:
            origin = str(self.file)
        source.load(origin, root)
        return f"{origin}:{name}"


def _place(field: str, reference: Reference, folder: Path, kept: Any) -> Place:
    if not isinstance(kept, dict) or not isinstance(kept.get("file"), str):
        return Place(reference, None, "")
    file = Path(kept["file"]).absolute()
    copy = folder.absolute() / FOLDER / field / file.name
    if not os.path.isfile(file) and os.path.isfile(copy):
        return Place(reference, copy, f"{file} is gone: {copy} stands for it, as it was when the run began.")
    if os.path.isfile(file) and source.digest(file) != kept.get("sha256"):
        return Place(reference, file, f"{file} has changed since the run began; as it was then, it is {copy}.")
    return Place(reference, file, "")
