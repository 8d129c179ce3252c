"""rsl_rl 5: PPO on Pendulum."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from rsl_rl.runners import OnPolicyRunner

import gpusim
from gpusim.adapters import to_rsl_rl

TRAINER, LIBRARY = "rsl_rl", "rsl-rl-lib"
ENV, MODE, COPIES = "Pendulum-v1", "same_step", 0

MODEL = {"class_name": "MLPModel", "hidden_dims": [32], "activation": "elu"}
NORMAL = {"class_name": "GaussianDistribution", "init_std": 1.0}
CONFIG = {
    "num_steps_per_env": 32,
    "save_interval": 1_000,
    "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
    "actor": {**MODEL, "distribution_cfg": NORMAL},
    "critic": MODEL,
    "algorithm": {"class_name": "PPO", "num_learning_epochs": 2, "num_mini_batches": 2, "gamma": 0.95},
}


def through(num_envs: int, device: torch.device, actions: torch.Tensor) -> Callable[[], None]:
    env = to_rsl_rl(gpusim.make(ENV, num_envs, device=device))

    def play() -> None:
        for action in actions:
            env.step(action)

    return play


def train(device: torch.device) -> tuple[str, int]:
    iterations, num_envs = 8, 64
    torch.manual_seed(0)
    trained(to_rsl_rl(gpusim.make(ENV, num_envs, device=device), seed=0), iterations)
    return "PPO", iterations * 32 * num_envs


def trained(env: Any, iterations: int, **kwargs: Any) -> OnPolicyRunner:
    """The runner after that many iterations; its actor has changed."""
    with contextlib.redirect_stdout(None):
        runner = OnPolicyRunner(env, copied(CONFIG), device=str(env.device))
        before = [p.clone() for p in runner.alg.actor.parameters()]
        runner.learn(iterations, **kwargs)
    assert any(not torch.equal(b, p) for b, p in zip(before, runner.alg.actor.parameters(), strict=True))
    return runner


def copied(config: Any) -> Any:
    """Its dicts are new ones: the runner takes them apart."""
    return {k: copied(v) for k, v in config.items()} if isinstance(config, dict) else config
