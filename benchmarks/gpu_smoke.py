"""The first minute on a GPU: whether kernels run at all, and agree with what they stand for.

    python benchmarks/gpu_smoke.py

A line for each check, with what it found, how long it took and how many kernels came from Triton's cache; what fails does
not keep the rest from running. Ends with code 1 where something failed, and with 2 without a GPU.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from compilations import listen, told
from report import say

import gpusim
from gpusim.agents.dqn import DQN
from gpusim.agents.dqn import Config as DQNConfig
from gpusim.agents.ppo import PPO
from gpusim.agents.ppo import Config as PPOConfig
from gpusim.kernels.twin import twins
from tests.kernels.twins import agree

STEPS, ENVS = 20, 1000
NEAR = 1e-3


def compared(env: str) -> str:
    """The same rollout by the kernel and eagerly."""
    both = [gpusim.make(env, ENVS, device="cuda", backend=backend) for backend in ("triton", "eager")]
    for vec in both:
        vec.reset(seed=3)
    ours, theirs = (vec.rollout(STEPS) for vec in both)
    apart = [int((a != b).sum()) for a, b in zip(ours[1:5:2], theirs[1:5:2], strict=True)]
    worst = float((ours.obs.float() - theirs.obs.float()).abs().max())
    return passed(max(apart) <= 1 and worst < NEAR, f"actions and ends apart: {apart}, observations by {worst:.1e}")


def gradient() -> str:
    """PPO's against autograd in float64."""
    twin = twins()["ppo_gradient"]
    agree(twin, twin.cases[0], "cuda")
    return "PPO's is float64's"


def ppo() -> str:
    """Iterations of PPO by kernels alone, captured as a graph."""
    learner = PPO(PPOConfig(num_envs=1024, num_steps=16, device="cuda", total_steps=10**9))
    losses = [learner.iterate() for _ in range(4)][-1]
    finite = all(bool(torch.isfinite(torch.as_tensor(x)).all()) for x in losses.values())
    whole = learner.fused is not None and learner.fused.captured.graph is not None
    return passed(finite and whole, f"{learner.path}, a graph: {whole}, finite: {finite}, {per_iteration(learner)}")


def dqn() -> str:
    """Iterations of DQN, captured as graphs."""
    learner = DQN(
        DQNConfig(num_envs=256, num_steps=8, learning_starts=4096, batch_size=64, device="cuda", total_steps=10**9)
    )
    for _ in range(6):
        learner.iterate()
    graphs = [captured.graph is not None for captured in learner.graphed.captured.values()]
    return passed(bool(graphs) and any(graphs), f"{sum(graphs)} graphs, {per_iteration(learner)}")


def per_iteration(learner: Any, often: int = 20) -> str:
    """The time of one, launched and done, as far as one wall clock tells."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(often):
        learner.iterate()
    torch.cuda.synchronize()
    return f"{(time.perf_counter() - start) / often * 1e3:.2f} ms an iteration"


def passed(good: bool, words: str) -> str:
    """The words of a check.

    Raises:
        AssertionError: it is not good.
    """
    if not good:
        raise AssertionError(words)
    return words


def check_of(env: str) -> Callable[[], str]:
    check = partial(compared, env)
    check.__name__ = env  # type: ignore[attr-defined]
    return check


CHECKS: tuple[Callable[[], str], ...] = (
    *map(check_of, ("CartPole-v1", "Pendulum-v1", "MinAtar/Breakout-v1")),
    gradient,
    ppo,
    dqn,
)


def main() -> int:
    if not torch.cuda.is_available():
        say(f"benchmarks/gpu_smoke.py needs a CUDA GPU, and torch {torch.__version__} finds none on this machine.")
        return 2
    loaded, bad = listen(), 0
    for check in CHECKS:
        start, before = time.perf_counter(), len(loaded)
        try:
            verdict = f"ok: {check()}"
        except Exception as problem:
            verdict, bad = f"FAILED: {type(problem).__name__}: {' '.join(str(problem).split())[-600:]}", bad + 1
        seconds = time.perf_counter() - start
        print(f"{check.__name__} {verdict} ({seconds:.1f} s; {told(loaded[before:])})", flush=True)
    print(f"{len(CHECKS) - bad} of {len(CHECKS)} checks passed; {told(loaded)}")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
