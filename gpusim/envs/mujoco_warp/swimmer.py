"""Swimmer-v5: three links and two motors in a thick fluid, to swim along x; as Gymnasium has it.

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
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 1e-4
    reset_noise_scale: float = 0.1


def observe(d: Any, p: Params) -> Tensor:
    return torch.cat([d.qpos[:, 2:], d.qvel], 1)


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    return {
        "reward_forward": p.forward_reward_weight * (d.qpos[:, 0] - before.qpos[:, 0]) / d.model.dt,
        "reward_ctrl": -p.ctrl_cost_weight * action.square().sum(1),
    }


SWIMMER = PhysicsEnv(
    id="Warp/Swimmer-v5",
    model=of_gymnasium("swimmer.xml"),
    begin=begin,
    observe=observe,
    reward=reward,
    params=Params(),
    frame_skip=4,
    observation_space=Box(-np.inf, np.inf, (8,), np.float32),
    action_space=Box(-1.0, 1.0, (2,), np.float32),
    max_episode_steps=1000,
    reward_threshold=360.0,
    nconmax=8,
    njmax=16,
)
