"""The loop around a learner: iterate, read the metrics now and then, keep the run folder, stop when told."""

import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from gpusim.agents.learner import Learner

LATE = 2  # readings that a GPU may be ahead of the host


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
    pending = deque[Reading]()

    def deliver(everything: bool) -> bool:
        """Hands on the readings that have arrived, or waits for all; whether the target is reached."""
        reached = False
        while pending and (everything or reached or len(pending) > LATE or pending[0].arrived()):
            metrics.append(pending.popleft().numbers(time.perf_counter() - start))
            for observer in observers:
                observer.reading(learner, metrics[-1])
            reached = reached or _reached(learner, metrics[-1])
        return reached

    with _interrupts() as interrupted:
        while learner.iteration < config.iterations:
            losses = learner.iterate()
            stop = bool(interrupted)  # one that comes after this waits for the next iteration and its checkpoint
            last = learner.iteration == config.iterations or stop
            kept = learner.iteration % config.checkpoint_every == 0
            if learner.iteration % config.log_every == 0 or last:
                pending.append(Reading(learner, losses))
            if deliver(everything=last or kept):
                ending, last = "target", True
            if kept or last:
                for observer in observers:
                    observer.checkpoint(learner, metrics)
            if stop and ending != "target" and learner.iteration < config.iterations:
                ending = "interrupted"
            if ending != "complete":
                break
    return Result(learner, metrics, ending)


class Reading:
    """The metrics of one iteration on their way to the host. A GPU is not waited for until `numbers` is asked for."""

    def __init__(self, learner: Learner, losses: dict[str, Any]):
        mean_return, mean_length = learner.window.mean()
        values = {"return": mean_return, "length": mean_length, "episodes": learner.window.count, **losses}
        self.names, self.iteration, self.steps = list(values), learner.iteration, learner.steps
        device = learner.env.device
        stacked = torch.stack([torch.as_tensor(v, device=device).detach().double() for v in values.values()])
        self.values = stacked.to("cpu", non_blocking=True)
        self.event = torch.cuda.Event() if device.type == "cuda" else None
        if self.event:
            self.event.record()

    def arrived(self) -> bool:
        return self.event is None or self.event.query()

    def numbers(self, seconds: float) -> dict[str, float]:
        if self.event:
            self.event.synchronize()
        return {
            "iteration": self.iteration,
            "steps": self.steps,
            "seconds": round(seconds, 3),
            "time": round(time.time(), 3),
            **dict(zip(self.names, self.values.tolist(), strict=True)),
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
