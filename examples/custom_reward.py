"""Shape the reward of MountainCar, train PPO with and without it, and compare the two by the true reward.

    python examples/custom_reward.py

By itself the car is told only that every step costs 1, wherever it is. Shaped, it is also paid for the energy it gains,
γΦ(s') − Φ(s) with Φ = weight × energy, which leaves the best policy what it was (Ng, Harada and Russell, 1999).
"""

import dataclasses
import sys

import tyro

import gpusim
from gpusim.agents import ppo
from gpusim.agents.train.evaluate import evaluate
from gpusim.agents.train.run import preset
from gpusim.kernels.lang import sin, where

VALLEY, GOAL = -1.0, 0.9975  # sin(3 position) at -0.52 and 0.5


def energy(s, p):
    """Kinetic and potential, as a share of what it takes to rest at the goal."""
    potential = p.gravity / 3.0 * (sin(3.0 * s.position) - VALLEY)
    return (0.5 * s.velocity * s.velocity + potential) / (p.gravity / 3.0 * (GOAL - VALLEY))


def shaped(state, action, next_state, reward, terminated, params):
    """Made of the words of `gpusim.kernels.lang`, as environments are, so that kernels can hold it too."""
    after = where(terminated, 0.0, energy(next_state, params))  # nothing is left to gain at the goal
    return reward + params.weight * (params.discount * after - energy(state, params))


@dataclasses.dataclass(frozen=True)
class Args:
    """Train on MountainCar with and without a shaped reward."""

    weight: float = 50.0
    """Of the energy; 0 leaves the reward as it is."""
    total_steps: int = 100_000
    """Environment steps of each training."""
    seed: int = 0
    """Of everything random."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""


def main(args: Args) -> None:
    plain = preset("ppo", "MountainCar-v0", total_steps=args.total_steps, seed=args.seed, device=args.device)
    weights = {"weight": args.weight, "discount": plain.gamma}
    env = gpusim.spec("MountainCar-v0").with_reward(shaped, params=weights, id="MountainCarShaped-v0")
    gpusim.register(env)
    for config in (plain, dataclasses.replace(plain, env=env.id)):
        learned, seconds, scores = train(config)
        print(
            f"{config.env}: return {learned:.1f} after {config.total_steps:,} steps in {seconds:.1f} s; by the true reward "
            f"{scores.mean():.1f}, and {(scores > -200).double().mean():.0%} of {len(scores)} new episodes reach the goal",
            flush=True,
        )


def train(config: ppo.Config):
    """The return that it learned by, its seconds, and what its mode scores in the environment as it is."""
    result = ppo.train(config)
    network = result.learner.network
    scores = evaluate(
        lambda obs: network.act(obs, None), "MountainCar-v0", 200, seed=config.seed + 10_000, device=config.device
    )
    return result.metrics[-1]["return"], result.metrics[-1]["seconds"], scores


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except gpusim.InputError as error:
        sys.exit(str(error))
