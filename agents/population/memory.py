"""What a population takes of a device's memory, told and held against what is free before there is one."""

from typing import Any

import torch

from gpusim.agents.train import budget
from gpusim.agents.train.budget import Part
from gpusim.env import Task
from gpusim.errors import InputError
from gpusim.memory import LITTLE, free_memory

LEARNED = 5  # numbers made of a step, as in a run
OF_STEPS = 4  # to what a run has: as they were made one by one, together, agent after agent, and in minibatches
OF_WEIGHTS = 5 / 4
OF_UPDATE = 2  # `vmap` adds a bias after its product, and each leaves something for the gradient


def takes(config: Any, task: Task, agents: int) -> list[Part]:
    """Of so many agents with these settings."""
    each = {
        "rollouts": OF_STEPS * budget.rollout(config, task, LEARNED).size,
        "networks and optimizers": OF_WEIGHTS * budget.network(config, task).size,
        "update": OF_UPDATE * budget.update(config, task).size,
    }
    return [Part(name, int(agents * size), ("agents",)) for name, size in each.items()]


def describe(config: Any, task: Task, agents: int, device: torch.device) -> str:
    """What it will take, and what is free."""
    return budget.told(takes(config, task, agents), free_memory(device), device)


def require(config: Any, task: Task, agents: int, device: torch.device) -> None:
    """Raises InputError where it will not fit, with the most agents that do."""
    parts = takes(config, task, agents)
    size = budget.total(parts)
    free = free_memory(device) if size > LITTLE else None
    if free is not None and size > free:
        most = int(free // (size / agents))
        way = f"lower agents, {most} fit" if most else "lower num_envs, num_steps or hidden, as not even one fits"
        raise InputError(
            f"a population of {agents:,} agents does not fit into memory ({budget.told(parts, free, device)}): {way}."
        )
