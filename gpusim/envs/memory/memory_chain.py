"""MemoryChain-v0: a cue is shown once; after a delay, when it is asked for, it is to be repeated.

bsuite's memory chain of one bit (Osband et al., 2020), whose length is the parameter `delay` here. What is shown when the
cue is asked for is the same for either, so a policy without a memory guesses, and scores 0 on average; a perfect one 1.
"""

from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim.env import Env
from gpusim.kernels.lang import Lane, Rng, uniform, where, zeros_like


class State(NamedTuple):
    cue: Lane  # 0 or 1, the action that will be right
    time: Lane  # steps since it was shown


class Params(NamedTuple):
    delay: Lane = 10.0  # steps from the cue to the question, a whole number


def init(rng: Rng, p: Params) -> State:
    cue = where(uniform(rng, 0, 0.0, 1.0) < 0.5, 0.0, 1.0)
    return State(cue, zeros_like(cue))


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    asked = s.time >= p.delay
    right = where(action == s.cue, 1.0, -1.0)
    return State(s.cue, s.time + 1.0), where(asked, right, 0.0), asked


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return 1.0 - s.time / p.delay, where(s.time == 0.0, 2.0 * s.cue - 1.0, 0.0)


MEMORY_CHAIN = Env(
    id="MemoryChain-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=Box(-1.0, 1.0, (2,), np.float32),
    action_space=Discrete(2),
    max_episode_steps=None,
    reward_threshold=0.9,
)
