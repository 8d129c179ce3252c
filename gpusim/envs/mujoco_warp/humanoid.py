"""Humanoid-v5: a body with two legs and arms, seventeen motors and two tendons, to run along x; as Gymnasium has it.

The model asks for the solver PGS, and is solved by Newton's, which mujoco_warp has: in C MuJoCo the two differ by less than
1e-6 of the reward of a step.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box
from torch import Tensor

from gpusim.envs.mujoco_warp.shared import Options, begin, forces_squared, observe
from gpusim.physics import PhysicsEnv
from gpusim.sim.mujoco_model import of_gymnasium


class Params(NamedTuple):
    forward_reward_weight: float = 1.25
    ctrl_cost_weight: float = 0.1
    contact_cost_weight: float = 5e-7
    contact_cost_max: float = 10.0
    healthy_reward: float = 5.0
    healthy_z_min: float = 1.0  # [m]
    healthy_z_max: float = 2.0  # [m]
    reset_noise_scale: float = 0.01


def healthy(d: Any, p: Params) -> Tensor:
    z = d.qpos[:, 2]
    return (p.healthy_z_min < z) & (z < p.healthy_z_max)


def centre(d: Any) -> Tensor:
    """`[N]`, x of the centre of mass [m]."""
    mass = d.model.body_mass
    return (mass * d.xipos[:, :, 0]).sum(1) / mass.sum(1)


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    speed = (centre(d) - centre(before)) / d.model.dt
    contact = p.contact_cost_weight * forces_squared(d)
    return {
        "reward_survive": p.healthy_reward * healthy(d, p).float(),
        "reward_forward": p.forward_reward_weight * speed,
        "reward_ctrl": -p.ctrl_cost_weight * action.square().sum(1),
        "reward_contact": -contact.minimum(contact.new_tensor(p.contact_cost_max)),
    }


def fallen(d: Any, p: Params) -> Tensor:
    return ~healthy(d, p)


def humanoid(*, xml_file: str | Path = "humanoid.xml", frame_skip: int = 5, **options: bool) -> PhysicsEnv:
    """Humanoid-v5 with Gymnasium's switches, see `Options`; its numbers are parameters."""
    o = Options(**options)
    return PhysicsEnv(
        id="MuJoCo/Humanoid-v5",
        model=of_gymnasium(xml_file),
        begin=begin,
        observe=partial(observe, o),
        reward=reward,
        terminated=fallen if o.terminate_when_unhealthy else None,
        params=Params(),
        frame_skip=frame_skip,
        max_episode_steps=1000,
        nconmax=24,
        njmax=128,
        camera="track",
    )


HUMANOID = humanoid().replace(
    observation_space=Box(-np.inf, np.inf, (348,), np.float32), action_space=Box(-0.4, 0.4, (17,), np.float32)
)
