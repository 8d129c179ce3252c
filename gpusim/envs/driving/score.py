"""How somebody drives: returns, and beside them crashes, speed and arrivals, here or in highway-env."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from gpusim.envs.driving.seen import FASTEST


class Score(NamedTuple):
    """Over episodes, one of each environment."""

    returns: np.ndarray  # [N]
    lengths: np.ndarray  # [N] in steps
    crashed: np.ndarray  # [N] bool
    arrived: np.ndarray  # [N] bool, of a parking place
    speed: float  # mean over all steps [m/s]

    def summary(self) -> dict[str, float]:
        spread = float(self.returns.std(ddof=1)) if len(self.returns) > 1 else 0.0
        return {
            "return": float(self.returns.mean()),
            "spread": spread,
            "length": float(self.lengths.mean()),
            "crashed": float(self.crashed.mean()),
            "arrived": float(self.arrived.mean()),
            "speed": self.speed,
        }


@torch.no_grad()
def score(policy: Callable[[Any], Any], venv: Any, seed: int = 0) -> Score:
    """Plays an episode in each environment of `venv`.

    Args:
        policy: from observations `[N, 25]` (or `[N, 12]`, of a parking place) to actions.
        venv: from `gpusim.make`, or a Gymnasium `VectorEnv` of highway-env's with the same observations, as
            `gpusim.agents.train.originals.original` gives them.
    """
    obs, _ = venv.reset(seed=seed)
    playing = np.ones(venv.num_envs, bool)
    returns, lengths, arrived = np.zeros(venv.num_envs), np.zeros(venv.num_envs, int), ~playing
    crashed, way, moving = ~playing, 0.0, 0
    parking = obs.shape[1] == 12
    while playing.any():
        obs, reward, terminated, truncated, _ = venv.step(policy(obs))
        seen, earned, over, cut = (np.asarray(x) for x in (obs, reward, terminated, truncated))
        returns += earned * playing
        lengths += playing
        arrived |= playing & over & parking & (earned > -1.0)
        crashed |= playing & over & ~arrived
        speed = 5.0 * np.hypot(seen[:, 2], seen[:, 3]) if parking else FASTEST * np.hypot(seen[:, 3], seen[:, 4])
        playing &= ~(over | cut)  # at an end some observe the beginning of the next episode
        way, moving = way + float(speed[playing].sum()), moving + int(playing.sum())
    return Score(returns, lengths, crashed, arrived, way / max(moving, 1))
