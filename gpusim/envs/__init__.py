"""The environments, one short file each, in a folder for every family.

Whatever `Env` stands at the top level of a file in here is known to `gpusim.make`: there is no list. The files import
`gpusim.env`, the vocabulary and what their family shares, and never one another.
"""

from gpusim.envs.found import found

ENVIRONMENTS = found(__name__)

__all__ = ["ENVIRONMENTS"]
