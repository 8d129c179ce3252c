"""Level 2: learners, the trainer around them, and the command line."""

from typing import Any

__all__ = ["load_policy", "resume"]


def load_policy(run: Any, deterministic: bool = False, trust: bool = False, env: Any = None) -> Any:
    """The policy of a run folder: a callable from observations `[N, *obs]` to actions; see `gpusim.agents.evaluate`.

    `trust=True` imports the environment that was trained on, where that is one's own: `mine.py:Mine-v0`. `env` stands for
    the environments that the run was handed from Python.
    """
    from gpusim.agents.evaluate import load_policy

    return load_policy(run, deterministic, trust=trust, env=env)


def resume(path: Any, env: Any = None, **changes: Any) -> Any:
    """Goes on with the run in a folder, on the environments `env` where it was handed such; see `gpusim.agents.training`."""
    from gpusim.agents.training import resume

    return resume(path, env, **changes)
