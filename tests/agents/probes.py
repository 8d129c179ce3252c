"""Environments with one thing to learn each, and a known answer."""

from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

import gpusim
from gpusim.kernels.lang import Lane, Rng, false_like, ones_like, uniform, where, zeros_like


class State(NamedTuple):
    x: Lane  # what is observed


class Params(NamedTuple):
    unused: Lane = 0.0


def zero(rng: Rng, p: Params) -> State:
    return State(zeros_like(uniform(rng, 0, 0.0, 1.0)))


def coin(rng: Rng, p: Params) -> State:
    return State(where(uniform(rng, 0, -1.0, 1.0) > 0.0, 1.0, -1.0))


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return (s.x,)


def constant(s, action, rng, p):
    return s, ones_like(s.x), s.x == s.x


def seen(s, action, rng, p):
    return s, s.x, s.x == s.x


def delayed(s, action, rng, p):
    return State(s.x + 1.0), where(s.x > 0.5, 1.0, 0.0), s.x > 0.5


def endless(s, action, rng, p):
    return s, ones_like(s.x), false_like(s.x)


def chosen(s, action, rng, p):
    return s, where(action == 1, 1.0, -1.0), s.x == s.x


def matched(s, action, rng, p):
    return s, where((action == 1) == (s.x > 0.0), 1.0, -1.0), s.x == s.x


def aimed(s, action, rng, p):
    return s, -(action - 0.5) * (action - 0.5), s.x == s.x


def probe(name, init, step, continuous=False, limit=None):
    bound = np.array([10.0], np.float32)
    return gpusim.register(
        gpusim.Env(
            id=f"Probe{name}-v0",
            init=init,
            step=step,
            observe=observe,
            params=Params(),
            observation_space=Box(-bound, bound),
            action_space=Box(-1.0, 1.0, (1,)) if continuous else Discrete(2),
            max_episode_steps=limit,
        )
    )


CONSTANT = probe("Constant", zero, constant)
SEEN = probe("Seen", coin, seen)
DELAYED = probe("Delayed", zero, delayed)
ENDLESS = probe("Endless", zero, endless, limit=5)
CHOSEN = probe("Chosen", zero, chosen)
MATCHED = probe("Matched", coin, matched)
AIMED = probe("Aimed", zero, aimed, continuous=True)


def followed(s, action, rng, p):
    return s, -(action - 0.5 * s.x) * (action - 0.5 * s.x), s.x == s.x


class Continuous:
    """The same of continuous actions, and one whose action has to follow what is seen."""

    CONSTANT = probe("ContinuousConstant", zero, constant, continuous=True)
    SEEN = probe("ContinuousSeen", coin, seen, continuous=True)
    DELAYED = probe("ContinuousDelayed", zero, delayed, continuous=True)
    ENDLESS = probe("ContinuousEndless", zero, endless, continuous=True, limit=5)
    AIMED = AIMED
    FOLLOWED = probe("ContinuousFollowed", coin, followed, continuous=True)
