"""Ant-v5: four legs and eight motors, to run along x; as Gymnasium has it."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim.physics import PhysicsEnv, beside, normals, uniforms
from gpusim.sim.mujoco_model import of_gymnasium


class Params(NamedTuple):
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 0.5
    contact_cost_weight: float = 5e-4
    healthy_reward: float = 1.0
    healthy_z_min: float = 0.2  # [m]
    healthy_z_max: float = 1.0  # [m]
    contact_force_min: float = -1.0
    contact_force_max: float = 1.0
    reset_noise_scale: float = 0.1


class Options(NamedTuple):
    main_body: str | int = 1  # whose place is the ant's
    terminate_when_unhealthy: bool = True
    exclude_current_positions_from_observation: bool = True
    include_cfrc_ext_in_observation: bool = True


def begin(rng: Any, model: Any, p: Params) -> tuple[Tensor, Tensor]:
    host, noise = model.host, p.reset_noise_scale
    return model.qpos0 + uniforms(rng, 0, host.nq, -noise, noise), normals(rng, 64, host.nv, noise)


def healthy(d: Any, p: Params) -> Tensor:
    z = d.qpos[:, 2]
    return (p.healthy_z_min <= z) & (z <= p.healthy_z_max)  # what is not finite never comes here


def contact_forces(d: Any, p: Params) -> Tensor:
    low, high = (
        beside(torch.as_tensor(x, device=d.qpos.device), 3) for x in (p.contact_force_min, p.contact_force_max)
    )
    return d.cfrc_ext.clamp(low, high)


def observe(o: Options, d: Any, p: Params) -> Tensor:
    first = 2 if o.exclude_current_positions_from_observation else 0
    forces = [contact_forces(d, p)[:, 1:].flatten(1)] if o.include_cfrc_ext_in_observation else []
    return torch.cat([d.qpos[:, first:], d.qvel, *forces], 1)


def reward(o: Options, before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    body = o.main_body if isinstance(o.main_body, int) else d.model.body(o.main_body)
    speed = (d.xpos[:, body, 0] - before.xpos[:, body, 0]) / d.model.dt
    return {
        "reward_forward": p.forward_reward_weight * speed,
        "reward_ctrl": -p.ctrl_cost_weight * action.square().sum(1),
        "reward_contact": -p.contact_cost_weight * contact_forces(d, p).square().sum((1, 2)),
        "reward_survive": p.healthy_reward * healthy(d, p).float(),
    }


def fallen(d: Any, p: Params) -> Tensor:
    return ~healthy(d, p)


def ant(*, xml_file: str | Path = "ant.xml", frame_skip: int = 5, **options: Any) -> PhysicsEnv:
    """Ant-v5 with Gymnasium's switches, see `Options`; its numbers are parameters."""
    o = Options(**options)
    return PhysicsEnv(
        id="MuJoCo/Ant-v5",
        model=of_gymnasium(xml_file),
        begin=begin,
        observe=partial(observe, o),
        reward=partial(reward, o),
        terminated=fallen if o.terminate_when_unhealthy else None,
        params=Params(),
        frame_skip=frame_skip,
        max_episode_steps=1000,
        reward_threshold=6000.0,
        nconmax=24,
        njmax=96,
        camera="track",
    )


ANT = ant().replace(
    observation_space=Box(-np.inf, np.inf, (105,), np.float32), action_space=Box(-1.0, 1.0, (8,), np.float32)
)
