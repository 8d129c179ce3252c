"""Gymnasium's robots, version 5, as MuJoCo Warp steps them, of the models that come with Gymnasium.

`MuJoCo/...` are those in three dimensions, and with a plane and an object; `Warp/...` the planar ones, which gpusim
steps by itself elsewhere: a second opinion on them, by another solver.
"""

from gpusim.envs.found import found
from gpusim.physics import PhysicsEnv

ROBOTS = found(__name__, PhysicsEnv)

__all__ = ["ROBOTS"]
