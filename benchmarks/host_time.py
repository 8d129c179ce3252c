"""What the host does for a `rollout`, a `step` and an iteration: processor time a call, over the stub driver.

    python benchmarks/host_time.py

Nothing is computed and no GPU is needed: Triton's own launcher runs, and torch's operations run on tensors of the CPU, so
small that they cost their overhead. Those of a GPU cost the host more, so their number is told beside the time. A graph's
replay, one call, is left out of an iteration.
"""

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

import stub.driver
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import gpusim
from gpusim.agents.ppo import PPO, Config
from gpusim.agents.train.loop import Reading

ENVS = ("CartPole-v1", "Pendulum-v1", "MinAtar/Breakout-v1")
NUM_ENVS = 32


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def processor_time(call: Callable[[], object], repeats: int, times: int = 200) -> float:
    """Of a call in µs: the least mean of `times` calls."""
    for _ in range(20):
        call()
    gc.collect()
    means = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(times):
            call()
        means.append((time.process_time() - start) / times)
    return 1e6 * min(means)


def operations(call: Callable[[], object]) -> int:
    with Counting() as counting:
        call()
    return counting.count


def environment_calls(id: str) -> dict[str, Callable[[], object]]:
    env = gpusim.make(id, NUM_ENVS, device="cpu", backend="triton", validate=False)
    env.reset(seed=0)
    action = torch.zeros_like(env.rollout(1).action[0])
    return {
        "rollout, 16 steps": lambda: env.rollout(16),
        "rollout, 1,024 steps": lambda: env.rollout(1024),
        "rollout, statistics": lambda: env.rollout(16, transitions=False),
        "step": lambda: env.step(action),
    }


def iteration_calls() -> dict[str, Callable[[], object]]:
    config = Config(
        env="CartPole-v1", num_envs=NUM_ENVS, num_steps=4, minibatches=2, hidden=(16, 16), device="cpu", backend="triton",
        total_steps=10**9,
    )  # fmt: skip
    learner = PPO(config)
    losses = learner.iterate()
    fused: Any = learner.fused
    fused.captured = lambda: None  # where a GPU replays its graph
    return {"iteration of PPO": learner.iterate, "reading of its metrics": lambda: Reading(learner, losses, 0.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=25, help="of 200 calls each; the least counts")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    stub.driver.start()
    print(f"{'':22}{'':24}{'µs':>6}{'operations of torch':>22}")
    for id in (*ENVS, None):
        for name, call in (environment_calls(id) if id else iteration_calls()).items():
            print(
                f"{id or 'CartPole-v1':22}{name:24}{processor_time(call, repeats):6.0f}{operations(call):22}",
                flush=True,
            )


if __name__ == "__main__":
    main()
