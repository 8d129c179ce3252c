"""InvertedDoublePendulum-v5: two poles, one upon the other, on a cart that is pushed; as Gymnasium has it.

gpusim has it as functions too, which need no MuJoCo: this is MuJoCo Warp's opinion on it.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim.physics import PhysicsEnv, normals, uniforms
from gpusim.sim.mujoco_model import of_gymnasium


class Params(NamedTuple):
    healthy_reward: float = 10.0
    reset_noise_scale: float = 0.1


def begin(rng: Any, model: Any, p: Params) -> tuple[Tensor, Tensor]:
    noise = p.reset_noise_scale
    return model.qpos0 + uniforms(rng, 0, 3, -noise, noise), normals(rng, 64, 3, noise)


def observe(d: Any, p: Params) -> Tensor:
    angles, force = d.qpos[:, 1:], d.qfrc_constraint[:, :1].clamp(-10.0, 10.0)
    return torch.cat([d.qpos[:, :1], angles.sin(), angles.cos(), d.qvel.clamp(-10.0, 10.0), force], 1)


def fallen(d: Any, p: Params) -> Tensor:
    return d.site_xpos[:, 0, 2] <= 1.0


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    x, y, v1, v2 = d.site_xpos[:, 0, 0], d.site_xpos[:, 0, 2], d.qvel[:, 1], d.qvel[:, 2]
    return {
        "reward_survive": p.healthy_reward * (1.0 - fallen(d, p).float()),
        "distance_penalty": -(0.01 * x.square() + (y - 2.0).square()),
        "velocity_penalty": -(1e-3 * v1.square() + 5e-3 * v2.square()),
    }


INVERTED_DOUBLE_PENDULUM = PhysicsEnv(
    id="Warp/InvertedDoublePendulum-v5",
    model=of_gymnasium("inverted_double_pendulum.xml"),
    begin=begin,
    observe=observe,
    reward=reward,
    terminated=fallen,
    params=Params(),
    frame_skip=5,
    observation_space=Box(-np.inf, np.inf, (9,), np.float32),
    action_space=Box(-1.0, 1.0, (1,), np.float32),
    max_episode_steps=1000,
    reward_threshold=9100.0,
    nconmax=4,
    njmax=16,
)
