"""Tests of kernels on the CPU: files named `*_in_interpreter.py`, each run in a process of its own.

TRITON_INTERPRET counts only before Triton is imported, and then for the whole process.
"""

import functools
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent


def problem() -> str | None:
    """Why kernels cannot be interpreted here, or None."""
    import numpy
    import triton

    if triton.__version__.startswith("3.6.") and numpy.lib.NumpyVersion(numpy.__version__) >= "2.5.0":
        return f"the interpreter of Triton {triton.__version__} needs NumPy below 2.5, and here is {numpy.__version__}"
    return None


def passes(file: Path, *arguments: str) -> None:
    """Runs pytest on `file` under the interpreter and fails unless all of it passes, with nothing skipped."""
    if why := problem():
        pytest.skip(why)
    command = [sys.executable, "-m", "pytest", str(file), *arguments, "-p", "no:cacheprovider"]
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout


def quicken() -> None:
    """At every call of every function the interpreter looks through all of Triton for builtins: half of its time."""
    import triton.language as tl
    from triton.runtime import interpreter

    @functools.cache
    def names(module):
        return [name for name, value in inspect.getmembers(module) if tl.core.is_builtin(value)]

    def builtins(module):
        return [(name, getattr(module, name)) for name in names(module)]

    assert os.environ["TRITON_INTERPRET"] == "1"
    interpreter.inspect = SimpleNamespace(**vars(inspect) | {"getmembers": builtins})
