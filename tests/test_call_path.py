"""How many files an action passes from a learner to the maths of an environment: so many a reader has to open.

On a CPU, step by step; a limit is what there was when it was last lowered, and is meant to fall.
"""

import inspect
import os
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

import gpusim
from gpusim.agents.train.discovery import algorithms, module
from gpusim.agents.train.learner import Learner
from gpusim.envs.classic import cartpole, pendulum

ROOT = Path(gpusim.__file__).parent.parent
TO_COLLECT = 7  # from `train` to the learner's `collect`, that of the latter included
TO_THE_MATHS = 8  # from the learner's `collect` to the environment's `step`, both included
SMALL = {"num_envs": 4, "total_steps": 64, "backend": "eager", "device": "cpu"}
MATHS = {"CartPole-v1": cartpole.step, "Pendulum-v1": pendulum.step}
FEW = {"num_steps": 8, "minibatches": 2, "episode_steps": 16, "learning_starts": 40, "batch_size": 8}


@contextmanager
def calls_of(function):
    """A list of the stacks in which `function` is called from now on: their frames' code, the outermost first."""
    stacks, before = [], sys.getprofile()

    def look(frame, event, _):
        if event == "call" and frame.f_code is function.__code__:
            stacks.append([*outwards(frame)][::-1])

    sys.setprofile(look)
    try:
        yield stacks
    finally:
        sys.setprofile(before)


def outwards(frame):
    while frame:
        yield frame.f_code
        frame = frame.f_back


def between(stack, first, last):
    """The library's files that a stack passes from the first call of `first` to the last of `last`, each once, in order."""
    start, stop = stack.index(first.__code__), len(stack) - 1 - stack[::-1].index(last.__code__)
    files = (os.path.realpath(code.co_filename) for code in stack[start : stop + 1])
    return list(dict.fromkeys(str(Path(file).relative_to(ROOT)) for file in files if Path(file).is_relative_to(ROOT)))


@cache
def trained(algorithm):
    """The stacks of the environment's steps while a small learner collects, and its `train`."""
    ours = module(algorithm)
    fields = inspect.signature(ours.Config).parameters
    config = ours.Config(**SMALL, **{name: n for name, n in FEW.items() if name in fields})
    with calls_of(MATHS[config.env]) as stacks:
        ours.train(config)
    return [stack for stack in stacks if Learner.collect.__code__ in stack], ours.train


def longest(algorithm, first, last):
    """The files of the longest way; None stands for the algorithm's `train`, or for its environment's step."""
    stacks, train = trained(algorithm)
    assert stacks, "no step of the environment was seen"
    last = last or MATHS[module(algorithm).Config().env]
    return max((between(stack, first or train, last) for stack in stacks), key=len)


WAYS = [(None, Learner.collect, TO_COLLECT), (Learner.collect, None, TO_THE_MATHS)]


@pytest.mark.parametrize(("first", "last", "limit"), WAYS, ids=["to_collect", "to_the_maths"])
@pytest.mark.parametrize("algorithm", algorithms())
def test_from_a_learner_to_the_maths(algorithm, first, last, limit):
    files = longest(algorithm, first, last)
    assert len(files) <= limit, f"an action passes {len(files)} files, and {limit} are allowed: {', '.join(files)}"


@pytest.mark.parametrize(("first", "last", "limit"), WAYS, ids=["to_collect", "to_the_maths"])
def test_the_limits_are_as_low_as_they_can_be(first, last, limit):
    """Where the ways became shorter, their limit follows."""
    assert max(len(longest(algorithm, first, last)) for algorithm in algorithms()) == limit
