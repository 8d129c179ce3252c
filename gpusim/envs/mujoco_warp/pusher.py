"""Pusher-v5: an arm with seven joints, to push a cylinder to a goal; as Gymnasium has it."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim.physics import PhysicsEnv, uniforms
from gpusim.sim.mujoco_model import of_gymnasium

TRIES = 32  # of which one is at least 0.17 m off the goal but for once in 1e13


class Params(NamedTuple):
    reward_near_weight: float = 0.5
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 0.1


def begin(rng: Any, model: Any, p: Params) -> tuple[Tensor, Tensor]:
    x, y = uniforms(rng, 0, TRIES, -0.3, 0.0), uniforms(rng, 8, TRIES, -0.2, 0.2)
    far = (x.square() + y.square()).sqrt() > 0.17  # the goal is at 0, 0
    first = far.int().argmax(1, keepdim=True)
    place = torch.cat([x.gather(1, first), y.gather(1, first)], 1)
    arm = model.qpos0[:, :-4].expand(len(place), -1)
    speed = uniforms(rng, 16, model.host.nv, -0.005, 0.005)
    still = torch.zeros_like(speed[:, -4:])
    return torch.cat([arm, place, torch.zeros_like(place)], 1), torch.cat([speed[:, :-4], still], 1)


def observe(d: Any, p: Params) -> Tensor:
    places = [d.xpos[:, d.model.body(name)] for name in ("tips_arm", "object", "goal")]
    return torch.cat([d.qpos[:, :7], d.qvel[:, :7], *places], 1)


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    tip, thing, goal = (d.xpos[:, d.model.body(name)] for name in ("tips_arm", "object", "goal"))
    return {
        "reward_dist": -p.reward_dist_weight * torch.linalg.vector_norm(thing - goal, dim=1),
        "reward_ctrl": -p.reward_control_weight * action.square().sum(1),
        "reward_near": -p.reward_near_weight * torch.linalg.vector_norm(thing - tip, dim=1),
    }


def pusher(*, xml_file: str | Path = "pusher_v5.xml", frame_skip: int = 5) -> PhysicsEnv:
    """Pusher-v5; Gymnasium's numbers are parameters."""
    return PhysicsEnv(
        id="MuJoCo/Pusher-v5",
        model=of_gymnasium(xml_file),
        begin=begin,
        observe=observe,
        reward=reward,
        params=Params(),
        frame_skip=frame_skip,
        max_episode_steps=100,
        reward_threshold=0.0,
        nconmax=16,
        njmax=64,
    )


PUSHER = pusher().replace(
    observation_space=Box(-np.inf, np.inf, (23,), np.float32), action_space=Box(-2.0, 2.0, (7,), np.float32)
)
