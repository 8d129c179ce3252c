"""InvertedPendulum-v5: a pole on a cart that is pushed; as Gymnasium has it.

gpusim has it as functions too, which need no MuJoCo: this is MuJoCo Warp's opinion on it.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim.envs.mujoco_warp.shared import begin
from gpusim.physics import PhysicsEnv
from gpusim.sim.mujoco_model import of_gymnasium


class Params(NamedTuple):
    reset_noise_scale: float = 0.01


def observe(d: Any, p: Params) -> Tensor:
    return torch.cat([d.qpos, d.qvel], 1)


def fallen(d: Any, p: Params) -> Tensor:
    return d.qpos[:, 1].abs() > 0.2


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    return {"reward_survive": 1.0 - fallen(d, p).float()}


INVERTED_PENDULUM = PhysicsEnv(
    id="Warp/InvertedPendulum-v5",
    model=of_gymnasium("inverted_pendulum.xml"),
    begin=begin,
    observe=observe,
    reward=reward,
    terminated=fallen,
    params=Params(),
    frame_skip=2,
    observation_space=Box(-np.inf, np.inf, (4,), np.float32),
    action_space=Box(-3.0, 3.0, (1,), np.float32),
    max_episode_steps=1000,
    reward_threshold=950.0,
    nconmax=4,
    njmax=16,
)
