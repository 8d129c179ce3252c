"""A robot of one's own, the smallest: a cart on a rail with a pole, held up by pushing."""

from typing import NamedTuple

import torch

from gpusim.physics import PhysicsEnv, uniforms

XML = """
<mujoco model="pole">
  <option timestep="0.02"/>
  <worldbody>
    <light pos="0 -2 2"/>
    <geom name="rail" type="capsule" size="0.02 1" euler="0 90 0" contype="0" conaffinity="0"/>
    <body name="cart">
      <joint name="slide" type="slide" axis="1 0 0" damping="0.1"/>
      <geom type="box" size="0.1 0.05 0.05" mass="1" contype="0" conaffinity="0"/>
      <body name="pole">
        <joint name="hinge" type="hinge" axis="0 1 0" damping="0.002"/>
        <geom type="capsule" fromto="0 0 0 0 0 0.6" size="0.03" mass="0.2" contype="0" conaffinity="0"/>
        <site name="tip" pos="0 0 0.6"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor name="push" joint="slide" ctrlrange="-10 10" ctrllimited="true"/></actuator>
</mujoco>
"""


class Params(NamedTuple):
    noise: float = 0.05
    effort: float = 0.001
    damping: float = 1.0  # times the model's
    weight: float = 1.0  # times the model's


def begin(rng, model, p):
    return uniforms(rng, 0, 2, -p.noise, p.noise), uniforms(rng, 1, 2, -p.noise, p.noise)


def observe(d, p):
    return torch.cat([d.qpos, d.qvel, d.site_xpos[:, d.model.site("tip")]], 1)


def reward(before, d, action, p):
    return {"reward_alive": torch.ones_like(action[:, 0]), "reward_ctrl": -p.effort * action.square().sum(1)}


def fallen(d, p):
    return (d.qpos[:, d.model.qpos("hinge")].abs().amax(1) > 0.2) | (d.qpos[:, 0].abs() > 1.0)


FIELDS = {
    "dof_damping": lambda own, p: own * p.damping,
    "body_mass": lambda own, p: own * p.weight,
    "body_inertia": lambda own, p: own * p.weight,
}
POLE = PhysicsEnv(
    id="TestPole-v0",
    model=XML,
    begin=begin,
    observe=observe,
    reward=reward,
    terminated=fallen,
    params=Params(),
    frame_skip=2,
    max_episode_steps=200,
    reward_threshold=190.0,
)
