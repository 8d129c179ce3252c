"""The libraries that Gymnasium's environments need, and the sentence where one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import gymnasium

from gpusim.errors import InputError

# What an environment's entry point begins with: what it needs, and how that is installed.
NEEDS = {
    "ale_py": ("ale-py and opencv-python-headless, which are", 'pip install "gpusim[atari]"'),
    "gymnasium.envs.box2d": ("box2d, which is", 'pip install "gpusim[box2d]"'),
    "gymnasium.envs.mujoco": ("mujoco, which is", 'pip install "gymnasium[mujoco]"'),
    "gymnasium.envs.toy_text": ("pygame, which is", 'pip install "gymnasium[toy-text]"'),
}


def require_ale(id: str) -> None:
    """Imports ale-py, which registers Atari's games in Gymnasium.

    Raises:
        InputError: it is not installed.
    """
    try:
        ale = import_module("ale_py")
    except ImportError:
        raise _lacking(id, "ale_py") from None
    ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # its banner is no news


@contextmanager
def explained(id: str, entry_point: Any, what: str = "made") -> Iterator[None]:
    """A missing library becomes a sentence, and so does whatever else keeps an environment from being made (or drawn)."""
    try:
        yield
    except InputError:
        raise
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        library = next((k for k in NEEDS if str(entry_point).startswith(k)), None)
        raise (_lacking(id, library) if library else _unmade(id, what, error)) from None
    except (Exception, SystemExit) as error:
        raise _unmade(id, what, error) from error


def sentence(error: BaseException) -> str:
    """The first line of what it says, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".?")


def _lacking(id: str, library: str) -> InputError:
    needs, remedy = NEEDS[library]
    return InputError(f"{id} needs {needs} not installed: {remedy}.")


def _unmade(id: str, what: str, error: BaseException) -> InputError:
    why = f"it called sys.exit({error})" if isinstance(error, SystemExit) else sentence(error)
    return InputError(f"{id} cannot be {what}: {why}.")
