"""Measures one trainer's adapter in this Python and prints one line of JSON; `benchmarks/adapters.py` says what is in it.

python -P benchmarks/trainers/run.py NAME [--device cpu] [--sizes 64 4096] [--rounds 9] [--seconds 0.3]
"""

import argparse
import importlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(Path(__file__).parent)), str(ROOT / "benchmarks")]

import torch  # noqa: E402
from gymnasium.spaces import Discrete  # noqa: E402

import gpusim  # noqa: E402

STEPS = 64  # of one play


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 4096])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        driver: Any = importlib.import_module(f"trainers.{args.name}")
        found = measured(driver, args)
    except (gpusim.InputError, ModuleNotFoundError, PackageNotFoundError) as problem:
        found = {"missing": str(problem)}
    print(json.dumps({"name": args.name} | found), flush=True)


def measured(driver: Any, args: Any) -> dict[str, Any]:
    device = gpusim.checks.device(args.device)
    beside = {name: version(name) for name in ("torch", "gymnasium", "numpy")}
    return {
        "trainer": driver.TRAINER,
        "library": driver.LIBRARY,
        "version": version(driver.LIBRARY),
        "env": driver.ENV,
        "autoreset_mode": driver.MODE,
        "copies_per_step": driver.COPIES,
        "device": str(device),
        "python": platform.python_version(),
        "beside": beside,
        "rows": [row(driver, num_envs, device, args) for num_envs in args.sizes],
        "training": trained(driver, device),
    }


def row(driver: Any, num_envs: int, device: torch.device, args: Any) -> dict[str, Any]:
    """Steps per second through the adapter and of the bare environment, measured in turns with the same actions."""
    env = gpusim.make(driver.ENV, num_envs, device=device, autoreset_mode=driver.MODE)
    actions = random_actions(env.single_action_space, num_envs).to(device)
    plays = {"through": driver.through(num_envs, device, actions), "bare": bare(env, actions)}
    rates: dict[str, list[float]] = {who: [] for who in plays}
    for play in plays.values():
        play()
    for _ in range(args.rounds):
        for who, play in plays.items():
            rates[who].append(rate(play, num_envs, device, args.seconds))
    through, alone = (statistics.median(rates[who]) for who in ("through", "bare"))
    taxes = [b / t for b, t in zip(rates["bare"], rates["through"], strict=True)]
    spread = {"tax_low": min(taxes), "tax_high": max(taxes)}
    return {"num_envs": num_envs, "through": through, "bare": alone, "tax": statistics.median(taxes), **spread}


def random_actions(space: Any, num_envs: int) -> torch.Tensor:
    """`[STEPS, N]` or `[STEPS, N, d]`, the same in every process."""
    draw = torch.Generator().manual_seed(0)
    if isinstance(space, Discrete):
        return torch.randint(int(space.n), (STEPS, num_envs), generator=draw)
    low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
    return low + (high - low) * torch.rand((STEPS, num_envs, *space.shape), generator=draw)


def bare(env: gpusim.VectorEnv, actions: torch.Tensor) -> Callable[[], object]:
    """What steps the environment itself, resetting by a mask where it does not reset itself."""
    env.reset(seed=0)
    by_mask = env.autoreset_mode.name == "DISABLED"

    def play() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if by_mask and (over := terminated | truncated).any():
                env.reset(options={"reset_mask": over})

    return play


def rate(play: Callable[[], object], num_envs: int, device: torch.device, seconds: float) -> float:
    """Environment steps per second over at least `seconds`."""
    begin, plays = time.perf_counter(), 0
    while True:
        play()
        plays += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if (taken := time.perf_counter() - begin) >= seconds:
            return plays * STEPS * num_envs / taken


def trained(driver: Any, device: torch.device) -> dict[str, Any] | None:
    """A few iterations with the real library; None where there is no trainer."""
    if not hasattr(driver, "train"):
        return None
    begin = time.perf_counter()
    algorithm, steps = driver.train(device)
    seconds = time.perf_counter() - begin
    return {"algorithm": algorithm, "steps": steps, "seconds": seconds, "steps_per_s": steps / seconds}


if __name__ == "__main__":
    main()
