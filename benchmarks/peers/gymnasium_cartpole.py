"""Gymnasium's own vectorized CartPole (NumPy), `make_vec(..., vectorization_mode="vector_entry_point")`."""

import math
import time

import gymnasium
from gymnasium.wrappers.vector import RecordEpisodeStatistics


class GymnasiumCartPole:
    """MODE is `step` (with Gymnasium's statistics wrapper) or `bare` (without); actions are drawn beforehand.

    Attributes:
        first_s: the first `steps` steps [s].
    """

    def __init__(self, num_envs: int, steps: int, mode: str, seconds: float):
        env = gymnasium.make_vec("CartPole-v1", num_envs, vectorization_mode="vector_entry_point")
        self.env = env if mode == "bare" else RecordEpisodeStatistics(env)
        self.env.action_space.seed(0)
        self.env.reset(seed=0)
        self.actions = [self.env.action_space.sample() for _ in range(steps)]
        self.first_s = self._run(1)
        self.repeats = max(1, math.ceil(seconds / min(self._run(1), self._run(1))))
        self.versions = {"gymnasium": gymnasium.__version__}

    def _run(self, repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            for action in self.actions:
                self.env.step(action)
        return time.perf_counter() - start

    def measure(self) -> float:
        return self.env.num_envs * len(self.actions) * self.repeats / self._run(self.repeats)

    def close(self) -> None:
        self.env.close()
