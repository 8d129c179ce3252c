"""What every driver does around its rollout: it measures when `benchmarks/throughput.py` asks, by the peer's own Python.

    .venv-PEER/bin/python DRIVER.py ENV NUM_ENVS STEPS MODE SECONDS

Once compiled and warm it prints one line of JSON, `{"first_s": ..., "versions": {...}}`. For each line that it then reads
it prints a number: the environment steps per second of one round of about SECONDS. At the end of its input it stops.
Only the Python standard library is used here, since every peer has a virtual environment of its own.
"""

import importlib.metadata
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Request(NamedTuple):
    """The command line."""

    env: str
    num_envs: int
    steps: int
    mode: str
    seconds: float


def request() -> Request:
    env, num_envs, steps, mode, seconds = sys.argv[1:]
    return Request(env, int(num_envs), int(steps), mode, float(seconds))


def serve(run: Callable[[int], int], seconds: float, packages: Iterable[str], **facts: Any) -> None:
    """Measures `run`, which makes so many calls, waits until the device has finished them, and returns the number of
    transitions that they made. `facts` are put beside the versions of `packages`."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints of its own accord must not look like an answer

    def timed(calls: int) -> tuple[float, int]:
        start = time.perf_counter()
        made = run(calls)
        return time.perf_counter() - start, made

    def answer(value: Any) -> None:
        print(json.dumps(value), file=out, flush=True)

    first_s, _ = timed(1)
    calls, (took, _) = 1, timed(1)
    while took < seconds / 4:
        calls *= 2
        took, _ = timed(calls)
    calls = max(1, math.ceil(calls * seconds / took))
    versions = {name: importlib.metadata.version(name) for name in packages}
    answer({"first_s": first_s, "versions": versions | facts})
    for _ in sys.stdin:
        took, made = timed(calls)
        answer(made / took)
