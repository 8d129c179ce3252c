"""The loop around a learner: iterate, read the metrics now and then, keep the run folder, stop when told."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from gpusim.agents.learner import Learner


class Result(NamedTuple):
    """What training gives back."""

    learner: Learner
    metrics: list[dict[str, float]]  # one for each reading
    ending: str  # "complete", "target" or "interrupted"


class Silent:
    """An observer that keeps nothing; what a run folder and a display implement."""

    def reading(self, learner: Learner, metrics: dict[str, float]) -> None:
        """After every `log_every` iterations."""

    def checkpoint(self, learner: Learner, metrics: list[dict[str, float]]) -> None:
        """After every `checkpoint_every` iterations, and at the end."""


def run(learner: Learner, observers: tuple[Silent, ...] = (), seconds: float = 0.0) -> Result:
    """Iterates `learner` to the end of its configuration, its target, or an interrupt, which ends the iteration first.

    Args:
        observers: told of every reading and checkpoint.
        seconds: already spent, where this continues an earlier run.
    """
    config, metrics = learner.config, list[dict[str, float]]()
    start, ending = time.perf_counter() - seconds, "complete"
    with _interrupts() as interrupted:
        while learner.iteration < config.iterations:
            losses = learner.iterate()
            last = learner.iteration == config.iterations or bool(interrupted)
            if learner.iteration % config.log_every == 0 or last:
                metrics.append(read(learner, losses, time.perf_counter() - start))
                for observer in observers:
                    observer.reading(learner, metrics[-1])
                if _reached(learner, metrics[-1]):
                    ending, last = "target", True
            if learner.iteration % config.checkpoint_every == 0 or last:
                for observer in observers:
                    observer.checkpoint(learner, metrics)
            if interrupted and ending != "target" and learner.iteration < config.iterations:
                ending = "interrupted"
            if ending != "complete":
                break
    return Result(learner, metrics, ending)


def read(learner: Learner, losses: dict[str, Any], seconds: float) -> dict[str, float]:
    """The metrics as numbers: the one place where a GPU is waited for."""
    mean_return, mean_length = learner.window.mean()
    values = {"return": mean_return, "length": mean_length, "episodes": learner.window.count, **losses}
    numbers = {k: float(v) for k, v in values.items()}
    return {
        "iteration": learner.iteration,
        "steps": learner.steps,
        "seconds": round(seconds, 3),
        "time": round(time.time(), 3),
        **numbers,
    }


def _reached(learner: Learner, reading: dict[str, float]) -> bool:
    target = learner.config.target_return
    return target is not None and reading["episodes"] >= learner.window.size and reading["return"] >= target


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that is no longer empty after Ctrl-C or SIGTERM; a second Ctrl-C is not waited for."""
    received: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    try:
        before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone receives signals
        yield received
        return
    try:
        yield received
    finally:
        for number, old in before.items():
            signal.signal(number, old)
