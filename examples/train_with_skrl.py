"""Train CartPole by skrl's PPO, which steps gpusim's environments with no copy between the two.

    pip install "gpusim[skrl,train]"
    python examples/train_with_skrl.py

Everything here is skrl's except `gpusim.make`, `to_skrl` and the evaluation on new episodes at the end.
"""

import sys
import time
from dataclasses import dataclass

import torch
import tyro

import gpusim
from gpusim.adapters import to_skrl
from gpusim.agents.train.evaluate import evaluate


@dataclass(frozen=True)
class Args:
    """Train CartPole by skrl's PPO."""

    num_envs: int = 64
    """Environments that step together."""
    total_steps: int = 300_000
    """Environment steps of the training, of all environments together."""
    seed: int = 0
    """Of everything random."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""


def config(args: Args) -> dict:
    network = [{"name": "net", "input": "OBSERVATIONS", "layers": [64, 64], "activations": "tanh"}]
    return {
        "seed": args.seed,
        "models": {
            "separate": True,
            "policy": {"class": "CategoricalMixin", "network": network, "output": "ACTIONS"},
            "value": {"class": "DeterministicMixin", "network": network, "output": "ONE"},
        },
        "memory": {"class": "RandomMemory", "memory_size": -1},
        "agent": {
            "class": "PPO",
            "rollouts": 32,
            "learning_epochs": 4,
            "mini_batches": 4,
            "learning_rate": 1e-3,
            "discount_factor": 0.99,
            "gae_lambda": 0.95,
            "entropy_loss_scale": 0.0,
            "value_loss_scale": 1.0,
            "experiment": {"write_interval": 0, "checkpoint_interval": 0},
        },
        "trainer": {
            "class": "SequentialTrainer",
            "timesteps": args.total_steps // args.num_envs,
            "headless": True,
            "disable_progressbar": True,
            "close_environment_at_exit": False,
        },
    }


def main(args: Args) -> None:
    env = to_skrl(gpusim.make("CartPole-v1", args.num_envs, device=args.device))
    from skrl.utils.runner.torch import Runner  # after to_skrl, which says what to do where skrl is missing

    runner = Runner(env, config(args))
    start = time.perf_counter()
    runner.run("train")
    seconds = time.perf_counter() - start

    @torch.no_grad()
    def act(obs: torch.Tensor) -> torch.Tensor:
        return runner.agent.act(obs, None, timestep=0, timesteps=0)[1]["net_output"].argmax(1)

    runner.agent.enable_training_mode(False)
    scores = evaluate(act, "CartPole-v1", 100, seed=args.seed + 10_000, device=args.device)
    print(f"{scores.mean():.1f} over {len(scores)} new episodes, after {args.total_steps:,} steps in {seconds:.1f} s")


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except gpusim.InputError as error:
        sys.exit(str(error))
