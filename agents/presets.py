"""Settings that were seen to work, by algorithm and environment; what is not named here is the algorithm's default."""

from typing import Any

PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("ppo", "CartPole-v1"): {
        "num_envs": 64,
        "num_steps": 32,
        "minibatches": 4,
        "learning_rate": 5e-3,
        "gamma": 0.98,
        "hidden": (32, 32),
        "normalize_reward": True,
        "total_steps": 150_000,
    },
    ("ppo", "Acrobot-v1"): {
        "num_envs": 128,
        "learning_rate": 2e-3,
        "normalize_obs": True,
        "normalize_reward": True,
        "total_steps": 800_000,
        "log_every": 2,
        "checkpoint_every": 20,
    },
    ("ppo", "MountainCar-v0"): {
        "num_envs": 64,
        "epochs": 8,
        "minibatches": 4,
        "learning_rate": 5e-3,
        "lam": 0.98,
        "normalize_obs": True,
        "total_steps": 600_000,
        "log_every": 2,
        "checkpoint_every": 25,
    },
    ("ppo", "MountainCarContinuous-v0"): {
        "num_envs": 64,
        "num_steps": 128,
        "initial_log_std": 0.5,
        "normalize_obs": True,
        "normalize_reward": True,
        "total_steps": 250_000,
        "log_every": 2,
        "checkpoint_every": 10,
    },
    ("ppo", "Pendulum-v1"): {
        "num_envs": 64,
        "epochs": 10,
        "gamma": 0.98,
        "normalize_obs": True,
        "normalize_reward": True,
        "total_steps": 300_000,
        "log_every": 2,
        "checkpoint_every": 25,
    },
    ("reinforce", "CartPole-v1"): {
        "hidden": (32, 32),
        "total_steps": 640_000,
        "checkpoint_every": 10,
    },
}
