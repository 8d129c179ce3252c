"""What this device could do at most, and the share of it that a measurement reaches.

Two ceilings (Williams et al., 2009): bytes a second, measured by copying a tensor that no cache holds, and operations a
second, measured by a product of float32 matrices. A step has to move at least what its call returns, and the state once in
and once out of every call; what it has to compute is counted from the environment's own functions, every operation on an
entry as one. The drawing of new beginnings, and whatever else an implementation does beside that, is its own doing.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import gpusim
from gpusim import engine
from gpusim.agents.bench.measure import Bench, Point, seconds_of
from gpusim.book import Rules
from gpusim.engine import Mode
from gpusim.state import carry_of
from gpusim.tree import tensors
from gpusim.vector import VectorEnv

COPIED = 2**28  # bytes
SIZE = 2048  # of the matrices
FREE = (
    "aten.empty",
    "aten.full",
    "aten.ones",
    "aten.zeros",
    "aten._to_copy",
    "aten.stack",
    "aten.cat",
    "aten.clone",
    "aten.lift",
)  # and views


class Ceiling(NamedTuple):
    """Of a device."""

    bytes_per_second: float  # read plus written, by a copy
    operations_per_second: float  # float32, by a product of matrices


class Work(NamedTuple):
    """Of one environment step in some mode; None where it is not counted."""

    bytes: float | None
    operations: float | None


@cache
def ceiling(device: torch.device, rounds: int = 7) -> Ceiling:
    """The best of some rounds, measured once in a process."""
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    a = torch.ones(SIZE, SIZE, device=device)
    b = torch.ones_like(a)
    copy = min(seconds_of(lambda: target.copy_(source), device) for _ in range(rounds))
    product = min(seconds_of(lambda: a @ b, device) for _ in range(rounds))
    return Ceiling(2 * COPIED / copy, 2 * SIZE**3 / product)


def work(point: Point, ready: Bench) -> Work:
    """What a step of this measurement cannot do without."""
    if point.mode in ("collect", "train"):
        return Work(None, None)
    moved = returned_bytes(ready.call()) * (ready.work // ready.env.num_envs if point.mode == "step" else 1)
    moved += 2 * state_bytes(ready.env)
    layers = 4 * 64 * (math.prod(ready.env.single_observation_space.shape or ()) + 64) if point.mode == "policy" else 0
    return Work(moved / ready.work, operations(point.env, point.mode != "sim") + layers)


def returned_bytes(tree: Any) -> int:
    """Bytes of the tensors in what a call returned, each piece of memory once."""
    pieces = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors(tree)}
    return sum(pieces.values())


def state_bytes(env: VectorEnv) -> int:
    """Bytes of `get_state()`."""
    return sum(t.nbytes for t in tensors(env.get_state()) if t.ndim)


class Operations(TorchDispatchMode):
    """Counts the entries that operations compute; copies and views are none."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not (func.is_view or str(func).startswith(FREE)):
            self.count += max(t.numel() for t in [*tensors(out), *tensors(args)])
        return out


def operations(env: str, observe: bool, num_envs: int = 64) -> float:
    """Operations of one environment step in torch, the first after a reset: dynamics, time limit, statistics, and the
    observation where it is looked at."""
    made = gpusim.make(env, num_envs, device="cpu", backend="eager")
    made.reset(seed=0)
    action = made.rollout(1).action
    assert action is not None
    made.reset(seed=0)
    carry = carry_of(made.get_state())
    mode = Mode(Rules(made.autoreset_mode, made.max_episode_steps), (), engine.draws(made.task.step), ())
    with torch.no_grad(), Operations() as counted:
        after, _ = engine.advance(made.task, mode, carry, engine.action_lanes(action[0]), made.index)
        if observe:
            engine.observation(made.task, after.state, after.params)
    return counted.count / num_envs
