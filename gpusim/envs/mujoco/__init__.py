"""The planar tasks of Gymnasium's MuJoCo environments (v5), simulated without MuJoCo.

A robot's file holds its numbers (`model`), state, reward and observation. `tree` works out the constants of its equations,
`planar` has the equations, `trace` and `emitted` make functions in the vocabulary of them, when they are first asked for.
"""

from gpusim.envs.found import found

MUJOCO = found(__name__)

__all__ = ["MUJOCO"]
