"""Stable-Baselines3 learns CartPole with the settings of RL Baselines3 Zoo, tuned for it; one line of JSON tells how long.

    python sb3_cartpole.py {ppo,dqn} SEED TARGET

Run by `time_to_solve.py` in the virtual environment that `make peers` makes.
"""

import importlib.metadata
import json
import sys
import time
from typing import Any

import torch
from score import mean_return
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

LEARNERS = [
    {
        "name": "Stable-Baselines3",
        "algorithms": ("ppo", "dqn"),
        "differs": "The settings of RL Baselines3 Zoo.",
    }
]
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {
        "envs": 8,
        "steps": 100_000,
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "ent_coef": 0.0,
        "learning_rate": lambda left: 1e-3 * left,
        "clip_range": lambda left: 0.2 * left,
    },
    "dqn": {
        "envs": 1,
        "steps": 50_000,
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
}


class Until(BaseCallback):
    """Stops when the last 100 episodes of training return `target` on average."""

    def __init__(self, target: float):
        super().__init__()
        self.target, self.solved = target, False

    def _on_step(self) -> bool:
        ended = self.model.ep_info_buffer or ()
        self.solved = len(ended) == 100 and sum(e["r"] for e in ended) >= 100 * self.target
        return not self.solved


def learn(algorithms: dict[str, Any], packages: tuple[str, ...], algorithm: str, seed: str, target: str) -> None:
    torch.set_num_threads(1)  # for networks of this size the fastest
    settings = dict(SETTINGS[algorithm])
    envs, steps = settings.pop("envs"), settings.pop("steps")
    env = make_vec_env("CartPole-v1", n_envs=envs, seed=int(seed))
    model = algorithms[algorithm]("MlpPolicy", env, seed=int(seed), device="cpu", **settings)
    begin, until = time.time(), Until(float(target))
    model.learn(steps, callback=until)
    end = time.time()
    score = mean_return(lambda seen: model.predict(seen, deterministic=True)[0], int(seed) + 10_000)
    versions = {name: importlib.metadata.version(name) for name in packages}
    found = {"solved": until.solved, "time": end, "training": end - begin, "steps": model.num_timesteps, "score": score}
    print(json.dumps(found | {"versions": versions}))


if __name__ == "__main__":
    learn({"ppo": PPO, "dqn": DQN}, ("stable-baselines3", "gymnasium", "torch"), *sys.argv[1:])
