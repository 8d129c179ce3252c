"""The classic control problems, as Gymnasium has them."""

from gpusim.envs.found import found

CLASSIC = found(__name__)

__all__ = ["CLASSIC"]
