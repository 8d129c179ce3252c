"""`gpusim logs`: what a run in the background says."""

import dataclasses
import shlex
import time
from typing import Annotated, Any

from gpusim.agents.app import arguments
from gpusim.agents.train import console
from gpusim.errors import InputError

OFTEN = 0.3  # seconds between two looks


def main(args: list[str]) -> int:
    import tyro

    @dataclasses.dataclass(frozen=True)
    class Logs:
        """Shows what a run that was started by --detach has said."""

        follow: Annotated[bool, tyro.conf.arg(aliases=["-f"])] = False
        """Go on with what it says, until it ends, or Ctrl-C, which ends this alone."""
        lines: int | None = None
        """Begin so many lines before the end; None: at the beginning."""

    path, rest = arguments.run_path(args, "logs")
    asked = arguments.options(Logs(), rest, f"gpusim logs {shlex.quote(path)}")
    from gpusim import checks
    from gpusim.agents.train.run import LOG, RunFolder

    lines = None if asked.lines is None else checks.positive("lines", asked.lines)
    folder = RunFolder.open(path)
    try:
        with open(folder.path / LOG, encoding="utf-8", errors="replace") as log:
            _show(log, lines)
            while asked.follow:
                runs = folder.held().now  # before the last look, or the last words were missed
                if text := log.read():
                    console.say(text, end="")
                elif not runs:
                    break
                else:
                    time.sleep(OFTEN)
    except FileNotFoundError:
        raise InputError(
            f"{path} has no {LOG}: it was not started by --detach, so its words went to its terminal. "
            f"`gpusim watch {path}` shows how it does."
        ) from None
    except OSError as error:
        raise InputError(f"{folder.path / LOG} cannot be read: {error.strerror}.") from None
    except KeyboardInterrupt:
        console.say()
    return 0


def _show(log: Any, lines: int | None) -> None:
    said = log.read()
    shown = said.splitlines(keepends=True)
    console.say(said if lines is None else "".join(shown[len(shown) - min(lines, len(shown)) :]), end="")
