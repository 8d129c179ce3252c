"""The MinAtar games; `-v1` takes the actions that do something in the game, `-v0` all six."""

from gpusim.envs.found import found

MINATAR = found(__name__)
GAMES, ALL_ACTIONS = (tuple(env for env in MINATAR if env.id.endswith(version)) for version in ("-v1", "-v0"))

__all__ = ["ALL_ACTIONS", "GAMES", "MINATAR"]
