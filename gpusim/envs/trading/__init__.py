"""Trading one asset, and a portfolio of several: on prices that are drawn, or on a table of them.

None of this is advice.
"""

from gpusim.envs.found import found

TRADING = found(__name__)

__all__ = ["TRADING"]
