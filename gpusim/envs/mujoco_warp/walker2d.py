"""Walker2d-v5: two legs and six motors in a plane, to walk along x; as Gymnasium has it.

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
    ctrl_cost_weight: float = 1e-3
    healthy_reward: float = 1.0
    healthy_z_min: float = 0.8  # [m]
    healthy_z_max: float = 2.0  # [m]
    healthy_angle_max: float = 1.0  # [rad]
    reset_noise_scale: float = 5e-3


def observe(d: Any, p: Params) -> Tensor:
    return torch.cat([d.qpos[:, 1:], d.qvel.clamp(-10.0, 10.0)], 1)


def healthy(d: Any, p: Params) -> Tensor:
    z, angle = d.qpos[:, 1], d.qpos[:, 2]
    return (p.healthy_z_min < z) & (z < p.healthy_z_max) & (angle.abs() < p.healthy_angle_max)


def fallen(d: Any, p: Params) -> Tensor:
    return ~healthy(d, p)


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    return {
        "reward_forward": p.forward_reward_weight * (d.qpos[:, 0] - before.qpos[:, 0]) / d.model.dt,
        "reward_ctrl": -p.ctrl_cost_weight * action.square().sum(1),
        "reward_survive": p.healthy_reward * healthy(d, p).float(),
    }


WALKER2D = PhysicsEnv(
    id="Warp/Walker2d-v5",
    model=of_gymnasium("walker2d_v5.xml"),
    begin=begin,
    observe=observe,
    reward=reward,
    terminated=fallen,
    params=Params(),
    frame_skip=4,
    observation_space=Box(-np.inf, np.inf, (17,), np.float32),
    action_space=Box(-1.0, 1.0, (6,), np.float32),
    max_episode_steps=1000,
    nconmax=12,
    njmax=48,
)
