"""PufferLib 3: PuffeRL on CartPole."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import torch
from pufferlib import pufferl
from pufferlib.models import Default

import gpusim
from gpusim.adapters import to_pufferlib

TRAINER, LIBRARY = "PufferLib", "pufferlib"
ENV, MODE, COPIES = "CartPole-v1", "same_step", 2


def through(num_envs: int, device: torch.device, actions: torch.Tensor) -> Callable[[], None]:
    env = to_pufferlib(gpusim.make(ENV, num_envs, device=device))
    env.async_reset(0)
    handed = actions.cpu().numpy()

    def play() -> None:
        for action in handed:
            env.recv()
            env.send(action)

    return play


def train(device: torch.device) -> tuple[str, int]:
    trainer = made(to_pufferlib(gpusim.make(ENV, 64, device=device)), horizon=32)
    before = [p.clone() for p in trainer.policy.parameters()]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for _ in range(4):
            trainer.evaluate()
            trainer.train()
    assert any(not torch.equal(b, p) for b, p in zip(before, trainer.policy.parameters(), strict=True))
    return "PuffeRL", trainer.global_step


def made(env: Any, horizon: int) -> Any:
    """PuffeRL, with `horizon` steps of each environment to a batch."""
    batch = env.num_agents * horizon
    config = {
        "env": ENV, "seed": 7, "torch_deterministic": True, "device": str(env.env.device), "cpu_offload": False,
        "use_rnn": False, "compile": False, "optimizer": "adam", "precision": "float32", "batch_size": batch,
        "bptt_horizon": horizon, "minibatch_size": batch, "max_minibatch_size": batch, "update_epochs": 1,
        "total_timesteps": 100 * batch, "learning_rate": 1e-3, "anneal_lr": False, "adam_beta1": 0.9, "adam_beta2": 0.999,
        "adam_eps": 1e-8, "gamma": 0.99, "gae_lambda": 0.95, "clip_coef": 0.2, "vf_coef": 1.0, "vf_clip_coef": 0.2,
        "ent_coef": 0.0, "max_grad_norm": 0.5, "prio_alpha": 0.0, "prio_beta0": 1.0, "vtrace_rho_clip": 1.0,
        "vtrace_c_clip": 1.0, "checkpoint_interval": 10_000, "data_dir": os.devnull,
    }  # fmt: skip
    policy = Default(env, hidden_size=32).to(env.env.device)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        trainer = pufferl.PuffeRL(config, env, policy)
    trainer.utilization.stop()  # a thread that would keep the process alive
    return trainer
