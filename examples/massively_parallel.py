"""Train on 1,024 to 1,048,576 environments at once, save the policy, load it again and play it.

    python examples/massively_parallel.py --env CartPole-v1 --num-envs 65536

Ctrl-C ends the iteration; what was learned until then is saved and played all the same.
"""

import dataclasses
import sys
from pathlib import Path

import torch
import tyro

import gpusim
from gpusim.agents import ppo
from gpusim.agents.train.evaluate import evaluate
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.loop import Observer, run
from gpusim.agents.train.run import make_learner, preset


@dataclasses.dataclass(frozen=True)
class Args:
    """Train on very many environments at once."""

    env: str = "CartPole-v1"
    """Id of the environment (`gpusim envs` lists them)."""
    num_envs: int = 65_536
    """Environments that step together; a CPU is at ease with 4,096, a GPU with all of them."""
    iterations: int | None = None
    """Rollouts to learn from; None: as many as the preset finds enough."""
    seed: int = 0
    """Of everything random."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""
    out: Path = Path("policy.pt")
    """File of the policy."""


class Lines(Observer):
    """Prints a line for each reading."""

    def __init__(self) -> None:
        self.before = (0.0, 0.0)

    def reading(self, learner: Learner, metrics: dict[str, float]) -> None:
        steps, seconds = metrics["steps"] - self.before[0], metrics["seconds"] - self.before[1]
        self.before = (metrics["steps"], metrics["seconds"])
        print(
            f"iteration {metrics['iteration']:>4} of {learner.config.iterations}: {metrics['steps']:>13,.0f} steps, "
            f"return {metrics['return']:8.1f}, {steps / max(seconds, 1e-3):13,.0f} steps/s",
            flush=True,
        )


def main(args: Args) -> None:
    if not 1 <= args.num_envs <= 2**20:
        sys.exit(f"--num-envs must lie between 1 and {2**20:,}, not {args.num_envs:,}.")
    if not args.out.absolute().parent.is_dir():
        sys.exit(f"the policy cannot be saved: there is no folder {args.out.absolute().parent}.")
    config = preset("ppo", args.env, num_envs=args.num_envs, seed=args.seed, device=args.device)
    if args.iterations is not None:
        config = dataclasses.replace(config, total_steps=args.iterations * config.steps_per_iteration)
    learner = make_learner("ppo", config)
    where = f"{learner.env.backend} on {learner.env.device}, learning by {learner.path}"
    print(f"{config.env}: {config.num_envs:,} environments, {where}")
    result = run(learner, (Lines(),))
    torch.save({"config": dataclasses.asdict(config), "network": learner.network.state_dict()}, args.out)
    print(f"{result.ending} after {learner.steps:,} steps; the policy is in {args.out}")

    policy = load(args.out)
    scores = evaluate(policy, args.env, 1000, seed=args.seed + 10_000, device="cpu")
    print(f"its mode scores {scores.mean():.1f} ± {scores.std():.1f} over {len(scores):,} new episodes")


def load(path: Path):
    """What `main` saved, as a function from observations `[N, *obs]` to actions `[N, ...]`, on the CPU."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    config = ppo.Config(**saved["config"])
    network = ppo.PPO.make_network(config, gpusim.spec(config.env), torch.Generator())
    network.load_state_dict(saved["network"])
    return lambda obs: network.act(obs, None)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except gpusim.InputError as error:
        sys.exit(str(error))
