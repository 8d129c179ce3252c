"""HalfCheetah-v5: two legs and six motors in a plane, to run along x; as Gymnasium has it.

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
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 0.1
    reset_noise_scale: float = 0.1


def begin(rng: Any, model: Any, p: Params) -> tuple[Tensor, Tensor]:
    host, noise = model.host, p.reset_noise_scale
    return model.qpos0 + uniforms(rng, 0, host.nq, -noise, noise), normals(rng, 64, host.nv, noise)


def observe(d: Any, p: Params) -> Tensor:
    return torch.cat([d.qpos[:, 1:], d.qvel], 1)


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    return {
        "reward_forward": p.forward_reward_weight * (d.qpos[:, 0] - before.qpos[:, 0]) / d.model.dt,
        "reward_ctrl": -p.ctrl_cost_weight * action.square().sum(1),
    }


HALF_CHEETAH = PhysicsEnv(
    id="Warp/HalfCheetah-v5",
    model=of_gymnasium("half_cheetah.xml"),
    begin=begin,
    observe=observe,
    reward=reward,
    params=Params(),
    frame_skip=5,
    observation_space=Box(-np.inf, np.inf, (17,), np.float32),
    action_space=Box(-1.0, 1.0, (6,), np.float32),
    max_episode_steps=1000,
    reward_threshold=4800.0,
    nconmax=12,
    njmax=48,
)
