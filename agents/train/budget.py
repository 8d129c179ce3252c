"""What a run will take of a device's memory, told before anything is allocated, and what to turn where that is too much.

The sizes are of what is certain to be there at once; what torch and the environments hold beside it comes on top.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from gymnasium.spaces import Discrete

from gpusim.agents.parts.gated import CELLS
from gpusim.agents.parts.images import is_cnn
from gpusim.agents.parts.networks import convolved
from gpusim.agents.parts.replay import transition_bytes
from gpusim.env import Task
from gpusim.errors import InputError
from gpusim.memory import LITTLE, free_memory, size_of

FLOAT = 4  # bytes
OUT = ("out of memory", "can't allocate memory", "ALLOC_FAILED")  # in what torch says where none is left


class Part(NamedTuple):
    """Something that takes memory."""

    name: str
    size: int  # bytes
    fields: tuple[str, ...]  # settings by which it shrinks, the first one first


# ----------------------------------------------------------------------------------------------------------- sizes


def rollout(config: Any, task: Task, kept: int) -> Part:
    """The steps of an iteration; `kept`: numbers that a learner makes of each."""
    observation, action = task.observation_space, task.action_space
    seen = 2 * math.prod(observation.shape) * observation.dtype.itemsize  # before and after the step
    done = 2 * (8 if isinstance(action, Discrete) else FLOAT * math.prod(action.shape))  # as drawn, and as taken
    each = seen + done + 3 * FLOAT + 2 + FLOAT * kept  # reward, return, length and two flags
    fields = tuple(name for name in ("num_envs", "num_steps", "episode_steps") if hasattr(config, name))
    return Part("rollout", config.steps_per_iteration * each, fields)


def replay(config: Any, task: Task) -> Part:
    each = transition_bytes(task.observation_space, task.action_space, config.prioritized)
    return Part("replay", config.held * each, ("capacity",))


def network(config: Any, task: Task, targets: int = 0) -> Part:
    """The weights, their gradient, and Adam's two moments; `targets`: copies of the weights that follow."""
    action, hidden = task.action_space, config.hidden
    outputs = int(action.n) if isinstance(action, Discrete) else math.prod(action.shape)
    cells, images = entries(config, task), is_cnn(config.network, task.observation_space)
    shared, apart = ([cells, *hidden], [hidden[-1]]) if images else ([], [cells, *hidden])
    each, last = products(apart), apart[-1]
    copies = 2
    if config.network in CELLS:
        copies, units = 2 - config.shared_memory, config.memory_units
        each, last = each + CELLS[config.network].weights(last, units), units
    weights = products(shared) + copies * each + last * (outputs + 1) * distribution(config)
    size = (4 + targets) * FLOAT * weights * (2 if getattr(config, "noisy", False) else 1)
    return Part("network and optimizer", size, ("hidden", "memory_units"))


def twin(config: Any, task: Task) -> Part:
    """The same of a policy with twin critics, and of both's targets."""
    cells, numbers, hidden = entries(config, task), math.prod(task.action_space.shape or ()), config.hidden
    policy = products([cells, *hidden, 2 * numbers])
    critics = 2 * products([cells + numbers, *hidden, config.atoms])
    return Part("network and optimizer", 5 * FLOAT * (policy + critics), ("hidden",))


def batches(config: Any, task: Task, at_once: int) -> Part:
    """What is drawn from a replay together, `at_once` numbers or less, and what one batch of it leaves for its gradient."""
    cells, widths, rows = entries(config, task), list(config.hidden), config.batch_size
    most = math.ceil(config.replay_ratio * config.steps_per_iteration)
    several = (
        1 if config.prioritized else min(most, max(1, at_once // (rows * math.prod(task.observation_space.shape))))
    )
    drawn = 4 * math.prod(task.observation_space.shape) + 8  # two observations, as they are and as features
    outputs = distribution(config)
    left = 2 * cells + 4 * sum(widths) + 2 * max(widths) + (3 * outputs * outputs if outputs > 1 else 0)
    return Part("update", FLOAT * rows * (several * drawn + left), ("batch_size", "hidden"))


def update(config: Any, task: Task) -> Part:
    """What one part of a minibatch leaves for its gradient, or a pass without one makes at a time, whichever is more."""
    cells, parts, all_steps = entries(config, task), config.updates_in_parts, config.steps_per_iteration
    widths, memory = list(config.hidden), 0
    copies = 1 if is_cnn(config.network, task.observation_space) else 2
    if config.network in CELLS:
        copies, units = 2 - config.shared_memory, config.memory_units
        memory = copies * units * CELLS[config.network].leaves(config.num_steps)
    left = 2 * cells + copies * sum(widths) + 2 * max(widths) + memory
    passing = cells + 2 * max(widths) + memory * 3 // 4
    in_passing = all_steps if config.accumulate == 1 else all_steps / min(config.num_envs, parts)
    size = FLOAT * max(left * all_steps / parts, passing * in_passing)
    return Part("update", int(size), ("accumulate", "num_envs", "num_steps", "hidden"))


def distribution(config: Any) -> int:
    """Numbers that stand for a value."""
    return max(getattr(config, "atoms", 1), getattr(config, "quantiles", 1))


def entries(config: Any, task: Task) -> int:
    """Of what the linear layers are given: an observation, or what convolutions make of it."""
    space = task.observation_space
    return convolved(space.shape) if is_cnn(config.network, space) else math.prod(space.shape)


def products(sizes: list[int]) -> int:
    return sum(a * b for a, b in itertools.pairwise(sizes))


# ------------------------------------------------------------------------------------------------------------ said


def told(parts: list[Part], free: int | None, device: torch.device) -> str:
    """As in "rollout 1.2 GiB, network and optimizer 8 MiB; 71 GiB are free on cuda:0"."""
    text = ", ".join(f"{part.name} {size_of(part.size)}" for part in parts)
    return text if free is None else f"{text}; {size_of(free)} are free on {device}"


def describe(config: Any, task: Task, device: torch.device) -> str:
    """What a run will take, and what is free."""
    return told(config.takes(task), free_memory(device), device)


def require(config: Any, task: Task, device: torch.device) -> None:
    """Raises InputError where a run will not fit, with what to turn, and how far."""
    parts = config.takes(task)
    size = total(parts)
    free = free_memory(device) if size > LITTLE else None
    if free is not None and size > free:
        way = advice(config, task, free, "fits")
        raise InputError(f"the run does not fit into memory ({told(parts, free, device)}): {way}.")


def ran_out(config: Any, task: Task, device: torch.device) -> str:
    """What is said where there is no memory left."""
    parts = config.takes(task)
    way = advice(config, task, total(parts) // 2, "takes half as much")
    return f"there is no memory left on {device}, of which the run takes {told(parts, None, device)}: {way}."


def total(parts: list[Part]) -> int:
    return sum(part.size for part in parts)


def advice(config: Any, task: Task, limit: int, then: str) -> str:
    """The first setting of the largest part that keeps the run within `limit` bytes, and its value nearest to what it is."""
    fields = max(config.takes(task), key=lambda part: part.size).fields
    for name in (name for name in fields if hasattr(config, name)):
        value = nearest(config, task, limit, name)
        if value is not None:
            text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            return f"{'raise' if name == 'accumulate' else 'lower'} {name}, {text} {then}"
    return f"lower {' and '.join(fields)}, none of which is enough alone"


def nearest(config: Any, task: Task, limit: int, name: str) -> Any:
    """The value of a setting nearest to what it is, of those that keep the run within `limit` bytes; None: there is none."""
    value, most = steps_of(config, name)

    def fits(step: int) -> bool:
        return total(dataclasses.replace(config, **{name: value(step)}).takes(task)) <= limit

    if most < 1 or not fits(most):
        return None
    low, high = 0, most  # which does not fit, and which does
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return value(high)


def steps_of(config: Any, name: str) -> tuple[Callable[[int], Any], int]:
    """Values of a setting, each of which takes less memory than the one before, by number from 1 on, and how many."""
    now = getattr(config, name)
    if name == "accumulate":
        return lambda step: now + step, config.most_parts - now
    if name in ("capacity", "batch_size"):
        least, unit = (config.least_held, config.num_envs) if name == "capacity" else (1, 1)
        return lambda step: (now // unit - step) * unit, now // unit - -(-least // unit)
    if isinstance(now, tuple):
        return lambda step: tuple(max(1, width - step) for width in now), max(now) - 1
    apart = name == "num_envs" and config.network in CELLS  # whole environments come into minibatches
    unit = config.minibatches if apart and hasattr(config, "minibatches") else 1
    other = {"num_envs": 1 if apart else getattr(config, "num_steps", 1), "num_steps": config.num_envs}.get(name, 1)
    least = -(-getattr(config, "updates_in_parts", 1) // other) if name in ("num_envs", "num_steps") else 1
    return lambda step: (now // unit - step) * unit, now // unit - -(-least // unit)
