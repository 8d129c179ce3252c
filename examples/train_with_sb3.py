"""Stable-Baselines3's PPO on gpusim's CartPole, through the adapter.

    pip install "gpusim[train,sb3]"
    python examples/train_with_sb3.py

The settings are RL Baselines3 Zoo's for CartPole.
"""

import sys
import time
from dataclasses import dataclass

import torch
import tyro

import gpusim
from gpusim.adapters import to_sb3


@dataclass(frozen=True)
class Args:
    """Train Stable-Baselines3's PPO on CartPole."""

    total_steps: int = 100_000
    """Environment steps of training."""
    seed: int = 0
    """Of everything random."""
    device: str = "auto"
    """Where the environments are: auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""


def main(args: Args) -> None:
    env = to_sb3(gpusim.make("CartPole-v1", 8, device=args.device))
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy

    torch.set_num_threads(1)  # for networks of this size the fastest
    model = PPO(
        "MlpPolicy", env, seed=args.seed, device="cpu", n_steps=32, batch_size=256, gae_lambda=0.8, gamma=0.98, n_epochs=20,
        learning_rate=lambda left: 1e-3 * left, clip_range=lambda left: 0.2 * left,
    )  # fmt: skip
    begin = time.perf_counter()
    model.learn(args.total_steps)
    seconds = time.perf_counter() - begin
    fresh = to_sb3(gpusim.make("CartPole-v1", 100, device=args.device))
    fresh.seed(args.seed + 10_000)
    score, _ = evaluate_policy(model, fresh, n_eval_episodes=100)
    print(f"{score:.1f} over 100 new episodes, after {model.num_timesteps:,} steps in {seconds:.1f} s")


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except gpusim.InputError as error:
        sys.exit(str(error))
