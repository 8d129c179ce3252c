"""Observations and rewards, scaled by running statistics that stay on the device."""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gpusim import checks
from gpusim.errors import InputError
from gpusim.kernels.moments import joined
from gpusim.wrappers.wrapper import Returned, Wrappable, Wrapper


class Moments(NamedTuple):
    """Mean and (biased) variance of all rows that were counted, float64."""

    mean: Tensor  # [*row]
    var: Tensor  # [*row]
    count: Tensor  # type: ignore[assignment]  # scalar

    @classmethod
    def none(cls, shape: tuple[int, ...], device: torch.device) -> "Moments":
        """Before anything was counted: as Gymnasium's, a ten-thousandth of a row of mean 0 and variance 1."""
        like: Any = {"dtype": torch.float64, "device": device}
        with torch.inference_mode(False):
            return cls(torch.zeros(shape, **like), torch.ones(shape, **like), torch.full((), 1e-4, **like))

    def plus(self, rows: Tensor, mask: Tensor) -> "Moments":
        """With the masked ones of `rows` `[R, *row]`, none if there are none (Chan et al., 1979); rows with an entry that is
        not finite are left out."""
        mask = mask & rows.isfinite().flatten(1).all(1) if rows.ndim > 1 else mask & rows.isfinite()
        weight = mask.double().view(-1, *[1] * (rows.ndim - 1))
        rows, n = torch.where(weight != 0.0, rows, 0.0).double(), weight.sum()
        mean = (rows * weight).sum(0) / n.clamp(min=1.0)
        squares = ((rows - mean).square() * weight).sum(0)
        return Moments(*joined(*self, mean, squares, n))


def _moments(name: str, given: Any, like: Moments) -> Moments:
    """A copy of `given`, ours or Gymnasium's, in the form of `like`.

    Raises:
        InputError: it is of another shape, or no moments at all.
    """
    try:
        new = [torch.as_tensor(getattr(given, field)).to(old, copy=True) for field, old in like._asdict().items()]
    except (AttributeError, TypeError, ValueError, RuntimeError):
        new = []
    if [x.shape for x in new] == [x.shape for x in like] and not all(bool(x.isfinite().all()) for x in new):
        raise InputError(f"{name} must be finite numbers, not {checks.told(given)}.")
    if [x.shape for x in new] == [x.shape for x in like] and bool((new[1] < 0).any() | (new[2] < 0)):
        raise InputError(f"var and count of {name} must be at least 0, not {checks.told(given)}.")
    if [x.shape for x in new] != [x.shape for x in like]:
        raise InputError(
            f"{name} must have a mean, a var and a count, as another environment's {name}, of shapes "
            f"{', '.join(str(list(x.shape)) for x in like)}, not {checks.told(given)}."
        )
    return Moments(*new)


class _Normalizer(Wrapper):
    def __init__(self, env: Wrappable, epsilon: float):
        super().__init__(env)
        self.epsilon = checks.number("epsilon", epsilon, "a positive number", 0.0, above=True)
        self.update_running_mean = True

    def _scale(self, moments: Moments) -> Tensor:
        return (moments.var + self.epsilon).rsqrt().float()


class NormalizeObservation(_Normalizer):
    """Observations less their mean, over their standard deviation, entry by entry; `final_obs` likewise.

    Every observation counts once, in all auto-reset modes: an episode's first, its last, and none of a row that idles; nor
    does one that is not finite.

    Args:
        epsilon: what is added to the variance.

    Attributes:
        obs_rms: `mean`, `var` and `count` of the observations seen, float64 tensors. `test.obs_rms = train.obs_rms` copies
            what they are at that time.
        update_running_mean: set it to False to leave them as they are, as for an evaluation.

    Raises:
        InputError: observations are not float32, or `epsilon` is not positive.
    """

    def __init__(self, env: Wrappable, epsilon: float = 1e-8):
        super().__init__(env, epsilon)
        space = self.single_observation_space
        if space.dtype != np.float32:
            raise InputError(
                f"NormalizeObservation is for float32 observations, not for an image, {space}; "
                "TransformObservation can make it float32."
            )
        self.single_observation_space = Box(-np.inf, np.inf, space.shape)
        self.own = Moments.none(space.shape, self.device)

    @property
    def obs_rms(self) -> Moments:
        return self.own

    @obs_rms.setter
    def obs_rms(self, given: Any) -> None:
        self.own = _moments("obs_rms", given, self.own)

    def _begun(self, obs: Tensor, mask: Tensor) -> Tensor:
        before = self._seen(obs)
        self._count(obs, mask)
        others = ~mask.view(-1, *[1] * (obs.ndim - 1))
        return torch.where(others, before, self._seen(obs))  # as they were returned last

    def _stepped(self, step: Returned) -> Returned:
        final = step.infos["final_obs"]
        self._count(torch.cat([final, step.obs]), torch.cat([step.valid, step.infos["reset"]]))
        return step._replace(obs=self._seen(step.obs)).inform(final_obs=self._seen(final))

    def _count(self, rows: Tensor, mask: Tensor) -> None:
        if self.update_running_mean:
            self.own = self.own.plus(rows, mask)

    def _seen(self, obs: Tensor) -> Tensor:
        return (obs - self.own.mean.float()) * self._scale(self.own)


class Discounted(NamedTuple):
    running: Tensor  # [N] the discounted return of the episode so far
    moments: Moments  # of all of them, scalars


class NormalizeReward(_Normalizer):
    """Rewards over the standard deviation of the discounted return (Engstrom et al., 2020). `episode` keeps the true ones.

    Returns begin at 0 with every episode, and the reward that ends one belongs to it. In them a reward that is not
    finite counts as 0.

    Args:
        gamma: the discount.
        epsilon: what is added to the variance.

    Attributes:
        return_rms: `mean`, `var` and `count` of the discounted returns, float64 tensors; to be assigned likewise.
        update_running_mean: set it to False to leave them as they are, as for an evaluation.

    Raises:
        InputError: `gamma` lies outside [0, 1], or `epsilon` is not positive.
    """

    def __init__(self, env: Wrappable, gamma: float = 0.99, epsilon: float = 1e-8):
        super().__init__(env, epsilon)
        self.gamma = checks.number("gamma", gamma, "a number from 0 to 1", 0.0, 1.0)
        with torch.inference_mode(False):
            self.own = Discounted(
                torch.zeros(self.num_envs, dtype=torch.float32, device=self.device), Moments.none((), self.device)
            )

    @property
    def return_rms(self) -> Moments:
        return self.own.moments

    @return_rms.setter
    def return_rms(self, given: Any) -> None:
        self.own = self.own._replace(moments=_moments("return_rms", given, self.own.moments))

    def _begun(self, obs: Tensor, mask: Tensor) -> Tensor:
        self.own = self.own._replace(running=torch.where(mask, 0.0, self.own.running))
        return obs

    def _stepped(self, step: Returned) -> Returned:
        running, moments = self.own
        running = torch.where(step.valid, running * self.gamma + step.reward.nan_to_num(0.0, 0.0, 0.0), running)
        if self.update_running_mean:
            moments = moments.plus(running, step.valid)
        self.own = Discounted(torch.where(step.infos["_final_obs"], 0.0, running), moments)
        return step._replace(reward=step.reward * self._scale(moments))
