"""Running statistics that stay on the device."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gpusim.agents.parts.world import here
from gpusim.kernels.moments import add_rows, joined, normalized


class RunningMeanStd(nn.Module):
    """Mean and variance of all that was seen, entry by entry (Chan et al., 1979, as in Gymnasium's `RunningMeanStd`)."""

    def __init__(self, shape: tuple[int, ...] = ()):
        super().__init__()
        self.mean: Tensor
        self.var: Tensor
        self.count: Tensor
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("var", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def update(self, batch: Tensor) -> None:
        """Adds a batch `[..., *shape]`; an entry that is not finite counts as the mean so far."""
        rows = batch.reshape(-1, *self.mean.shape)
        self.take(lambda mean, var, count: add_rows(mean, var, count, rows))

    @torch.no_grad()
    def take(self, add: Callable[[Tensor, Tensor, Tensor], None]) -> None:
        """Adds the rows that `add` adds, in place, to a mean, a variance and a count; of all ranks, each of which has as
        many."""
        world = here()
        if world.alone:
            return add(self.mean, self.var, self.count)
        mean, var, count = self.mean.clone(), self.var.clone(), torch.zeros_like(self.count)
        add(mean, var, count)
        away = mean - self.mean
        away, square = world.mean_(torch.stack([away, var + away * away]))
        number = count * world.size
        found = joined(self.mean, self.var, self.count, self.mean + away, (square - away * away) * number, number)
        for old, new in zip((self.mean, self.var, self.count), found, strict=True):
            old.copy_(new)

    def scale(self) -> Tensor:
        return (self.var + 1e-8).rsqrt().float()

    def forward(self, x: Tensor) -> Tensor:
        """`x` less the mean, over the standard deviation, clipped to ±10."""
        return normalized(x, self.mean.float(), self.scale())


class ReturnScale(nn.Module):
    """The running deviation of the discounted return, by which rewards are divided (Engstrom et al., 2020)."""

    by_env = ("running",)

    def __init__(self, num_envs: int, gamma: float):
        super().__init__()
        self.gamma = gamma
        self.running: Tensor
        self.register_buffer("running", torch.zeros(num_envs))
        self.statistics = RunningMeanStd()

    def cut(self) -> None:
        """The episodes break off where they are: what comes next begins others."""
        self.running.zero_()

    @torch.no_grad()
    def forward(self, reward: Tensor, done: Tensor) -> Tensor:
        """`reward` `[T, N]` scaled, after it has been added to the statistics, as 0 where it is not finite; `done` `[T, N]`
        bool."""
        returns, running = [], self.running
        for r, d in zip(reward.nan_to_num(0.0, 0.0, 0.0), done, strict=True):
            total = running * self.gamma + r
            returns.append(total)
            running = total.masked_fill(d, 0.0)
        self.running.copy_(running)
        self.statistics.update(torch.stack(returns))
        return reward * self.statistics.scale()
