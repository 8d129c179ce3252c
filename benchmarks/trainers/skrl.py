"""skrl 2: PPO on CartPole, and what the tests train with it."""

from collections.abc import Callable
from typing import Any

import torch
from gymnasium.spaces import Discrete
from skrl.utils.runner.torch import Runner

import gpusim
from gpusim.adapters import to_skrl

TRAINER, LIBRARY = "skrl", "skrl"
ENV, MODE, COPIES = "CartPole-v1", "same_step", 0

NETWORK = [{"name": "net", "input": "OBSERVATIONS", "layers": [32], "activations": "tanh"}]


def through(num_envs: int, device: torch.device, actions: torch.Tensor) -> Callable[[], None]:
    env = to_skrl(gpusim.make(ENV, num_envs, device=device))
    env.reset()
    handed = actions[:, :, None]

    def play() -> None:
        for action in handed:
            env.step(action)

    return play


def train(device: torch.device) -> tuple[str, int]:
    trained(gpusim.make(ENV, 32, device=device), "PPO", 256, memory_size=64, rollouts=64)
    return "PPO", 256 * 32


def trained(env: Any, agent: str, steps: int, memory_size: int, **settings: Any) -> Any:
    """The agent, "PPO" or "DQN", trained for `steps` steps; its network has changed."""
    runner = Runner(to_skrl(env), config(env, agent, steps, memory_size, settings))
    network = next(iter(runner.agent.models.values()))
    before = [p.clone() for p in network.parameters()]
    runner.run("train")
    assert any(not torch.equal(b, p) for b, p in zip(before, network.parameters(), strict=True))
    return runner.agent


def config(env: Any, agent: str, steps: int, memory_size: int, settings: dict[str, Any]) -> dict[str, Any]:
    def model(mixin: str, output: str = "ACTIONS") -> dict[str, Any]:
        return {"class": mixin, "network": NETWORK, "output": output}

    if agent == "DQN":
        models = {"q_network": model("DeterministicMixin"), "target_q_network": model("DeterministicMixin")}
    else:
        discrete = isinstance(env.single_action_space, Discrete)
        policy = model("CategoricalMixin" if discrete else "GaussianMixin")
        models = {"policy": policy, "value": model("DeterministicMixin", "ONE")}
    quiet = {"headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
    return {
        "seed": 7,
        "models": {"separate": True, **models},
        "memory": {"class": "RandomMemory", "memory_size": memory_size},
        "agent": {"class": agent, **settings, "experiment": {"write_interval": 0, "checkpoint_interval": 0}},
        "trainer": {"class": "SequentialTrainer", "timesteps": steps, **quiet},
    }
