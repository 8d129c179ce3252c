"""Until the mode of a policy swings the pendulum up: what learners of continuous actions are timed by."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from score import mean_return

ENV = "Pendulum-v1"
EVERY = 512  # environment steps between two evaluations
EPISODES = 10  # of an evaluation


class Until:
    """Asks now and then how well a policy does, and stops the clock while it asks.

    Args:
        act: (episodes, 3) observations to actions, by the policy's mode.
        target: the mean return of `EPISODES` episodes that counts as solved.
    """

    def __init__(self, act: Callable[[np.ndarray], np.ndarray], seed: int, target: float):
        self.act, self.seed, self.target = act, seed, target
        self.begin, self.asking, self.solved, self.next = time.time(), 0.0, False, EVERY

    def reached(self, steps: int) -> bool:
        """Whether it is solved, after so many environment steps."""
        if steps >= self.next and not self.solved:
            start, self.next = time.time(), steps + EVERY
            self.solved = mean_return(self.act, self.seed + 10_000, EPISODES, ENV) >= self.target
            self.asking += time.time() - start
        return self.solved

    def tell(self, steps: int, versions: dict[str, str]) -> None:
        """Prints the line that `time_to_solve.py` reads; the time is without that of the evaluations."""
        end = time.time() - self.asking
        score = mean_return(self.act, self.seed + 20_000, 100, ENV)
        found: dict[str, Any] = {"solved": self.solved, "time": end, "training": end - self.begin, "steps": steps}
        print(json.dumps(found | {"score": score, "versions": versions}))
