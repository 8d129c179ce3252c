"""What robots have in common: how most begin, and what the humanoid that runs and the one that stands up observe."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpusim.physics import uniforms


class Options(NamedTuple):
    terminate_when_unhealthy: bool = True  # of Humanoid alone
    exclude_current_positions_from_observation: bool = True
    include_cinert_in_observation: bool = True
    include_cvel_in_observation: bool = True
    include_qfrc_actuator_in_observation: bool = True
    include_cfrc_ext_in_observation: bool = True


def begin(rng: Any, model: Any, p: Any) -> tuple[Tensor, Tensor]:
    host, noise = model.host, p.reset_noise_scale
    return model.qpos0 + uniforms(rng, 0, host.nq, -noise, noise), uniforms(rng, 64, host.nv, -noise, noise)


def observe(o: Options, d: Any, p: Any) -> Tensor:
    """Without the first body, the world, and in `qfrc_actuator` without the root's six."""
    seen = [d.qpos[:, 2 if o.exclude_current_positions_from_observation else 0 :], d.qvel]
    if o.include_cinert_in_observation:
        seen.append(d.cinert[:, 1:].flatten(1))
    if o.include_cvel_in_observation:
        seen.append(d.cvel[:, 1:].flatten(1))
    if o.include_qfrc_actuator_in_observation:
        seen.append(d.qfrc_actuator[:, 6:])
    if o.include_cfrc_ext_in_observation:
        seen.append(d.cfrc_ext[:, 1:].flatten(1))
    return torch.cat(seen, 1)


def forces_squared(d: Any) -> Tensor:
    """`[N]`, over all bodies."""
    return d.cfrc_ext.square().sum((1, 2))
