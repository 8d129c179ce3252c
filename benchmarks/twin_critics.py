"""What twin critics cost as one batched product a layer, and as two networks one after the other.

    python benchmarks/twin_critics.py [--device cpu] [--rounds 100]

A pass is values of a batch and the gradient of their squared errors. Of each way the least time of a round counts, the two
taking turns. On a GPU passes are replayed as graphs, as learners do.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gpusim.agents.bench.provenance import hardware, provenance
from gpusim.agents.parts.graph import Captured
from gpusim.agents.parts.networks import Build
from gpusim.agents.parts.twin import TwinCritic

SIZES = [((64, 64), 128), ((64, 64), 256), ((256, 256), 256), ((256, 256), 2048)]  # hidden layers, batch
OBS, ACTION, PASSES = 17, 6, 4


@dataclass(frozen=True)
class Config:
    """Twin critics as one network and as two."""

    device: str = "cpu"
    """Where."""
    rounds: int = 100
    """Of `PASSES` passes each."""


def passes(hidden: tuple[int, ...], batch: int, device: torch.device) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One pass of both critics at once, and of one after the other."""
    build, draw = Build("relu", torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    twin = TwinCritic(OBS + ACTION, hidden, 1, build).to(device)
    pair = [build.mlp([OBS + ACTION, *hidden, 1], 1.0).to(device) for _ in range(2)]
    obs, action, target = (torch.randn(batch, n, generator=draw).to(device) for n in (OBS, ACTION, 1))

    def together() -> None:
        (twin(obs, action) - target).square().mean().backward()

    def apart() -> None:
        x = torch.cat([obs, action], -1)
        sum((one(x) - target).square().mean() for one in pair).backward()

    return Captured(together, device), Captured(apart, device)


def seconds(function: Callable[[], Any], device: torch.device) -> float:
    """Of one call."""
    start = time.perf_counter()
    for _ in range(PASSES):
        function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / PASSES


def main(config: Config) -> None:
    device, result = torch.device(config.device), {"device": config.device, **provenance()}
    torch.set_num_threads(1)
    print("| hidden layers | batch | together [µs] | apart [µs] | ratio |\n|---|---:|---:|---:|---:|")
    for hidden, batch in SIZES:
        both = passes(hidden, batch, device)
        for function in both:
            seconds(function, device)
        turns = [[seconds(function, device) for function in both] for _ in range(config.rounds)]
        one, two = (1e6 * min(times) for times in zip(*turns, strict=True))
        print(f"| {' × '.join(map(str, hidden))} | {batch:,} | {one:,.0f} | {two:,.0f} | {two / one:.2f} |")
    print(f"\nOn {hardware(result, config.device)}, load {result['load']}; torch {result['versions']['torch']}.")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Config))
