"""Environments that are worth measuring, or compiling, each for itself."""

import gpusim


def distinct() -> list[str]:
    """Ids of all environments but those that only take more actions than another, to the same effect: theirs are the same
    kernels, but for the table of actions."""
    fewest: dict[tuple, str] = {}
    for name in gpusim.env_ids(gpusim.Env):
        env = gpusim.spec(name)
        fewest.setdefault((env.init, env.observe), name)
        if _actions(name) < _actions(fewest[env.init, env.observe]):
            fewest[env.init, env.observe] = name
    return sorted(fewest.values(), key=gpusim.env_ids().index)


def _actions(name: str) -> int:
    return getattr(gpusim.spec(name).action_space, "n", 0)
