"""Driving, as in highway-env 1.12.1 (Leurent, 2018): a highway in traffic, and parking."""

from gpusim.envs.found import found

DRIVING = found(__name__)

__all__ = ["DRIVING"]
