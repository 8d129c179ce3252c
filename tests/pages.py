"""Pages of Markdown, run as a reader would run them.

Python blocks run in order, in one process and an empty folder. One that begins with `# NAME.py` is a file, which later
blocks may import and later shell lines may run; any other line of a shell block has to be understood by what it calls. A
page that says `<!-- needs: LIBRARY -->` is skipped where that is not installed.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from gpusim import registry
from gpusim.agents.app import arguments as words
from gpusim.agents.app import cli

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```([\w{}-]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(rf"`((?:gpusim (?:{'|'.join(cli.COMMANDS)})|make) [^`|]*)`")
NEEDS = re.compile(r"<!-- needs: (\w+) -->")
FILE = re.compile(r"# (\w+\.py)\n")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


class Understood(Exception):
    """A command line was parsed; it goes no further."""


def blocks(text: str, language: str) -> list[str]:
    return [code for kind, code in FENCE.findall(text) if kind == language]


def lines(text: str) -> list[str]:
    """The shell lines of a page, and the commands within its sentences."""
    shell = [line for block in blocks(text, "sh") for line in block.splitlines() if line.strip()]
    return shell + [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", text)) if "..." not in span]


@contextmanager
def desk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Works in that folder; what is registered and imported there is forgotten in the end."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(registry, "_ENVS", dict(registry._ENVS))
    before = set(gymnasium.registry)
    yield
    for name in set(gymnasium.registry) - before:
        if name.startswith("gpusim/"):  # others' libraries register theirs but once
            del gymnasium.registry[name]
    for name in [n for n, m in sys.modules.items() if str(getattr(m, "__file__", None)).startswith(str(folder))]:
        del sys.modules[name]


def write_files(text: str, folder: Path) -> None:
    """The files of a page, for commands that name them."""
    for code in blocks(text, "python"):
        if file := FILE.match(code):
            (folder / file[1]).write_text(code)


def run(text: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs a page; gives the names that its Python has at the end."""
    for library in NEEDS.findall(text):
        pytest.importorskip(
            library, reason=f"{name} needs {library}, which is not installed beside gpusim: make trainers"
        )
    names: dict[str, Any] = {"__name__": "page"}
    with desk(folder, monkeypatch):
        for kind, code in FENCE.findall(text):
            if kind == "python" and (file := FILE.match(code)):
                (folder / file[1]).write_text(code)
            elif kind == "python":
                exec(compile(code, f"<{name}>", "exec"), names)
            elif kind == "sh":
                for line in code.splitlines():
                    run_file(line, folder)
    return names


def run_file(line: str, folder: Path) -> None:
    """Runs a line that calls a file of the page, with the variables that stand before it."""
    if match := re.match(r"((?:\w+=\S+ )*)python (\w+\.py)$", line):
        variables = dict(pair.split("=") for pair in match[1].split())
        command = [sys.executable, str(folder / match[2])]
        done = subprocess.run(command, env=os.environ | variables, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def understood(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> bool:
    """Whether what a shell line calls is there and knows its arguments; nothing is run."""
    words = shlex.split(line, comments=True)
    while words and "=" in words[0]:
        words = words[1:]
    called, arguments = words[0], words[1:]
    if called == "gpusim":
        return parsed(arguments, monkeypatch, capsys)
    if called == ".":
        return len(arguments) == 1 and arguments[0].endswith("/bin/activate")
    if called == "make":
        return all(word in TARGETS or "=" in word for word in arguments)
    if called == "pip":
        return all(e in EXTRAS for word in arguments for e in re.findall(r"^\.\[(.*)\]$", word) for e in e.split(","))
    if called == "torchrun":
        if "gpusim.agents" not in arguments:
            return arguments[-1].endswith(".py")
        return parsed(arguments[arguments.index("gpusim.agents") + 1 :], monkeypatch, capsys)
    if called == "python":
        file = ROOT / arguments[0]
        return "/" not in arguments[0] or (file.is_file() and flags(arguments) <= fields(file.read_text()))
    return False


def parsed(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> bool:
    """Whether `gpusim` takes these arguments. An optional library that is not here may be asked for."""
    options = words.options

    def parse(*args: Any, **kwargs: Any) -> None:
        options(*args, **kwargs)
        raise Understood

    with monkeypatch.context() as patched:
        patched.setattr(words, "options", parse)
        try:
            cli.main(arguments)
        except Understood:
            return True
        except SystemExit as stop:
            return stop.code == 0 or "pip install" in capsys.readouterr().err
    return False


def flags(arguments: list[str]) -> set[str]:
    return {word[2:].split("=")[0].replace("-", "_") for word in arguments if word.startswith("--")}


def fields(source: str) -> set[str]:
    """Of the dataclasses in a script, which are its options."""
    return set(re.findall(r"^    (\w+): ", source, re.MULTILINE))
