"""The classic control problems, as Gymnasium has them, and `STATELESS`, some of them without velocities."""

from gpusim.envs.found import found

_ALL = found(__name__)
CLASSIC, STATELESS = (tuple(e for e in _ALL if e.id.startswith("Stateless") == less) for less in (False, True))

__all__ = ["CLASSIC", "STATELESS"]
