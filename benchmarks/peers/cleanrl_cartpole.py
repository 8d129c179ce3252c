"""CleanRL's single files learn CartPole as published; one line of JSON tells how long.

    CLEANRL=CHECKOUT python cleanrl_cartpole.py {ppo,dqn} SEED TARGET

CHECKOUT is a copy of its repository (vwxyzjn/cleanrl), which the user brings: its package on PyPI needs a Python older
than 3.11. The file runs as it is, with its own settings, and prints every episode that ends; when the last 100 of them
average the target it is stopped, and the network that it holds then is scored.
"""

import contextlib
import importlib.metadata
import io
import json
import os
import re
import runpy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from score import mean_return

LEARNERS = [
    {
        "name": "CleanRL",
        "algorithms": ("ppo", "dqn"),
        "differs": "As published, stopped at the target.",
        "checkout": "CLEANRL",
        "repository": "vwxyzjn/cleanrl",
    }
]
REPORT = re.compile(r"global_step=(\d+), episodic_return=\[?([\d.]+)")


class Solved(Exception):
    pass


class Watch(io.TextIOBase):
    """Standard output that raises `Solved` when the last 100 episodes average `target`."""

    def __init__(self, target: float):
        self.target, self.steps = target, 0
        self.returns: list[float] = []

    def write(self, text: str) -> int:
        for step, value in REPORT.findall(text):
            self.steps, self.returns = int(step), [*self.returns[-99:], float(value)]
            if len(self.returns) == 100 and sum(self.returns) >= 100 * self.target:
                raise Solved
        return len(text)


def run(file: Path, seed: int, watch: Watch) -> tuple[bool, dict[str, Any]]:
    """Whether it was solved, and the names that the file held when it ended or was stopped."""
    sys.argv = [str(file), "--seed", str(seed), "--env-id", "CartPole-v1"]
    try:
        with contextlib.redirect_stdout(watch):
            return False, runpy.run_path(str(file), run_name="__main__")
    except Solved as stop:
        at = stop.__traceback__
        while at and at.tb_frame.f_globals.get("__file__") != str(file):
            at = at.tb_next
        assert at
        return True, dict(at.tb_frame.f_globals)


def main(algorithm: str, seed: int, target: float) -> None:
    checkout = os.environ.get("CLEANRL", "")
    file = Path(checkout).resolve() / "cleanrl" / f"{algorithm}.py"
    if not checkout or not file.is_file():
        sys.exit("needs a checkout of vwxyzjn/cleanrl: set CLEANRL to its folder")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    sys.path.insert(0, str(file.parents[1]))
    torch.set_num_threads(1)  # for networks of this size the fastest
    watch = Watch(target)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # where it writes its logs
        begin = time.time()
        solved, names = run(file, seed, watch)
        end = time.time()
    network = names["agent"].actor if algorithm == "ppo" else names["q_network"]

    @torch.no_grad()
    def greedy(seen):
        return network(torch.as_tensor(seen)).argmax(-1).numpy()

    found = {"solved": solved, "time": end, "training": end - begin, "steps": watch.steps}
    found |= {"score": mean_return(greedy, seed + 10_000)}
    versions = {name: importlib.metadata.version(name) for name in ("gymnasium", "torch")}
    print(json.dumps(found | {"versions": versions}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
