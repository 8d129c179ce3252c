"""Reacher-v5: an arm with two joints in a plane, to reach a target; as Gymnasium has it.

gpusim has it as functions too, which need no MuJoCo: this is MuJoCo Warp's opinion on it.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim.physics import PhysicsEnv, uniforms
from gpusim.sim.mujoco_model import of_gymnasium

TRIES = 32  # of which one is within the disc but for once in 1e21


class Params(NamedTuple):
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 1.0


def begin(rng: Any, model: Any, p: Params) -> tuple[Tensor, Tensor]:
    x, y = uniforms(rng, 0, TRIES, -0.2, 0.2), uniforms(rng, 8, TRIES, -0.2, 0.2)
    first = ((x.square() + y.square()).sqrt() < 0.2).int().argmax(1, keepdim=True)
    goal = torch.cat([x.gather(1, first), y.gather(1, first)], 1)
    arm = model.qpos0[:, :2] + uniforms(rng, 16, 2, -0.1, 0.1)
    speed = uniforms(rng, 17, 2, -0.005, 0.005)
    return torch.cat([arm, goal], 1), torch.cat([speed, torch.zeros_like(speed)], 1)


def off(d: Any) -> Tensor:
    """`[N, 3]`, from the target to the tip [m]."""
    return d.xpos[:, d.model.body("fingertip")] - d.xpos[:, d.model.body("target")]


def observe(d: Any, p: Params) -> Tensor:
    angles = d.qpos[:, :2]
    return torch.cat([angles.cos(), angles.sin(), d.qpos[:, 2:], d.qvel[:, :2], off(d)[:, :2]], 1)


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    return {
        "reward_dist": -p.reward_dist_weight * torch.linalg.vector_norm(off(d), dim=1),
        "reward_ctrl": -p.reward_control_weight * action.square().sum(1),
    }


REACHER = PhysicsEnv(
    id="Warp/Reacher-v5",
    model=of_gymnasium("reacher.xml"),
    begin=begin,
    observe=observe,
    reward=reward,
    params=Params(),
    frame_skip=2,
    observation_space=Box(-np.inf, np.inf, (10,), np.float32),
    action_space=Box(-1.0, 1.0, (2,), np.float32),
    max_episode_steps=50,
    reward_threshold=-3.75,
    nconmax=4,
    njmax=16,
)
