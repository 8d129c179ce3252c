"""Stable-Baselines3's loop, and PPO of a few iterations."""

from collections.abc import Callable

import torch
from stable_baselines3 import PPO
from torch import Tensor

import gpusim
from gpusim.adapters import to_sb3

TRAINER, LIBRARY, ENV, MODE, COPIES = "Stable-Baselines3", "stable-baselines3", "CartPole-v1", "same_step", 2


def through(num_envs: int, device: torch.device, actions: Tensor) -> Callable[[], object]:
    env = to_sb3(gpusim.make(ENV, num_envs, device=device))
    env.seed(0)
    env.reset()
    arrays = list(actions.cpu().numpy())

    def play() -> None:
        for array in arrays:
            env.step(array)

    return play


def train(device: torch.device) -> tuple[str, int]:
    model = PPO(
        "MlpPolicy", to_sb3(gpusim.make(ENV, 64, device=device)), n_steps=64, batch_size=1024, n_epochs=4, seed=0
    )
    model.learn(3 * 64 * 64)
    if not model.ep_info_buffer or model.logger.name_to_value.get("train/loss") is None:
        raise RuntimeError("nothing was learnt from")
    return "PPO", model.num_timesteps
