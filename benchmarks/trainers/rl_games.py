"""rl_games 1.6: `a2c_discrete` (PPO) on CartPole, `a2c_continuous` on Pendulum."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from rl_games.common import vecenv
from rl_games.torch_runner import Runner

from gpusim.adapters import to_rl_games

TRAINER, LIBRARY = "rl_games", "rl-games"
ENV, MODE, COPIES = "CartPole-v1", "same_step", 0

ALGORITHMS = {
    "CartPole-v1": ("a2c_discrete", "discrete_a2c"),
    "Pendulum-v1": ("a2c_continuous", "continuous_a2c_logstd"),
}
NORMAL = {
    "mu_activation": "None", "sigma_activation": "None", "fixed_sigma": True,
    "mu_init": {"name": "default"}, "sigma_init": {"name": "const_initializer", "val": 0},
}  # fmt: skip


def through(num_envs: int, device: torch.device, actions: torch.Tensor) -> Callable[[], None]:
    env = vecenv.create_vec_env(to_rl_games(ENV, device=device), num_envs)
    env.reset()

    def play() -> None:
        for action in actions:
            env.step(action)

    return play


def train(device: torch.device) -> tuple[str, int]:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        agent = made(ENV, folder, device, epochs=8)
        before = [p.clone() for p in agent.model.parameters()]
        agent.train()
        agent.writer.close()
    assert any(not torch.equal(b, p) for b, p in zip(before, agent.model.parameters(), strict=True))
    return "PPO", agent.frame


def made(env: str, folder: str | os.PathLike, device: torch.device | str = "cpu", **changes: Any) -> Any:
    """The agent, not yet trained."""
    runner = Runner()
    runner.load({"params": params(env, folder, device, **changes)})
    return runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)


def params(
    env: str,
    folder: str | os.PathLike,
    device: torch.device | str,
    epochs: int,
    bootstrap: bool = True,
    num_envs: int = 32,
) -> dict[str, Any]:
    algorithm, model = ALGORITHMS[env]
    discrete = algorithm == "a2c_discrete"
    config = {
        "name": "run", "env_name": to_rl_games(env, device=device), "env_config": {}, "num_actors": num_envs,
        "device": str(device), "device_name": str(device), "train_dir": str(folder), "ppo": True, "max_epochs": epochs,
        "horizon_length": 64, "mini_epochs": 2, "minibatch_size": num_envs * 32, "learning_rate": 1e-3, "gamma": 0.99,
        "lr_schedule": None, "tau": 0.95, "e_clip": 0.2, "clip_value": True, "critic_coef": 1.0, "bounds_loss_coef": 0.0,
        "entropy_coef": 0.0, "truncate_grads": True, "grad_norm": 1.0, "normalize_input": False,
        "normalize_value": False, "normalize_advantage": True, "reward_shaper": {"scale_value": 1.0},
        "value_bootstrap": bootstrap, "save_frequency": 0, "save_best_after": 1_000_000, "print_stats": False,
        "player": {"games_num": 2, "print_stats": False},
    }  # fmt: skip
    mlp = {"units": [64], "activation": "tanh", "initializer": {"name": "default"}}
    space: dict[str, Any] = {"discrete": None} if discrete else {"continuous": NORMAL}
    network = {"name": "actor_critic", "separate": True, "space": space, "mlp": mlp}
    return {"seed": 7, "algo": {"name": algorithm}, "model": {"name": model}, "network": network, "config": config}
