"""Settings by algorithm and environment, which its `Config` takes; what is not named here is the algorithm's default.

They were seen to work, but for DQN's on LunarLander and Atari, which are published ones and wait for a run long enough.
"""

import functools
from typing import Any, TypeVar

from gpusim import source
from gpusim.adapters.gymnasium_host import is_atari

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
        "activation": "relu",
        "normalize_obs": True,
        "normalize_reward": True,
        "total_steps": 600_000,
        "log_every": 2,
        "checkpoint_every": 25,
    },
    ("reinforce", "CartPole-v1"): {
        "hidden": (32, 32),
        "total_steps": 640_000,
        "checkpoint_every": 10,
    },
    ("a2c", "CartPole-v1"): {
        "num_envs": 16,
        "num_steps": 5,
        "lam": 0.95,
        "entropy_coef": 0.0,
        "normalize_reward": True,
        "total_steps": 300_000,
        "log_every": 50,
        "checkpoint_every": 1000,
    },
    ("dqn", "CartPole-v1"): {
        "replay_ratio": 0.075,
        "learning_rate": 2e-3,
        "anneal": True,
        "n_step": 10,
        "hidden": (128, 64),
        "activation": "relu",
        "normalize_obs": True,
        "exploration": 0.35,
        "target_every": 4,
        "total_steps": 90_000,
        "log_every": 4,
    },
    ("dqn", "Acrobot-v1"): {
        "replay_ratio": 0.1,
        "anneal": True,
        "n_step": 5,
        "capacity": 50_000,
        "layer_norm": True,
        "activation": "relu",
        "normalize_obs": True,
        "normalize_reward": True,
        "exploration": 0.2,
        "epsilon_end": 0.005,
        "repeat": 0.7,
        "target_every": 2,
        "total_steps": 240_000,
        "log_every": 8,
    },
    ("dqn", "MountainCar-v0"): {
        "replay_ratio": 0.15,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "anneal": True,
        "n_step": 5,
        "capacity": 30_000,
        "activation": "relu",
        "normalize_obs": True,
        "normalize_reward": True,
        "exploration": 0.4,
        "epsilon_start": 0.5,
        "epsilon_end": 0.002,
        "repeat": 0.9,
        "target_every": 4,
        "total_steps": 120_000,
        "log_every": 8,
    },
    ("ppo", "LunarLander-v3"): {
        "num_envs": 16,
        "num_steps": 512,
        "minibatches": 64,
        "learning_rate": 5e-4,
        "gamma": 0.999,
        "lam": 0.98,
        "entropy_coef": 0.01,
        "normalize_reward": True,
        "total_steps": 1_000_000,
        "checkpoint_every": 10,
    },
    ("dqn", "LunarLander-v3"): {
        "num_envs": 8,
        "num_steps": 4,
        "replay_ratio": 0.25,
        "capacity": 50_000,
        "batch_size": 128,
        "learning_rate": 6.3e-4,
        "hidden": (256, 256),
        "activation": "relu",
        "exploration": 0.12,
        "epsilon_end": 0.1,
        "target_every": 8,
        "total_steps": 250_000,
        "log_every": 100,
        "checkpoint_every": 2000,
    },
    ("pqn", "CartPole-v1"): {
        "epochs": 4,
        "lam": 0.9,
        "normalize_obs": True,
        "normalize_reward": True,
        "exploration": 0.4,
        "total_steps": 150_000,
        "log_every": 4,
    },
    ("pqn", "Acrobot-v1"): {
        "num_envs": 64,
        "epochs": 4,
        "minibatches": 16,
        "lam": 0.95,
        "normalize_obs": True,
        "normalize_reward": True,
        "exploration": 0.3,
        "epsilon_end": 0.02,
        "repeat": 0.7,
        "total_steps": 400_000,
        "log_every": 4,
    },
}

# MinAtar's games, for what a CPU can do in minutes; their authors train for 10,000,000 steps.
GAMES = ("Breakout", "Asterix", "Freeway", "SpaceInvaders", "Seaquest")
MINATAR: dict[str, dict[str, Any]] = {
    "ppo": {
        "num_envs": 128,
        "num_steps": 32,
        "epochs": 2,
        "minibatches": 16,
        "learning_rate": 2e-3,
        "entropy_coef": 0.01,
        "hidden": (128,),
        "activation": "relu",
        "total_steps": 2_000_000,
        "log_every": 4,
        "checkpoint_every": 100,
    },
    "dqn": {
        "num_envs": 64,
        "replay_ratio": 0.03125,
        "batch_size": 128,
        "learning_starts": 5_000,
        "learning_rate": 5e-4,
        "n_step": 3,
        "hidden": (128,),
        "activation": "relu",
        "exploration": 0.1,
        "target_every": 4,
        "total_steps": 1_000_000,
        "log_every": 10,
        "checkpoint_every": 500,
    },
    "pqn": {
        "num_envs": 128,
        "minibatches": 16,
        "hidden": (128,),
        "exploration": 0.1,
        "total_steps": 2_000_000,
        "log_every": 4,
        "checkpoint_every": 100,
    },
}
for _algorithm, _values in MINATAR.items():
    PRESETS |= {(_algorithm, f"MinAtar/{game}-v1"): _values for game in GAMES}

# Atari's games with the settings of CleanRL (PPO) and of RL Zoo (DQN), whose steps are four frames each.
ATARI: dict[str, dict[str, Any]] = {
    "ppo": {
        "num_envs": 8,
        "num_steps": 128,
        "minibatches": 4,
        "learning_rate": 2.5e-4,
        "clip": 0.1,
        "clip_value": True,
        "entropy_coef": 0.01,
        "hidden": (512,),
        "activation": "relu",
        "clip_reward": True,
        "total_steps": 10_000_000,
        "log_every": 4,
        "checkpoint_every": 100,
    },
    "dqn": {
        "num_envs": 8,
        "num_steps": 4,
        "replay_ratio": 0.25,
        "capacity": 100_000,
        "batch_size": 32,
        "learning_starts": 100_000,
        "learning_rate": 1e-4,
        "hidden": (512,),
        "activation": "relu",
        "clip_reward": True,
        "exploration": 0.1,
        "epsilon_end": 0.01,
        "target_every": 125,
        "total_steps": 10_000_000,
        "log_every": 100,
        "checkpoint_every": 10_000,
        "keep_replay": False,
    },
}

# With MANY environments these take the place of the above. An iteration makes the same updates whatever `num_envs`, of
# minibatches that grow with it, so a preset lasts for a number of iterations: `total_steps` follows.
MANY = 512
MASSIVE: dict[str, dict[str, Any]] = {
    "ppo": {
        "num_steps": 16,
        "epochs": 2,
        "minibatches": 32,
        "learning_rate": 3e-3,
        "log_every": 4,
        "checkpoint_every": 50,  # one of a million environments has some 40 MB
        "iterations": 200,
    },
}
MASSIVE_FOR: dict[tuple[str, str], dict[str, Any]] = {
    ("ppo", "CartPole-v1"): {"epochs": 1, "learning_rate": 1e-2, "iterations": 50},
    ("ppo", "Acrobot-v1"): {"iterations": 60},
    ("ppo", "MountainCar-v0"): {"learning_rate": 5e-3, "iterations": 100},
    ("ppo", "MountainCarContinuous-v0"): {"epochs": 1, "learning_rate": 5e-3, "iterations": 50},
    ("ppo", "Pendulum-v1"): {"gamma": 0.99, "iterations": 50},
}


C = TypeVar("C", bound=type)


def by_env(cls: C) -> C:
    """Decorates a `Config`: what it is not given comes from the preset of its environment, then from the class."""
    algorithm, init = cls.__module__.rpartition(".")[2], cls.__init__  # type: ignore[misc]

    @functools.wraps(init)
    def with_preset(self: Any, **given: Any) -> None:
        env = given.get("env", cls.env)  # type: ignore[attr-defined]
        name = source.name(env).removeprefix("gpusim/") if isinstance(env, str) else getattr(env, "id", "")
        init(self, **settings(algorithm, name, given) | given)

    cls.__init__ = with_preset  # type: ignore[misc]
    return cls


def settings(algorithm: str, env: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The preset by field; it depends on the `num_envs` and `num_steps` that are `asked` for."""
    values = PRESETS.get((algorithm, env), ATARI.get(algorithm, {}) if is_atari(env) else {})
    num_envs = _count(asked.get("num_envs"), 0)
    if algorithm not in MASSIVE or num_envs < MANY:
        return values
    values = values | MASSIVE[algorithm] | MASSIVE_FOR.get((algorithm, env), {})
    steps = num_envs * _count(asked.get("num_steps"), values["num_steps"])
    return values | {"total_steps": steps * values.pop("iterations")}


def _count(value: Any, otherwise: int) -> int:
    """`value`, if it is a whole number; anything else is refused later, in a sentence."""
    return int(value) if isinstance(value, int | float) and value == value // 1 else otherwise
