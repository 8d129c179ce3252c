"""Whether a learner is still given numbers and made of numbers; where it is not, the place from which that can be replayed.

A rollout is looked at on its device, and what is found is written down there; it travels with the metrics, so that no GPU is
waited for. On a CPU, where looking costs nothing, the rollout ends the run at once, before anything is learned from it.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import NoReturn, Protocol

import torch
from torch import Tensor

from gpusim.errors import NotFinite
from gpusim.kernels.finite import QUANTITIES, Found, all_finite, note_unfinite
from gpusim.kernels.launch import runs_on
from gpusim.rollout import Rollout

REMEMBERED = 2**26  # bytes of actions
HUGE = 1e15  # return from which on its square, and the moments of Adam, come near the end of float32


def remedy(mean_return: float) -> str:
    """What keeps a learner finite whose environments give numbers, as far as their mean return tells."""
    if abs(mean_return) < HUGE or math.isnan(mean_return):
        return "try a smaller learning_rate"
    return f"the rewards are too large for float32 (the mean return is {mean_return:.1e}), so scale them down"


class Watched(Protocol):
    """Environments that steps are counted of."""

    @property
    def device(self) -> torch.device: ...
    @property
    def episodes(self) -> Tensor:
        """`[N]` int64, each one's number since seeding."""

    @property
    def seeded(self) -> int: ...


class Watch:
    """Looks at every rollout of one learner's environments, and at its weights.

    Args:
        env: the environments.
        weights: gives the vectors that hold the weights.
    """

    def __init__(self, env: Watched, weights: Callable[[], list[Tensor]]):
        self.env, self.weights = env, weights
        self.noted = torch.zeros(len(Found._fields), dtype=torch.int64, device=env.device)
        self.actions = deque[Tensor]()  # of the last rollouts on a CPU, `[T, N]` or `[T, N, d]` each

    def look(self, rollout: Rollout, iteration: int) -> None:
        """Notes the first reward or observation that is not finite; on a CPU, raises NotFinite there."""
        parts, device = (rollout.obs, rollout.next_obs, rollout.reward), self.env.device
        self._remember(rollout.action)
        if device.type == "cpu" and not runs_on(device) and all(map(all_finite, parts)):
            return
        self.note(*parts, rollout.episode_length, rollout.terminated | rollout.truncated)
        if device.type == "cpu":
            self.check(self.report().tolist(), iteration)

    def note(
        self, obs: Tensor, next_obs: Tensor, reward: Tensor, length: Tensor, done: Tensor, value: Tensor | None = None
    ) -> None:
        """As `gpusim.kernels.finite.note_unfinite`."""
        note_unfinite(self.noted, obs, next_obs, reward, length, done, self.env.episodes, value)

    @torch.no_grad()
    def greatest(self) -> Tensor:
        """The absolute value of the greatest weight, a scalar on the device."""
        return torch.stack([torch.linalg.vector_norm(x, torch.inf) for x in self.weights()]).amax()

    def report(self, greatest: Tensor | None = None) -> Tensor:
        """What was found so far, and whether the greatest weight is not finite, `[7]` float64 on the device."""
        greatest = self.greatest() if greatest is None else greatest
        return torch.cat([self.noted, ~greatest.isfinite().view(1)]).double()

    def check(self, report: list[float], iteration: int, mean_return: float = math.nan) -> None:
        """Raises NotFinite where a report, read `iteration` iterations after the start, has something to tell."""
        if not any(report):
            return
        *noted, weights = map(int, report)
        found = Found(*noted)
        before = bool(weights and self.actions)  # remembered actions came before any learning
        if found.found and not before:
            self._stop_at(found, iteration, bool(weights))
        if weights:
            raise NotFinite(
                f"weights of the network are not finite (nan or infinite) after iteration {iteration:,}, though every "
                f"reward and observation was: {remedy(mean_return)}.",
                "weights",
                seed=self.env.seeded,
                iteration=iteration,
            )

    def _stop_at(self, found: Found, iteration: int, weights: bool) -> NoReturn:
        first = QUANTITIES[found.quantity] == "observation"  # what was acted on, one step before
        environment = getattr(self.env, "first_env", 0) + found.environment
        place = {"environment": environment, "episode": found.episode, "step": found.length - first}
        quantity = "reward" if QUANTITIES[found.quantity] == "reward" else "observation"
        error = NotFinite(
            f"the {quantity} of environment {environment} is not finite (nan or infinite) after step "
            f"{place['step']} of its episode {found.episode}, both counted from the reset with seed {self.env.seeded}; "
            f"it was seen in iteration {iteration:,}"
            + (", when weights of the network were not finite either." if weights else "."),
            quantity,
            seed=self.env.seeded,
            iteration=iteration,
            **place,
        )
        error.actions = self._played(found)
        raise error

    def _remember(self, action: Tensor) -> None:
        """Of a GPU nothing, whose graphs write into the same memory at every iteration."""
        if action.device.type == "cpu":
            self.actions.append(action)
            most = max(1, REMEMBERED // max(1, action.nbytes))
            while len(self.actions) > most:
                self.actions.popleft()

    def _played(self, found: Found) -> Tensor | None:
        """The environment's actions of that episode, to the step that was found; None where it began too long ago."""
        if not self.actions:
            return None
        *before, last = (action[:, found.environment] for action in self.actions)
        played = torch.cat([*before, last[: found.step + 1]])
        return played[-found.length :].clone() if len(played) >= found.length else None
