"""What is remembered of a population while it learns: the readings of every agent, and who went on until when."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusim.agents.population.learner import Population

OWN = "own {}"  # name of a setting among readings


class Record:
    """Readings, by agent's number from the beginning on; NaN where one is gone.

    Args:
        names: of settings that are remembered too, as they change.

    Attributes:
        numbers: `[P]`, of those that are there still.
    """

    def __init__(self, population: Population, names: Sequence[str] = ()):
        self.size, self.names = len(population), names
        self.numbers = np.arange(self.size)
        self.last = np.full(self.size, -1)  # the iteration of each one's last reading
        self.begun = time.perf_counter()
        self.readings: list[dict[str, Any]] = []  # of each: numbers of all, and arrays `[P]`

    @property
    def iteration(self) -> int:
        """Of the last reading; 0 before there is one."""
        return self.readings[-1]["iteration"] if self.readings else 0

    @torch.no_grad()
    def add(self, population: Population, metrics: dict[str, Tensor]) -> dict[str, Any]:
        """A reading after an iteration."""
        length = population.window("mean")[1]
        each = {
            "return": population.returns(),
            "length": length,
            "episodes": population.window.tensors["count"],
            **metrics,
        }
        each |= {"learning_rate": population.learning_rate()} | {OWN.format(n): population.own[n] for n in self.names}
        values = torch.stack([x.double() for x in each.values()]).cpu().numpy()
        reading: dict[str, Any] = {
            "iteration": population.iteration, "steps": population.steps,
            "seconds": round(time.perf_counter() - self.begun, 3), "time": round(time.time(), 3),
        }  # fmt: skip
        for name, found in zip(each, values, strict=True):
            reading[name] = np.full(self.size, math.nan)
            reading[name][self.numbers] = found
        self.readings.append(reading)
        self.last[self.numbers] = population.iteration
        return reading

    def keep(self, rows: Tensor) -> None:
        """Number i from now on is what was number `rows[i]`."""
        self.numbers = self.numbers[rows.cpu().numpy()]

    def of(self, number: int) -> list[dict[str, float]]:
        """The readings of an agent, as its run would have them."""
        before, found = (0.0, 0), list[dict[str, float]]()
        for reading in self.readings:
            if reading["iteration"] > self.last[number]:
                break
            took, made = reading["seconds"] - before[0], reading["steps"] - before[1]
            own = {name: float(x[number]) if isinstance(x, np.ndarray) else x for name, x in reading.items()}
            own = {name: x for name, x in own.items() if not name.startswith(OWN.format(""))}
            found.append(own | {"steps_per_second": made / took if took > 0 else math.nan})
            before = reading["seconds"], reading["steps"]
        return found

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps `[R]` and the values `[R, P]`."""
        steps = np.array([reading["steps"] for reading in self.readings], float)
        return steps, np.stack([reading[name] for reading in self.readings])
