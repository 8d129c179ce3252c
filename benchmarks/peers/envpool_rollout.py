"""EnvPool in its synchronous mode: all environments step together, in C++ threads; as many of these as prove fastest.

MODE is `step` (returns and lengths of episodes kept in NumPy) or `bare` (without); actions are drawn beforehand. The step
after the last one of an episode only resets: it is no transition and is not counted.
"""

import os
import time

import envpool
import numpy as np
from serve import Request, request, serve

PEERS = [
    {
        "name": "EnvPool",
        "runs": "C++ threads",
        "envs": {
            "CartPole-v1": "{id}",
            "Acrobot-v1": "{id}",
            "MountainCar*": "{id}",
            "Pendulum-v1": "{id}",
            "Highway/highway-fast-v0": "HighwayFast-v0",
            "Highway/highway-v0": "Highway-v0",
            "Highway/parking-v0": "Parking-v0",
        },
        "modes": ("step", "bare"),
        "differs": "Steps in float64 and shows float32; a reset takes a step of its own, which is not counted; statistics "
        "are kept in NumPy, by the driver.",
    }
]


class Pool:
    """The environments, stepped by so many threads."""

    def __init__(self, asked: Request, threads: int):
        self.env = envpool.make(asked.env, env_type="gymnasium", num_envs=asked.num_envs, num_threads=threads, seed=0)
        space = self.env.action_space
        space.seed(0)
        shape = (asked.num_envs, *space.shape)
        draw = np.random.default_rng(0)
        if hasattr(space, "n"):
            self.actions = [draw.integers(space.n, size=shape, dtype=np.int32) for _ in range(asked.steps)]
        else:
            self.actions = [draw.uniform(space.low, space.high, shape).astype(space.dtype) for _ in range(asked.steps)]
        self.statistics = asked.mode != "bare"
        self.returns, self.lengths = np.zeros(asked.num_envs, np.float32), np.zeros(asked.num_envs, np.int32)
        self.total, self.episodes, self.ended, self.at = 0.0, 0, 0, 0
        self.env.reset()

    def run(self, calls: int) -> int:
        made = 0
        for _ in range(calls):
            _, reward, terminated, truncated, _ = self.env.step(self.actions[self.at])
            made += len(reward) - self.ended
            done = terminated | truncated
            self.ended = int(np.count_nonzero(done))
            self.at = (self.at + 1) % len(self.actions)
            if self.statistics:
                self._keep(reward, done)
        return made

    def _keep(self, reward: np.ndarray, done: np.ndarray) -> None:
        self.returns += reward
        self.lengths += 1
        if self.ended:
            self.total += float(self.returns[done].sum())
            self.episodes += self.ended
            self.returns[done] = 0
            self.lengths[done] = -1  # the step that resets adds one


def fastest(asked: Request) -> int:
    """The number of threads that steps most, tried for a fifth of a second each."""
    rates = {}
    for threads in sorted({1, max(1, len(os.sched_getaffinity(0)) // 2), len(os.sched_getaffinity(0))}):
        pool = Pool(asked, threads)
        pool.run(2)
        start, made = time.perf_counter(), 0
        while time.perf_counter() < start + 0.2:
            made += pool.run(1)
        rates[threads] = made / (time.perf_counter() - start)
    return max(rates, key=rates.__getitem__)


def main() -> None:
    asked = request()
    threads = fastest(asked)
    serve(Pool(asked, threads).run, asked.seconds, ("envpool", "numpy"), threads=threads)


if __name__ == "__main__":
    main()
