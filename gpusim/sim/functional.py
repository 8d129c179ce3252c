"""Environments that are pure functions, stepped on tensors without ever asking the device anything: a GPU's way."""

import functools
import re
import types
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from gpusim import engine
from gpusim.book import Step, Tally, reopened
from gpusim.engine import Carry, Mode
from gpusim.env import Env
from gpusim.errors import InputError
from gpusim.kernels.lang import Lane
from gpusim.kernels.policy import MlpPolicy
from gpusim.policy import Policy
from gpusim.remember import by_env
from gpusim.rollout import Rollout
from gpusim.tree import changed

T = TypeVar("T")


class OneByOne:
    """What steppers have in common, whatever their carry is."""

    def step(self, c: Any, action: Any, observe: bool, tally: Tally | None) -> tuple[Any, Step, Tally | None]:
        raise NotImplementedError

    def steps(self, c: Any, actions: list, tally: Tally) -> tuple[Any, Tally]:
        for action in actions:
            c, _, counted = self.step(c, action, False, tally)
            tally = counted or tally
        return c, tally

    def rollout_into(self, c: Any, out: Any, policy: MlpPolicy, clock: Tensor) -> None:
        raise InputError('only the backend "triton" makes a rollout in place.')


class Functional(OneByOne):
    """What steppers have in common whose carry is of tensors, or arrays, and that know no faster way to make many steps."""

    env: Env
    mode: Mode
    index: Lane

    def rollout(
        self, c: Carry, clock: int, num_steps: int, policy: Policy | None, transitions: bool
    ) -> tuple[Carry, Rollout] | None:
        return None

    def begin(self, c: Carry, mask: Tensor) -> Carry:
        c, mask = self.to_lanes((self.settle(c), mask))
        with np.errstate(all="ignore"):
            fresh = engine.fresh(self.env, self.mode, c.params, c.seed, self.index, c.episode + 1)
        return engine.begin_where(mask, c._replace(book=reopened(c.book, mask), episode=c.episode + mask), fresh)

    def over(self, c: Carry) -> Tensor:
        over = c.book.terminated | c.book.truncated
        return over if isinstance(over, Tensor) else torch.from_numpy(over)

    def settle(self, c: Carry) -> Carry:
        return c

    def to_lanes(self, tree: T) -> T:
        """The tensors of a tree in the form that steps compute with: tensors, or NumPy arrays of the same memory."""
        return tree


class SyncFree(Functional):
    """Every step draws every environment's next beginning, needed or not, so no value is ever looked at."""

    def __init__(self, env: Env, mode: Mode, index: Lane, compiled: bool):
        self.env, self.mode, self.index = env, mode, index
        self.function = _compiled_step(env, mode) if compiled else functools.partial(full_step, env, mode)
        self.observation = _compiled_observation(env) if compiled else functools.partial(engine.observation, env)

    def step(self, c: Carry, action: Any, observe: bool, tally: Tally | None) -> tuple[Carry, Step, Tally | None]:
        return self.function(c, self.index, action, observe, tally)

    def observe(self, c: Carry) -> Tensor:
        """Bit for bit what a step gives: a compiled sine differs from another in its last bits."""
        return self.observation(c.state, c.params)


def full_step(
    env: Env, mode: Mode, c: Carry, index: Lane, action: Any, observe: bool, tally: Tally | None
) -> tuple[Carry, Step, Tally | None]:
    """Draw, step and reset, in one function that can be captured whole."""
    fresh = engine.fresh(env, mode, c.params, c.seed, index, c.episode + 1)
    new, out, tally = engine.transition(env, mode, c, action, index, fresh, observe, tally)
    return changed(new, episode=c.episode + out.reset), out, tally


@by_env
def _compiled_step(env: Env, mode: Mode) -> Callable:
    def step(c, index, action, observe, tally):
        return full_step(env, mode, c, index, action, observe, tally)

    return compiled(step)


@by_env
def _compiled_observation(env: Env) -> Callable:
    def observation(state, params):
        return engine.observation(env, state, params)

    return compiled(observation)


@by_env
def compiled_actions(env: Env) -> Callable:
    """`engine.random_actions` of the environment's space."""

    def draw(seed, index, block):
        return engine.random_actions(env.action_space, seed, index, block)

    return compiled(draw)


def compiled(function: Callable) -> Callable:
    """By `torch.compile`, whole or not at all; what it reads beside its arguments is read once.

    The code object is the function's own, as Dynamo's cache hangs on that; a look at every constant in each call would take
    longer than a step.
    """
    code = function.__code__.replace()
    own = types.FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)

    def of_arguments(guards: Any) -> list[bool]:
        return [not (g.is_global or re.split(r"[.\[]", g.name)[0] in code.co_freevars) for g in guards]

    return torch.compile(own, fullgraph=True, options={"max_fusion_size": 4096, "guard_filter_fn": of_arguments})
