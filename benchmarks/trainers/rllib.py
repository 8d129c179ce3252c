"""RLlib: the vector environment as its runner makes it, and PPO of two iterations."""

import os
from collections.abc import Callable
from pathlib import Path

import gymnasium
import ray
import torch
from gymnasium.wrappers.vector import DictInfoToList
from ray.rllib.algorithms.ppo import PPOConfig
from torch import Tensor

from gpusim.adapters import to_rllib
from gpusim.adapters.rllib import Maker

TRAINER, LIBRARY, ENV, MODE, COPIES = "RLlib", "ray", "CartPole-v1", "next_step", 2
ROOT = Path(__file__).resolve().parents[2]


def through(num_envs: int, device: torch.device, actions: Tensor) -> Callable[[], object]:
    make = Maker(ENV, device=device)
    gymnasium.register("gpusim-rllib-v0", vector_entry_point=lambda **settings: make(settings))
    env = DictInfoToList(gymnasium.make_vec("gpusim-rllib-v0", num_envs, vectorization_mode="vector_entry_point"))
    gymnasium.registry.pop("gpusim-rllib-v0")
    env.reset(seed=0)
    arrays = list(actions.cpu().numpy())

    def play() -> None:
        for array in arrays:
            env.step(array)

    return play


def train(device: torch.device) -> tuple[str, int]:
    os.environ["PYTHONPATH"] = str(ROOT)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    config = (
        PPOConfig()
        .environment(to_rllib(ENV, device=str(device)))
        .env_runners(num_env_runners=0, num_envs_per_env_runner=32, gym_env_vectorize_mode="vector_entry_point")
        .training(train_batch_size_per_learner=2048, minibatch_size=256, num_epochs=2)
    )
    algorithm = config.build_algo()
    steps = 0
    for _ in range(2):
        result = algorithm.train()
        steps = int(result["env_runners"]["num_env_steps_sampled_lifetime"])
        if not result["learners"]["default_policy"]["total_loss"] or "episode_return_mean" not in result["env_runners"]:
            raise RuntimeError("nothing was learnt from")
    algorithm.stop()
    ray.shutdown()
    return "PPO", steps
