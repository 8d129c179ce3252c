"""TorchRL's loop, and its PPO loss on what its collector brings."""

from collections.abc import Callable

import torch
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import gpusim
from gpusim.adapters import to_torchrl

TRAINER, LIBRARY, ENV, MODE, COPIES = "TorchRL", "torchrl", "CartPole-v1", "disabled", 0


def through(num_envs: int, device: torch.device, actions: Tensor) -> Callable[[], object]:
    env = to_torchrl(gpusim.make(ENV, num_envs, device=device, autoreset_mode=MODE))
    env.set_seed(0)
    now = [env.reset()]

    def play() -> None:
        for action in actions:
            _, now[0] = env.step_and_maybe_reset(now[0].set("action", action))

    return play


def train(device: torch.device) -> tuple[str, int]:
    torch.manual_seed(0)
    env = to_torchrl(gpusim.make(ENV, 64, device=device, autoreset_mode=MODE))
    net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2)).to(device)
    logits = TensorDictModule(net, in_keys=["observation"], out_keys=["logits"])
    actor = ProbabilisticActor(logits, in_keys=["logits"], distribution_class=Categorical, return_log_prob=True)
    critic = ValueOperator(nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1)).to(device), ["observation"])
    advantage, loss = GAE(gamma=0.99, lmbda=0.95, value_network=critic), ClipPPOLoss(actor, critic)
    optimizer = torch.optim.Adam(loss.parameters(), 1e-3)
    before = [p.detach().clone() for p in net.parameters()]
    steps = 0
    frames = {"frames_per_batch": 64 * 32, "total_frames": 3 * 64 * 32}
    for batch in Collector(env, actor, **frames, auto_register_policy_transforms=True):
        steps += batch.numel()
        for _ in range(4):
            advantage(batch)
            losses = loss(batch.reshape(-1))
            optimizer.zero_grad()
            sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
            optimizer.step()
    if all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)):
        raise RuntimeError("nothing was learnt from")
    return "PPO", steps
