"""The MinAtar games, one file each; `-v1` takes the actions that do something in the game, `-v0` all six."""

from gpusim.envs.minatar.asterix import ASTERIX, ASTERIX_ALL_ACTIONS
from gpusim.envs.minatar.breakout import BREAKOUT, BREAKOUT_ALL_ACTIONS
from gpusim.envs.minatar.freeway import FREEWAY, FREEWAY_ALL_ACTIONS
from gpusim.envs.minatar.seaquest import SEAQUEST, SEAQUEST_ALL_ACTIONS
from gpusim.envs.minatar.space_invaders import SPACE_INVADERS, SPACE_INVADERS_ALL_ACTIONS

GAMES = (BREAKOUT, ASTERIX, FREEWAY, SPACE_INVADERS, SEAQUEST)
ALL_ACTIONS = (
    BREAKOUT_ALL_ACTIONS,
    ASTERIX_ALL_ACTIONS,
    FREEWAY_ALL_ACTIONS,
    SPACE_INVADERS_ALL_ACTIONS,
    SEAQUEST_ALL_ACTIONS,
)
MINATAR = (*GAMES, *ALL_ACTIONS)

__all__ = ["ALL_ACTIONS", "GAMES", "MINATAR"]
