"""Discrete and continuous actions behind one interface: sample, log_prob, entropy, mode, all `[..., N]` batches."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_STD_RANGE = (-5.0, 2.0)
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
LOG_2 = math.log(2)


class Categorical(NamedTuple):
    """Over `[N]` int64 actions."""

    logits: Tensor  # [..., A]

    def sample(self, generator: torch.Generator) -> Tensor:
        """By the exponential race: the smallest of E_i / p_i, E_i standard exponential, falls on i with probability p_i."""
        race = torch.empty_like(self.logits).exponential_(generator=generator)
        return (self.logits - race.log()).argmax(-1)

    def mode(self) -> Tensor:
        return self.logits.argmax(-1)

    def log_prob(self, action: Tensor) -> Tensor:
        return self.logits.log_softmax(-1).gather(-1, action.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        log_p = self.logits.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)


class EpsilonGreedy(NamedTuple):
    """The best of `[N]` int64 actions, or, with probability ε, any of them."""

    q: Tensor  # [..., A]
    epsilon: Tensor  # scalar

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.explore(generator)[0]

    def explore(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The actions, and which of them were drawn at random."""
        u, choices = torch.rand(self.q.shape[:-1], device=self.q.device, generator=generator), self.q.shape[-1]
        among = (u / self.epsilon * choices).long().clamp(max=choices - 1)  # u / epsilon is uniform where u < epsilon
        return torch.where(u < self.epsilon, among, self.mode()), u < self.epsilon

    def mode(self) -> Tensor:
        return self.q.argmax(-1)


class Gaussian(NamedTuple):
    """Independent normals over `[N, d]` float32 actions."""

    mean: Tensor  # [..., d]
    log_std: Tensor  # [d]

    def at(self, noise: Tensor) -> Tensor:
        """The action that standard normal noise `[..., d]` draws."""
        return self.mean + noise * self._log_std().exp()

    def sample(self, generator: torch.Generator) -> Tensor:
        return self.at(torch.empty_like(self.mean).normal_(generator=generator))

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, action: Tensor) -> Tensor:
        log_std = self._log_std()
        z = (action - self.mean) * (-log_std).exp()
        return (-0.5 * z * z - log_std - HALF_LOG_TAU).sum(-1)

    def entropy(self) -> Tensor:
        each = self._log_std() + (0.5 + HALF_LOG_TAU)
        return each.sum(-1).expand(self.mean.shape[:-1])

    def _log_std(self) -> Tensor:
        return self.log_std.clamp(*LOG_STD_RANGE)


class SquashedGaussian(NamedTuple):
    """Independent normals, squashed by tanh into `[N, d]` float32 actions in [−1, 1] (Haarnoja et al., 2018)."""

    mean: Tensor  # [..., d] before tanh
    log_std: Tensor  # [..., d]

    def at(self, noise: Tensor) -> Tensor:
        """The action that standard normal noise `[..., d]` draws."""
        return (self.mean + self.log_std.exp() * noise).tanh()

    def drawn(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The same and its log-density `[...]`, both differentiable.

        By the action before tanh, u: log(1 − tanh² u) = 2 (log 2 − u − softplus(−2 u)), which is finite where tanh u is
        rounded to 1.
        """
        u = self.mean + self.log_std.exp() * noise
        squash = 2.0 * (LOG_2 - u - torch.nn.functional.softplus(-2.0 * u))
        return u.tanh(), (-0.5 * noise * noise - self.log_std - HALF_LOG_TAU - squash).sum(-1)

    def sample(self, generator: torch.Generator | None) -> Tensor:
        return self.at(torch.empty_like(self.mean).normal_(generator=generator))

    def mode(self) -> Tensor:
        """Of the normals, squashed."""
        return self.mean.tanh()


class NoisyAction(NamedTuple):
    """`[N, d]` float32 actions in [−1, 1], to which normal noise is added; the sum is clipped (Fujimoto et al., 2018)."""

    action: Tensor  # [..., d]
    std: Tensor  # of the noise, scalar or such as broadcasts to [..., d]

    def at(self, noise: Tensor) -> Tensor:
        """The action that standard normal noise `[..., d]` draws."""
        return (self.action + self.std * noise).clamp(-1.0, 1.0)

    def sample(self, generator: torch.Generator | None) -> Tensor:
        return self.at(torch.empty_like(self.action).normal_(generator=generator))

    def mode(self) -> Tensor:
        return self.action
