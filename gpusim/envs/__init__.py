"""The environments, one short file each, in a folder for every family.

Whatever `Env` or `PhysicsEnv` stands at the top level of a file in here is known to `gpusim.make`: there is no list. The
files import `gpusim.env` and the vocabulary, or `gpusim.physics`, and what their family shares, and never one another.
"""

from gpusim.envs.found import found
from gpusim.physics import PhysicsEnv

ENVIRONMENTS = found(__name__)
SIMULATED = found(__name__, PhysicsEnv)

__all__ = ["ENVIRONMENTS", "SIMULATED"]
