"""The loop around a learner: iterate, read the metrics now and then, keep the run folder, stop when told."""

import math
import time
from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from gpusim.agents.parts.finite import remedy
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.signals import Interrupts, Stopped, handled
from gpusim.errors import NotFinite

LATE = 2  # readings that a GPU may be ahead of the host


class Result(NamedTuple):
    """What training gives back."""

    learner: Learner
    metrics: list[dict[str, float]]  # one for each reading
    ending: str  # "complete", "target" or "interrupted"
    signal: int = 0  # number of the one that interrupted; one that came with the last iteration finds the run complete


class Observer:
    """Told of a run as it goes, as run folder and display are; by itself it keeps nothing."""

    def begun(self, learner: Learner) -> None:
        """After the first iteration of this process, which may have compiled what all others use."""

    def reading(self, learner: Learner, metrics: dict[str, float]) -> None:
        """After every `log_every` iterations."""

    def checkpoint(self, learner: Learner, metrics: list[dict[str, float]], seconds: float = 0.0) -> None:
        """After every `checkpoint_every` iterations, and at the end, `seconds` after the beginning."""

    def ended(self) -> None:
        """After the last iteration, however it ended."""


Silent = Observer  # its name until 0.1; it goes with 0.2


def run(learner: Learner, observers: tuple[Observer, ...] = (), seconds: float = 0.0) -> Result:
    """Iterates `learner` to the end of its configuration, its target, or an interrupt (Ctrl-C, SIGTERM, SIGHUP).

    An interrupt ends the iteration first, and a checkpoint is made.

    Args:
        observers: told of every reading and checkpoint.
        seconds: already spent, where this continues an earlier run.

    Raises:
        Stopped: a `KeyboardInterrupt`, at once where a second interrupt comes, or one in the first iteration, which compiles
            and has nothing to keep.
        NotFinite: a reward, an observation, a weight or a loss is NaN or infinite; no observer is told of what came of it.
    """
    try:
        return _run(learner, observers, seconds)
    finally:
        for observer in observers:
            observer.ended()


def _run(learner: Learner, observers: tuple[Observer, ...], seconds: float) -> Result:
    config, metrics = learner.config, list[dict[str, float]]()
    start, ending = time.perf_counter() - seconds, "complete"
    pending, speed = deque[Reading](), Speed()

    def deliver(everything: bool) -> bool:
        """Hands on the readings that have arrived, or waits for all; whether the target is reached."""
        reached = False
        while pending and (everything or reached or len(pending) > LATE or pending[0].arrived()):
            metrics.append(pending.popleft().numbers(time.perf_counter() - start))
            metrics[-1]["steps_per_second"] = speed.since_last(metrics[-1]["steps"])
            for observer in observers:
                observer.reading(learner, metrics[-1])
            reached = reached or on_target(learner, metrics[-1])
        return reached

    interrupts, signal = Interrupts(), 0
    with handled(interrupts):
        while learner.iteration < config.iterations:
            rate, first = learner.learning_rate(), not interrupts.patient
            losses = _iterate(learner, interrupts)
            interrupts.patient = True
            if first:
                speed.begin(learner.steps)
                for observer in observers:
                    observer.begun(learner)
            signal = learner.world.agreed(interrupts.number)
            stop = bool(signal)  # one that comes after this waits for the next iteration and its checkpoint
            last = learner.iteration == config.iterations or stop
            kept = learner.iteration % config.checkpoint_every == 0
            if learner.iteration % config.log_every == 0 or last:
                pending.append(Reading(learner, losses, rate))
            reached = deliver(everything=last or kept)
            if config.target_return is not None and learner.world.agreed(reached):
                ending, last = "target", True
            if kept or last:
                learner.require_finite()
                for observer in observers:
                    observer.checkpoint(learner, metrics, time.perf_counter() - start)
            if stop and ending != "target" and learner.iteration < config.iterations:
                ending = "interrupted"
            if ending != "complete":
                break
    return Result(learner, metrics, ending, signal or interrupts.number)


def _iterate(learner: Learner, interrupts: Interrupts) -> dict[str, Tensor]:
    try:
        return learner.iterate()
    except Exception:
        if interrupts.number:  # a terminal sends it to the compilers and workers of a process too, which then fail
            raise Stopped(interrupts.number) from None
        raise


class Speed:
    """Environment steps per second from reading to reading, without the first iteration, which may have compiled."""

    def begin(self, steps: float) -> None:
        self.steps, self.time = steps, time.perf_counter()

    def since_last(self, steps: float) -> float:
        """NaN where there were none since."""
        before = self.steps, self.time
        self.begin(steps)
        return (steps - before[0]) / (self.time - before[1]) if steps > before[0] else math.nan


class Reading:
    """The metrics of one iteration, of all ranks, on their way to the host. A GPU is not waited for until `numbers` is asked
    for."""

    def __init__(self, learner: Learner, losses: dict[str, Tensor], learning_rate: float):
        window = learner.window.of_all()
        mean_return, mean_length = window.mean()
        greatest = learner.watch.greatest()
        values = {"return": mean_return, "length": mean_length, "episodes": window.count, **losses}
        values["greatest_weight"] = greatest
        self.names, self.iteration, self.steps = list(values), learner.iteration, learner.steps
        self.losses, self.learning_rate = list(losses) if learner.learning else [], learning_rate
        device = learner.env.device
        stacked = torch.stack([torch.as_tensor(v, device=device).detach().double() for v in values.values()])
        stacked = learner.world.mean(stacked)  # of losses; all else is the same on all ranks
        self.watch, report = learner.watch, learner.watch.report(greatest)
        self.values = torch.cat([report, stacked]).to("cpu", non_blocking=True)
        self.event = torch.cuda.Event() if device.type == "cuda" else None
        if self.event:
            self.event.record()

    def arrived(self) -> bool:
        return self.event is None or self.event.query()

    def numbers(self, seconds: float) -> dict[str, float]:
        """Raises NotFinite where they are of no use, as something that they come from is none."""
        if self.event:
            self.event.synchronize()
        report, values = self.values.tensor_split([len(self.values) - len(self.names)])
        metrics = dict(zip(self.names, values.tolist(), strict=True))
        self.watch.check(report.tolist(), self.iteration, metrics["return"])
        self._check(metrics)
        return {
            "iteration": self.iteration,
            "steps": self.steps,
            "seconds": round(seconds, 3),
            "time": round(time.time(), 3),
            **metrics,
            "learning_rate": self.learning_rate,
        }

    def _check(self, metrics: dict[str, float]) -> None:
        for name in self.losses:
            if not math.isfinite(metrics[name]):
                raise NotFinite(
                    f"the metric {name} is not finite (nan or infinite) after iteration {self.iteration:,}, though every "
                    f"weight is: {remedy(metrics['return'])}.",
                    name,
                    iteration=self.iteration,
                )


def on_target(learner: Learner, reading: dict[str, float]) -> bool:
    """Whether the target was reached at that reading."""
    target = learner.config.target_return
    enough = reading.get("episodes", 0) >= learner.window.size
    return target is not None and enough and reading.get("return", -math.inf) >= target
