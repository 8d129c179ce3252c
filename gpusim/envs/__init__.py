"""The environments, one short file each. They import `gpusim.env` and the vocabulary, and never one another."""

from gpusim.envs.acrobot import ACROBOT
from gpusim.envs.cartpole import CARTPOLE
from gpusim.envs.minatar import MINATAR
from gpusim.envs.mountain_car import MOUNTAIN_CAR
from gpusim.envs.mountain_car_continuous import MOUNTAIN_CAR_CONTINUOUS
from gpusim.envs.pendulum import PENDULUM

BUILTIN = (CARTPOLE, ACROBOT, MOUNTAIN_CAR, MOUNTAIN_CAR_CONTINUOUS, PENDULUM)

__all__ = ["ACROBOT", "BUILTIN", "CARTPOLE", "MINATAR", "MOUNTAIN_CAR", "MOUNTAIN_CAR_CONTINUOUS", "PENDULUM"]
