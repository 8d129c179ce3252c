"""TorchRL's PPO on gpusim's CartPole, through the adapter, without a copy.

pip install "gpusim[train,torchrl]"
python examples/train_with_torchrl.py
"""

import sys
import time
from dataclasses import dataclass

import torch
import tyro
from torch import nn

import gpusim
from gpusim.adapters import to_torchrl

NUM_ENVS, LENGTH, EPOCHS, BATCHES = 32, 64, 8, 8


@dataclass(frozen=True)
class Args:
    """Train PPO, made of TorchRL's parts, on CartPole."""

    total_steps: int = 150_000
    """Environment steps of training."""
    seed: int = 0
    """Of everything random."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""


def make(num_envs: int, seed: int, device: str):
    env = to_torchrl(gpusim.make("CartPole-v1", num_envs, device=device, autoreset_mode="disabled"))
    env.set_seed(seed)
    return env


def mlp(outputs: int, device: torch.device) -> nn.Module:
    layers = nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)
    return nn.Sequential(*layers).to(device)


def main(args: Args) -> None:
    env = make(NUM_ENVS, args.seed, args.device)
    from tensordict.nn import TensorDictModule
    from torchrl.collectors import Collector
    from torchrl.envs.utils import ExplorationType, set_exploration_type
    from torchrl.modules import ProbabilisticActor, ValueOperator
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value import GAE

    torch.set_num_threads(1)  # for networks of this size the fastest
    torch.manual_seed(args.seed)
    logits = TensorDictModule(mlp(2, env.device), ["observation"], ["logits"])
    categorical = torch.distributions.Categorical
    actor = ProbabilisticActor(logits, ["logits"], distribution_class=categorical, return_log_prob=True)
    critic = ValueOperator(mlp(1, env.device), ["observation"])
    advantage = GAE(gamma=0.98, lmbda=0.9, value_network=critic, average_gae=True)
    loss = ClipPPOLoss(actor, critic, entropy_coeff=0.0)
    optimizer = torch.optim.Adam(loss.parameters(), 1e-3)
    updates = max(1, args.total_steps // (NUM_ENVS * LENGTH))
    anneal = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, updates)
    collector = Collector(
        env, actor, frames_per_batch=NUM_ENVS * LENGTH, total_frames=updates * NUM_ENVS * LENGTH,
        auto_register_policy_transforms=True,
    )  # fmt: skip
    begin = time.perf_counter()
    for batch in collector:
        advantage(batch)
        rows = batch.reshape(-1)
        for _ in range(EPOCHS):
            for part in rows[torch.randperm(len(rows), device=env.device)].chunk(BATCHES):
                losses = loss(part)
                optimizer.zero_grad()
                (losses["loss_objective"] + losses["loss_critic"]).backward()
                nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimizer.step()
        anneal.step()
    seconds = time.perf_counter() - begin
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        played = make(100, args.seed + 10_000, args.device).rollout(500, actor, break_when_any_done=False)
    reward, done = (played["next", key].squeeze(-1) for key in ("reward", "done"))
    first = done.cumsum(1) - done.int() == 0  # up to the end of each environment's first episode
    score = (reward * first).sum(1).mean()
    print(f"{score:.1f} over 100 new episodes, after {updates * NUM_ENVS * LENGTH:,} steps in {seconds:.1f} s")


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except gpusim.InputError as error:
        sys.exit(str(error))
