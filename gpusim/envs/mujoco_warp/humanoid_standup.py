"""HumanoidStandup-v5: the humanoid lies on its back and should stand up, and stay up; as Gymnasium has it.

It is solved by Newton's method instead of PGS, as Humanoid is.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim.envs.mujoco_warp.shared import Options, begin, forces_squared, observe
from gpusim.physics import PhysicsEnv
from gpusim.sim.mujoco_model import of_gymnasium


class Params(NamedTuple):
    uph_cost_weight: float = 1.0  # which Gymnasium does not use either
    ctrl_cost_weight: float = 0.1
    impact_cost_weight: float = 0.5e-6
    impact_cost_max: float = 10.0
    reset_noise_scale: float = 0.01


def reward(before: Any, d: Any, action: Tensor, p: Params) -> dict[str, Tensor]:
    height = d.qpos[:, 2]
    impact = p.impact_cost_weight * forces_squared(d)
    return {
        "reward_linup": height * d.model.frame_skip / d.model.dt,  # by the model's time step, not the environment's
        "reward_quadctrl": -p.ctrl_cost_weight * action.square().sum(1),
        "reward_impact": -impact.minimum(impact.new_tensor(p.impact_cost_max)),
        "reward_alive": torch.ones_like(height),
    }


def humanoid_standup(
    *, xml_file: str | Path = "humanoidstandup.xml", frame_skip: int = 5, **options: bool
) -> PhysicsEnv:
    """HumanoidStandup-v5 with Gymnasium's switches, see `Options`; its numbers are parameters."""
    return PhysicsEnv(
        id="MuJoCo/HumanoidStandup-v5",
        model=of_gymnasium(xml_file),
        begin=begin,
        observe=partial(observe, Options(**options)),
        reward=reward,
        params=Params(),
        frame_skip=frame_skip,
        max_episode_steps=1000,
        nconmax=32,
        njmax=160,
        camera="track",
    )


HUMANOID_STANDUP = humanoid_standup().replace(
    observation_space=Box(-np.inf, np.inf, (348,), np.float32), action_space=Box(-0.4, 0.4, (17,), np.float32)
)
