"""Level 2: learners, the trainer around them, and the command line."""

from typing import Any

__all__ = ["load_policy"]


def load_policy(run: Any, deterministic: bool = False, trust: bool = False) -> Any:
    """The policy of a run folder: a callable from observations `[N, *obs]` to actions; see `gpusim.agents.evaluate`.

    `trust=True` imports the environment that was trained on, where that is one's own: `mine.py:Mine-v0`.
    """
    from gpusim.agents.evaluate import load_policy

    return load_policy(run, deterministic, trust=trust)
