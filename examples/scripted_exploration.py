"""Let a rule of your own explore beside the learner: MountainCar by PQN, with and without a rule that pumps the swing.

    python examples/scripted_exploration.py

At random the car hardly ever reaches the goal, so there is nothing to learn from. The rule is poor, it pushes to where the
car moves anyway, but it gets there. Half of the environments follow it at first, fewer and fewer later, none in the end.
The same on the command line:

    gpusim train pqn MountainCar-v0 --script examples/scripted_exploration.py:swing
"""

import sys
from dataclasses import dataclass

import torch
import tyro

import gpusim
from gpusim.agents import pqn
from gpusim.agents.train.evaluate import evaluate


def swing(obs: torch.Tensor) -> torch.Tensor:
    """Actions `[N]` of `obs` `[N, 2]`, position and velocity: 0 pushes to the left, 2 to the right."""
    return torch.where(obs[:, 1] < 0, 0, 2)


@dataclass(frozen=True)
class Args:
    """Train PQN on MountainCar with and without a rule that explores."""

    total_steps: int = 150_000
    """Environment steps of each training."""
    seed: int = 0
    """Of everything random."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""


def main(args: Args) -> None:
    for script in (None, f"{__file__}:swing"):
        config = pqn.Config(
            env="MountainCar-v0", total_steps=args.total_steps, seed=args.seed, device=args.device, script=script,
            num_envs=32, epochs=4, lam=0.95, hidden=(64, 64), normalize_obs=True, exploration=0.5,
        )  # fmt: skip
        network = pqn.train(config).learner.network
        scores = evaluate(
            lambda obs, network=network: network.act(obs, None),
            config.env,
            200,
            seed=args.seed + 10_000,
            device=args.device,
        )
        print(
            f"{'with' if script else 'without'} the rule: {scores.mean():.1f} after {config.total_steps:,} steps, and "
            f"{(scores > -200).double().mean():.0%} of {len(scores)} new episodes reach the goal",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except gpusim.InputError as error:
        sys.exit(str(error))
