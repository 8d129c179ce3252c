"""Hopper-v5: one leg and three motors in a plane, to hop along x; as Gymnasium has it.

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
    healthy_state_max: float = 100.0  # of every place but x and z, and every speed, either way
    healthy_z_min: float = 0.7  # [m]
    healthy_angle_max: float = 0.2  # [rad]
    reset_noise_scale: float = 5e-3


def observe(d: Any, p: Params) -> Tensor:
    return torch.cat([d.qpos[:, 1:], d.qvel.clamp(-10.0, 10.0)], 1)


def healthy(d: Any, p: Params) -> Tensor:
    z, angle = d.qpos[:, 1], d.qpos[:, 2]
    within = (torch.cat([d.qpos[:, 2:], d.qvel], 1).abs().amax(1)) < p.healthy_state_max
    return within & (p.healthy_z_min < z) & (angle.abs() < p.healthy_angle_max)


def fallen(d: Any, p: Params) -> Tensor:
    return ~healthy(d, p)


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    return {
        "reward_forward": p.forward_reward_weight * (d.qpos[:, 0] - before.qpos[:, 0]) / d.model.dt,
        "reward_ctrl": -p.ctrl_cost_weight * action.square().sum(1),
        "reward_survive": p.healthy_reward * healthy(d, p).float(),
    }


HOPPER = PhysicsEnv(
    id="Warp/Hopper-v5",
    model=of_gymnasium("hopper.xml"),
    begin=begin,
    observe=observe,
    reward=reward,
    terminated=fallen,
    params=Params(),
    frame_skip=4,
    observation_space=Box(-np.inf, np.inf, (11,), np.float32),
    action_space=Box(-1.0, 1.0, (3,), np.float32),
    max_episode_steps=1000,
    reward_threshold=3800.0,
    nconmax=12,
    njmax=48,
)
