"""Stable-Baselines3 learns Pendulum with the settings of RL Baselines3 Zoo; one line of JSON tells how long.

    python sb3_pendulum.py sac SEED TARGET

Run by `time_to_solve.py` in the virtual environment that `make peers` makes.
"""

import importlib.metadata
import sys
from typing import Any

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from until import ENV, Until

LEARNERS = [{"name": "Stable-Baselines3", "algorithms": ("sac",), "differs": "The settings of RL Baselines3 Zoo."}]
STEPS, SETTINGS = 20_000, {"learning_rate": 1e-3}


class Asking(BaseCallback):
    """Stops when it is solved."""

    def __init__(self, until: Until):
        super().__init__()
        self.until = until

    def _on_step(self) -> bool:
        return not self.until.reached(self.num_timesteps)


def learn(algorithm: Any, packages: tuple[str, ...], seed: str, target: str) -> None:
    torch.set_num_threads(1)  # for networks of this size the fastest
    model = algorithm("MlpPolicy", ENV, seed=int(seed), device="cpu", **SETTINGS)
    until = Until(lambda seen: model.predict(seen, deterministic=True)[0], int(seed), float(target))
    model.learn(STEPS, callback=Asking(until))
    until.tell(model.num_timesteps, {name: importlib.metadata.version(name) for name in packages})


if __name__ == "__main__":
    learn(SAC, ("stable-baselines3", "gymnasium", "torch"), *sys.argv[2:])
