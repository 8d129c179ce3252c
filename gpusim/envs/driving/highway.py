"""Highway/highway-v0: keep a car fast, to the right and whole among fifty others, on four lanes.

As in highway-env 1.12.1 (`HighwayEnv`): fifteen frames to a decision, collisions of all with all; see docs/driving.md.
"""

import numpy as np
from gymnasium.spaces import Box, Discrete

from gpusim.env import Env
from gpusim.envs.driving import picture
from gpusim.envs.driving.crashes import of_all
from gpusim.envs.driving.driven import driven, told
from gpusim.envs.driving.seen import observed, rewarded
from gpusim.envs.driving.traffic import Params, State, begun
from gpusim.kernels.lang import Lane, Rng

LANES, VEHICLES, SLOTS = 4, 51, 64
FRAMES, DT = 15, 1.0 / 15.0  # of a step, and the time between two [s]


def init(rng: Rng, p: Params) -> State:
    return begun(rng, p, VEHICLES, SLOTS, LANES)


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    s = told(s, action, SLOTS, LANES)
    for _ in range(FRAMES):
        s = of_all(driven(s, p, DT, VEHICLES, SLOTS, LANES), DT, VEHICLES, SLOTS)
    reward, crashed = rewarded(s, p, LANES)
    return s, reward, crashed


def observe(s: State, p: Params) -> tuple[Lane, ...]:
    return observed(s, VEHICLES, SLOTS, LANES)


def render(s: State, p: Params) -> np.ndarray:
    return picture.highway(s, LANES, VEHICLES)


render.fps = 4  # type: ignore[attr-defined]  # a step is a second


HIGHWAY = Env(
    id="Highway/highway-v0",
    init=init,
    step=step,
    observe=observe,
    params=Params(ego_spacing=2.0),
    observation_space=Box(-1.0, 1.0, (25,), np.float32),
    action_space=Discrete(5),
    render=render,
    max_episode_steps=40,
)
