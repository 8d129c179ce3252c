"""Curves of learning on the CPU, which the GPU's are held against; they take minutes, so they are kept in `curves.json`.

python -m tests.gpu.curves  # makes the file anew, when a preset has changed
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from gpusim.agents.train.loop import run
from gpusim.agents.train.run import make_learner, preset

FILE = Path(__file__).with_name("curves.json")
ENVS = ("CartPole-v1", "Pendulum-v1")
SEEDS = range(8)
PARTS = 5


def config(env: str, device: str, seed: int) -> Any:
    return preset("ppo", env, device=device, seed=seed, log_every=1)


def settings(env: str) -> dict[str, Any]:
    """What a curve depends on, as JSON has it."""
    fields = dataclasses.asdict(config(env, "cpu", 0))
    return json.loads(json.dumps({k: v for k, v in fields.items() if k not in ("device", "seed")}))


def curve(env: str, device: str, seed: int) -> torch.Tensor:
    """The training return at every fifth of the run, `[PARTS]`."""
    metrics = run(make_learner("ppo", config(env, device, seed))).metrics
    values = torch.tensor([m["return"] for m in metrics])
    return torch.stack([part[~part.isnan()].mean() for part in values.tensor_split(PARTS)])


def kept(env: str) -> torch.Tensor:
    """The CPU's, `[seeds, PARTS]`."""
    return torch.tensor(json.loads(FILE.read_text())[env]["curves"])


def main() -> None:
    made = {env: {"settings": settings(env), "curves": []} for env in ENVS}
    for env in ENVS:
        for seed in SEEDS:
            made[env]["curves"].append([round(x, 3) for x in curve(env, "cpu", seed).tolist()])
            print(env, seed, made[env]["curves"][-1], flush=True)
    FILE.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
