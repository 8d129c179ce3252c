"""The episodes that ended last, kept on the device."""

import torch
from torch import Tensor, nn


class EpisodeWindow(nn.Module):
    """A ring of the returns and lengths of the episodes that ended last."""

    def __init__(self, size: int = 100):
        super().__init__()
        self.size = size
        self.returns: Tensor
        self.lengths: Tensor
        self.count: Tensor
        self.register_buffer("returns", torch.zeros(size + 1))  # the last place takes what is dropped
        self.register_buffer("lengths", torch.zeros(size + 1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, episode_return: Tensor, episode_length: Tensor, ended: Tensor) -> None:
        """All `[T, N]`; entries count where `ended`, in the order of time, then of environment."""
        ended = ended.flatten()
        rank = ended.long().cumsum(0)
        total = rank[-1]
        keep = ended & (rank > total - self.size)
        place = torch.where(keep, (self.count + rank - 1) % self.size, self.size)
        self.returns.scatter_(0, place, episode_return.flatten())
        self.lengths.scatter_(0, place, episode_length.flatten())
        self.count.add_(total)

    def mean(self) -> tuple[Tensor, Tensor]:
        """Mean return and length over the window, scalars; NaN before the first episode."""
        n = self.count.clamp(max=self.size)
        seen = torch.arange(self.size, device=n.device) < n
        return (self.returns[:-1] * seen).sum() / n, (self.lengths[:-1] * seen).sum() / n
