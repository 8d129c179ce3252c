"""The score of what a peer has learned, in Gymnasium's own environment."""

from collections.abc import Callable

import gymnasium
import numpy as np


def mean_return(
    act: Callable[[np.ndarray], np.ndarray], seed: int, episodes: int = 100, env: str = "CartPole-v1"
) -> float:
    """The mean return of so many episodes; `act` maps (episodes, ...) observations to actions."""
    envs = [gymnasium.make(env) for _ in range(episodes)]
    seen = np.stack([e.reset(seed=seed + i)[0] for i, e in enumerate(envs)])
    returns, running = np.zeros(episodes), np.ones(episodes, bool)
    while running.any():
        actions = np.asarray(act(seen))
        for i in np.flatnonzero(running):
            seen[i], reward, terminated, truncated, _ = envs[i].step(actions[i])
            returns[i] += float(reward)
            running[i] = not (terminated or truncated)
    return float(returns.mean())
