"""Level 2: an algorithm a file, and in the rooms beside them what they are made of, the trainer, and the command line."""

import sys
from typing import TYPE_CHECKING, Any

from gpusim.agents.moved import Moved

if TYPE_CHECKING:
    from pathlib import Path

    from gpusim.agents.train.environments import Given
    from gpusim.agents.train.evaluate import Loaded
    from gpusim.agents.train.loop import Result

__all__ = ["load_policy", "resume"]

sys.meta_path.append(Moved())


def load_policy(
    run: "str | Path", deterministic: bool = False, trust: bool = False, env: "Given | None" = None
) -> "Loaded":
    """The policy of a run folder, a callable from observations `[N, *obs]` to actions; of a network that remembers, a
    `gpusim.policy.StatefulPolicy`, which `rollout` takes too. See `gpusim.agents.train.evaluate`.

    `trust=True` imports the environment that was trained on, where that is one's own: `mine.py:Mine-v0`. `env` stands for
    the environments that the run was handed from Python.
    """
    from gpusim.agents.train.evaluate import load_policy

    return load_policy(run, deterministic, trust=trust, env=env)


def resume(path: "str | Path", env: "Given | None" = None, **changes: Any) -> "Result":
    """Goes on with the run in a folder; on the environments `env`, if such were handed to it. See
    `gpusim.agents.train.training`."""
    from gpusim.agents.train.training import resume

    return resume(path, env, **changes)
