"""Highway/highway-v0 beside highway-env's."""

from tests.envs.highway_oracle import HighwayOracle

ORACLE = HighwayOracle("highway-v0")
