"""One of the ranks that `benchmarks/ranks.py` has torchrun start: how a run begins, how it goes on, and what sums cost.

torchrun --nproc-per-node 2 benchmarks/one_rank.py ENV TOTAL_STEPS OUT
"""

import hashlib
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from gpusim.agents.parts.world import World
from gpusim.agents.ppo import PPO, Config
from gpusim.agents.train import ranks
from gpusim.agents.train.loop import Observer, run
from gpusim.agents.train.run import preset
from gpusim.rollout import Rollout

ITERATIONS = 40  # timed ones


class Noted(Observer):
    def __init__(self) -> None:
        self.curve: list[tuple[float, float]] = []

    def reading(self, learner: Any, metrics: dict[str, float]) -> None:
        self.curve.append((metrics["steps"], metrics["return"]))

    def checkpoint(self, learner: Any, metrics: Any, seconds: float = 0.0) -> None:
        """None is kept."""


class Remembering(PPO):
    rollout: Rollout  # the last

    def collect(self, num_steps: int) -> Rollout:
        self.rollout = super().collect(num_steps)
        return self.rollout


def settings(env: str, total_steps: int) -> Config:
    config: Config = preset("ppo", env, device="cpu", total_steps=total_steps)
    return replace(config, shards=8)


def beginning(config: Config, world: World) -> dict[str, Any]:
    """The digest of the first rollout of all environments, and the weights after one iteration."""
    learner = Remembering(config)
    learner.iterate()
    found = hashlib.sha256()
    for name in ("obs", "action", "reward", "terminated", "truncated"):
        x = getattr(learner.rollout, name)
        each = x.unsqueeze(0) if world.alone else world.gathered(x)
        found.update(each.movedim(0, 1).flatten(1, 2).contiguous().numpy().tobytes())
    return {"digest": found.hexdigest(), "weights": torch.cat(learner.weights()).tolist()}


def cost(config: Config, world: World) -> dict[str, float]:
    """Milliseconds of an iteration in which every rank has as many environments as `config` names, of its sums, in which is
    what a rank waits for others, and of a sum of gradients alone."""
    learner, spent = PPO(replace(config, num_envs=config.num_envs * world.size)), 0.0
    reduce = dist.all_reduce

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal spent
        start = time.perf_counter()
        found = reduce(*args, **kwargs)
        spent += time.perf_counter() - start
        return found

    dist.all_reduce = timed
    learner.iterate()
    iterations, sums = [], []
    for _ in range(ITERATIONS):
        start, spent = time.perf_counter(), 0.0
        learner.iterate()
        iterations.append(time.perf_counter() - start)
        sums.append(spent)
    dist.all_reduce = reduce
    fast, gradient, alone = int(np.argmin(iterations)), learner.optimizer.grad.clone(), []
    for _ in range(2000):
        start = time.perf_counter()
        world.mean_(gradient)
        alone.append(time.perf_counter() - start)
    return {
        "steps": learner.config.steps_per_iteration,
        "median_ms": 1e3 * float(np.median(iterations)),
        "median_sums_ms": 1e3 * float(np.median(sums)),
        "least_ms": 1e3 * iterations[fast],
        "least_sums_ms": 1e3 * sums[fast],
        "gradient": gradient.numel(),
        "gradient_sum_ms": 1e3 * min(alone) if world.size > 1 else 0.0,
    }


def main(env: str, total_steps: int, out: Path) -> None:
    with ranks.joined(sys.argv[1:]) as world:
        config, noted = settings(env, total_steps), Noted()
        found = {"ranks": world.size, "env": env, **beginning(config, world), "cost": cost(config, world)}
        seconds = time.perf_counter()
        run(PPO(config), (noted,))
        found |= {"curve": noted.curve, "seconds": time.perf_counter() - seconds}
        if world.first:
            out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
