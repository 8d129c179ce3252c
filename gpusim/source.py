"""Code of one's own that an id names: `mine:Mine-v0`, of a module, and `path/to/mine.py:Mine-v0`, of a file."""

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from gpusim.errors import InputError, told


class Reference(NamedTuple):
    """What stands before the last colon, and after it."""

    origin: str  # a module, or a file ending in .py; empty where there is no colon
    name: str

    @property
    def is_file(self) -> bool:
        return self.origin.endswith(".py")


def reference(text: str) -> Reference:
    """The parts of `text`; nothing is looked at or imported."""
    origin, _, name = str(text).rpartition(":")
    return Reference(origin, name)


def name(text: str) -> str:
    """The id alone, without where it comes from."""
    return reference(text).name


def renamed(text: str, id: str) -> str:
    """`text` with another id."""
    origin = reference(text).origin
    return f"{origin}:{id}" if origin else id


def loaded(text: str) -> str:
    """`name(text)`, after what stands before it has been imported; where nothing does, nothing is.

    Raises:
        InputError: it cannot be imported.
    """
    origin, id = reference(text)
    if origin:
        load(origin)
    elif id.endswith(".py"):
        raise InputError(f"{id} is a file: name what it registers too, as in {id}:Name-v0.")
    return id


def load(origin: str, folder: Path | None = None) -> ModuleType:
    """The module of that name, or of that file, imported as by `python -m` and `python file.py`: beside others that lie in
    the folder one stands in, or in the file's. What was imported before is not imported again.

    Args:
        folder: where a module is looked for first; None: in the folder one stands in.

    Raises:
        InputError: there is none, or it fails.
    """
    file = Path(origin) if origin.endswith(".py") else None
    if file is None and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", origin):
        raise InputError(f"{origin!r} is neither a module, as in package.module, nor a file that ends in .py.")
    try:
        there = file is None or file.is_file()
    except OSError as error:
        raise InputError(f"{told(origin)} cannot be read: {error.strerror}.") from None
    if not there:
        raise InputError(f"there is no file {origin}.")
    try:
        return _of_file(file.resolve()) if file else _of_module(origin, folder or Path.cwd())
    except (Exception, SystemExit) as error:
        raise InputError(f"{origin} cannot be imported: {_cause(origin, error)}.") from error


def imported(origin: str, file: Path | None = None) -> bool:
    """Whether `load(origin)` has nothing to do; of a module, whether it is that of `file`, where that is given."""
    found = file_of(origin)
    return found is not None and (file is None or found == file.resolve())


def file_of(origin: str) -> Path | None:
    """That of what has been imported by that name; None where nothing was, or from no file."""
    file = Path(origin).resolve() if origin.endswith(".py") else None
    module = sys.modules.get(origin) if file is None else _loaded(file)
    found = getattr(module, "__file__", None)
    return Path(found).resolve() if found else None


def root(module: str, file: Path) -> Path | None:
    """The folder from which a module of that name is that file; None where it cannot be, or `module` is itself a file."""
    parts = module.split(".")
    path = file.parent if file.name == "__init__.py" else file.with_suffix("")
    fits = list(path.parts[-len(parts) :]) == parts
    return path.parents[len(parts) - 1] if fits else None


def _of_module(origin: str, folder: Path) -> ModuleType:
    top = folder / origin.partition(".")[0]
    if origin not in sys.modules and (top.exists() or top.with_name(f"{top.name}.py").exists()):
        importable(str(folder))
    return importlib.import_module(origin)


def _loaded(file: Path) -> ModuleType | None:
    """The module of that file."""
    return next((m for m in list(sys.modules.values()) if same(getattr(m, "__file__", None), file)), None)


def _of_file(file: Path) -> ModuleType:
    if before := _loaded(file):
        return before
    importable(str(file.parent))
    spec = importlib.util.spec_from_file_location(_free_name(file), file)
    assert spec is not None  # None is for unknown suffixes, and the file ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pickle and entry points such as "mine:Mine" look modules up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _free_name(file: Path) -> str:
    """The file's own, unless another module has it."""
    try:
        found = importlib.util.find_spec(file.stem) if "." not in file.stem else None
    except ValueError:  # __main__
        return f"{file.stem}_{digest(file)[:8]}"
    taken = file.stem in sys.modules or (found is not None and not same(found.origin, file))
    return f"{file.stem}_{digest(file)[:8]}" if taken else file.stem


def importable(folder: str) -> None:
    """Modules of that folder are found, before others of their name."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()


def same(a: str | None, file: Path) -> bool:
    """Whether `a` names that resolved file."""
    return a is not None and os.path.basename(a) == file.name and Path(a).resolve() == file


def digest(file: Path) -> str:
    """SHA-256 of its content, in hexadecimal.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from None


def _cause(origin: str, error: BaseException) -> str:
    """What went wrong, and in which line of which file of the user's."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{origin}.".startswith(f"{error.name}."):
        return f"there is no module {error.name!r}, neither installed nor in {os.getcwd()}"
    if isinstance(error, InputError):
        return str(error).rstrip(".")
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and file != __file__ and not file.startswith(os.path.dirname(importlib.__file__)):
            place = f" in {os.path.basename(file)}, line {trace.tb_lineno}"
        trace = trace.tb_next
    message = (str(error).splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}{place}" + (f": {message}" if message else "")
