"""Tianshou 2: PPO on CartPole."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, CollectStats, VectorReplayBuffer
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

import gpusim
from gpusim.adapters import to_tianshou

TRAINER, LIBRARY = "Tianshou", "tianshou"
ENV, MODE, COPIES = "CartPole-v1", "disabled", 2


def through(num_envs: int, device: torch.device, actions: torch.Tensor) -> Callable[[], None]:
    """As `Collector` steps: what is over is reset by number."""
    env: Any = to_tianshou(gpusim.make(ENV, num_envs, device=device, autoreset_mode=MODE))
    env.reset()
    handed, everyone = actions.cpu().numpy(), np.arange(num_envs)

    def play() -> None:
        for action in handed:
            _, _, terminated, truncated, _ = env.step(action, everyone)
            over = np.flatnonzero(terminated | truncated)
            if len(over):
                env.reset(env_id=over)

    return play


def train(device: torch.device) -> tuple[str, int]:
    env = gpusim.make(ENV, 16, device=device, autoreset_mode=MODE)
    algorithm, collector = made(env, steps=64)
    before = [p.clone() for p in algorithm.policy.parameters()]
    params = OnPolicyTrainerParams(
        training_collector=collector, max_epochs=2, epoch_num_steps=2048, collection_step_num_env_steps=1024,
        update_step_num_repetitions=2, batch_size=256, verbose=False, show_progress=False,
    )  # fmt: skip
    algorithm.run_training(params)
    assert any(not torch.equal(b, p) for b, p in zip(before, algorithm.policy.parameters(), strict=True))
    return "PPO", collector.collect_step


def made(env: Any, steps: int) -> tuple[PPO, Collector]:
    """The algorithm and what collects `steps` steps of each environment for it."""
    adapted: Any = to_tianshou(env)
    space = adapted.observation_space
    net = Net(state_shape=space.shape, hidden_sizes=[64])
    actor = DiscreteActor(preprocess_net=net, action_shape=int(adapted.action_space.n), softmax_output=False)
    critic = DiscreteCritic(preprocess_net=Net(state_shape=space.shape, hidden_sizes=[64]))
    policy: Any = ProbabilisticActorPolicy(
        actor=actor.to(env.device),
        dist_fn=lambda logits: torch.distributions.Categorical(logits=logits),
        action_space=adapted.action_space,
        observation_space=space,
        action_scaling=False,
    )
    algorithm = PPO(policy=policy, critic=critic.to(env.device), optim=AdamOptimizerFactory(lr=1e-3))
    buffer = VectorReplayBuffer(env.num_envs * steps, env.num_envs)
    return algorithm, Collector[CollectStats](algorithm, adapted, buffer)
