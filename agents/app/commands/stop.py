"""`gpusim stop`: asks the process that a run is made by to save and end, and waits for it."""

import dataclasses
import os
import shlex
import signal
import time
from typing import TYPE_CHECKING

from gpusim.agents.app import arguments
from gpusim.agents.train import console, signals
from gpusim.errors import InputError

if TYPE_CHECKING:
    from gpusim.agents.train.run import RunFolder

OFTEN = 0.05  # seconds between two looks


def main(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Stop:
        """Ends a run after its iteration, with a checkpoint; `gpusim resume` goes on with it."""

    path, rest = arguments.run_path(args, "stop")
    arguments.options(Stop(), rest, f"gpusim stop {shlex.quote(path)}")
    from gpusim.agents.app.status import status
    from gpusim.agents.train.run import RunFolder

    folder = RunFolder.open(path)
    _ask(folder)
    try:
        while folder.held().now:
            time.sleep(OFTEN)
    except KeyboardInterrupt as stop:
        console.say("no longer waited for: it ends when its iteration does")
        return signals.exit_code(stop)
    console.say(f"{folder.path} is no longer running: {status(folder.path).ended()}")
    return 0


def _ask(folder: "RunFolder") -> None:
    from gpusim.agents.app.status import status
    from gpusim.agents.folder.lock import holds
    from gpusim.agents.train.run import LOCK

    held = folder.held()
    if not held.now:
        raise InputError(f"{folder.path} is not running: {status(folder.path).ended()}")
    if held.by is None:
        raise InputError(f"{folder.path} is in use by a process that has not said which it is: stop it by its number.")
    if not held.by.here:
        raise InputError(f"{folder.path} runs as {held.by}: stop it there.")
    if not holds(held.by, folder.path / LOCK):
        raise InputError(f"{folder.path} says that {held.by} runs it, which cannot be seen from here: stop it there.")
    try:
        os.kill(held.by.pid, signal.SIGTERM)
    except OSError as error:
        raise InputError(f"{held.by} cannot be stopped: {error.strerror}.") from None
    console.say(f"process {held.by.pid} was asked to stop: it ends its iteration, and saves")
