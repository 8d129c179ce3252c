"""Tiles on threads: as many as pay, which is measured as it goes; what comes of the steps does not depend on it."""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SHORT = 2e-4  # seconds of work that are not worth another thread
AGAIN = 16  # calls after which the way that was slower is tried once more


class Pace:
    """How long a step of one environment takes on one thread and on all, so that the better is chosen.

    Where other processes want the processors too, waiting for a thread that was put aside takes longer than its work.
    """

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}  # by the number of threads, the last ones counting most
        self.calls = 0

    @property
    def least(self) -> float:
        return min(self.seconds.values(), default=2e-8)

    def threads(self, work: int, most: int) -> int:
        """For so many steps of environments."""
        if most == 1 or 1 not in self.seconds or work * self.seconds[1] < SHORT:
            return 1
        self.calls += 1
        better = min((1, most), key=lambda threads: self.seconds.get(threads, 0.0))  # what was not tried comes first
        return better if self.calls % AGAIN else 1 + most - better

    def took(self, threads: int, seconds: float, work: int) -> None:
        each = seconds / work
        before = self.seconds.get(threads, each)
        self.seconds[threads] = min(each, before + 0.25 * (each - before))  # once is enough to show what can be


_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}  # by process: a fork has none of its parent's threads


def on_threads(run: Any, job: ctypes.Structure, threads: int) -> None:
    """Tiles are taken one after the other by whoever is free."""
    if threads == 1:
        run(ctypes.byref(job))
        return
    here = os.getpid(), threads - 1
    if here not in _pools:
        _pools[here] = ThreadPoolExecutor(threads - 1, "gpusim")
    others = [_pools[here].submit(run, ctypes.byref(job)) for _ in range(threads - 1)]
    try:
        run(ctypes.byref(job))
    finally:
        _joined([other for other in others if not other.cancel()])


def _joined(begun: list) -> None:
    """Waits for all of them, whatever comes meanwhile: they write to memory that is the caller's."""
    try:
        for other in begun:
            other.result()
    except BaseException:
        _joined(begun)
        raise
