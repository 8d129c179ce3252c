"""Ctrl-C, SIGTERM and SIGHUP: what runs ends in order, and with the exit code that a shell expects.

Those that the process was started to ignore (by `nohup`, or as a job in the background) stay ignored.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ENDING = tuple(s for s in map(signal.Signals.__members__.get, ("SIGINT", "SIGTERM", "SIGHUP")) if s)


class Stopped(KeyboardInterrupt):
    """Raised where the program stands when one of the signals comes that is not waited for."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + getattr(stop, "number", signal.SIGINT)


class Interrupts:
    """Who waits for the end of an iteration looks at `number`, and says by `patient` whether the first signal is to wait.

    A second one never does.
    """

    def __init__(self) -> None:
        self.number, self.patient = 0, False

    def __call__(self, number: int, frame: Any) -> None:
        wait = self.patient and not self.number
        self.number = number
        if not wait:
            raise Stopped(number)


@contextmanager
def handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """In the main thread, which alone receives signals; elsewhere nothing changes."""
    before: dict[int, Any] = {}
    try:
        for number in map(int, ENDING):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    except ValueError:
        pass
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


_ending = [False]


def raised(number: int, frame: Any) -> None:
    """The handler that waits for nothing."""
    if not _ending[0]:
        raise Stopped(number)


def end() -> None:
    """From here on `raised` raises nothing, as this process ends anyway."""
    _ending[0] = True
