"""C++ that was written by a program, compiled for this processor and loaded; kept in the user's cache folder.

The folder is `$GPUSIM_CACHE`, or `gpusim` in `$XDG_CACHE_HOME` or `~/.cache`.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fwrapv",
         "-shared", "-fPIC", "-w")  # fmt: skip
PATIENCE = 1.0, 20.0  # seconds of compiling before it is announced: on a terminal, and elsewhere


class CompileError(RuntimeError):
    """There is no compiler, or it failed; the message is one sentence."""


def compiler() -> str | None:
    """The C++ compiler: `$CXX`, else g++ or clang++; None where there is none."""
    return next(
        (found for name in (os.environ.get("CXX"), "g++", "clang++") if name and (found := shutil.which(name))), None
    )


@functools.cache
def loaded(source: str, name: str, flags: tuple[str, ...] = FLAGS) -> ctypes.CDLL:
    """The library of some C++.

    Args:
        name: what it is of, in the announcement.

    Raises:
        CompileError: it could not be made.
    """
    if not (program := compiler()):
        raise CompileError("there is no C++ compiler: install g++ or clang++, or name one in CXX")
    key = hashlib.sha256("\n".join((source, *flags, *_identity(program))).encode()).hexdigest()[:32]
    try:
        return _loaded(source, name, flags, program, key, cache_folder())
    except OSError as error:
        raise CompileError(f"{name} could not be compiled: {error.strerror or error}") from None


def _loaded(source: str, name: str, flags: tuple[str, ...], program: str, key: str, folder: Path) -> ctypes.CDLL:
    library = folder / f"{key}.so"
    if not (library.is_file() and _ours(library)):
        _make(source, name, flags, program, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError:  # a disk that was full, or a folder taken to another machine
        _make(source, name, flags, program, library)
        return ctypes.CDLL(str(library))


def _make(source: str, name: str, flags: tuple[str, ...], program: str, library: Path) -> None:
    """Whole or not at all, whoever else makes the same."""
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="making-") as place:
        text, made = Path(place, "source.cpp"), Path(place, "made.so")
        text.write_text(source, encoding="utf-8")
        command = [program, *flags, str(text), "-o", str(made)]
        own = os.environ | {"TMPDIR": place}  # /tmp may be full; and what an interrupt leaves is removed
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=own
        ) as process:
            try:
                said = _waited(process, name)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            first = next(
                (x for x in said.decode(errors="replace").splitlines() if "error" in x.lower()), "it says nothing"
            )
            raise CompileError(f"{program} could not compile {name}: {first.strip()}")
        made.chmod(0o600)
        os.replace(text, library.with_suffix(".cpp"))
        os.replace(made, library)


def _waited(process: subprocess.Popen, name: str) -> bytes:
    try:
        return process.communicate(timeout=PATIENCE[not sys.stderr.isatty()])[1]
    except subprocess.TimeoutExpired:
        print(f"gpusim: compiling {name} for this processor; it is kept for the next time.", file=sys.stderr)
        return process.communicate()[1]


def _identity(program: str) -> tuple[str, ...]:
    """Of the compiler and the processor: what was made by or for another is none of ours."""
    path = os.path.realpath(program)
    file = os.stat(path)
    return path, str(file.st_size), str(file.st_mtime_ns), platform.machine(), _processor()


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    named = ("model name", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.startswith(named))


def cache_folder() -> Path:
    """Ours alone: what lies in it will be run."""
    named = os.environ.get("GPUSIM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(named) if named else Path(base) / "gpusim"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _ours(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    warnings.warn(f"{folder} cannot be written, or others may write it: what is compiled is not kept.", stacklevel=2)
    return _temporary()


@functools.cache
def _temporary() -> Path:
    """For this process, where there is no folder of the user's to keep anything in."""
    holder = tempfile.TemporaryDirectory(prefix="gpusim-")
    _held.append(holder)
    return Path(holder.name)


_held: list[tempfile.TemporaryDirectory] = []  # removed when the process ends


def _ours(path: Path) -> bool:
    """Whether nobody else can have written it."""
    found = path.stat()
    return not hasattr(os, "getuid") or (
        found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
