"""The episodes that ended last, kept on the device."""

from typing import Any

import torch
from torch import Tensor, nn

from gpusim.agents.parts.world import World


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
        self.put(ended, {"returns": episode_return, "lengths": episode_length})

    def put(self, ended: Tensor, rings: dict[str, Tensor]) -> None:
        """Writes where `ended` `[T, N]` what `rings` have, `[T, N]` each, into those of these names."""
        ended = ended.flatten()
        rank = ended.long().cumsum(0)
        total = rank[-1]
        keep = ended & (rank > total - self.size)
        place = torch.where(keep, (self.count + rank - 1) % self.size, self.size)
        for name, values in rings.items():
            ring = getattr(self, name)
            ring.copy_(ring.scatter(0, place, values.flatten()))  # `vmap` knows no scatter in place
        self.count.add_(total)

    def mean(self) -> tuple[Tensor, Tensor]:
        """Mean return and length over the window, scalars; NaN before the first episode."""
        n = self.count.clamp(max=self.size)
        seen = torch.arange(self.size, device=n.device) < n
        return (self.returns[:-1] * seen).sum() / n, (self.lengths[:-1] * seen).sum() / n

    def of_all(self) -> "EpisodeWindow":
        """That of all ranks."""
        return self


class SharedWindow(EpisodeWindow):
    """The same of one of several ranks, which remembers when each episode ended: so the last of all ranks' are found.

    As a state it has what one learner of all environments would have, which the first rank then takes up.
    """

    def __init__(self, size: int, world: World):
        super().__init__(size)
        self.world = world
        self.times: Tensor
        self.clock: Tensor
        self.register_buffer("times", torch.full((size + 1,), -2 * size))  # of none: before all that a state brings
        self.register_buffer("clock", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, episode_return: Tensor, episode_length: Tensor, ended: Tensor) -> None:
        times = self.clock + torch.arange(len(ended), device=ended.device).unsqueeze(1).expand(ended.shape)
        self.put(ended, {"returns": episode_return, "lengths": episode_length, "times": times})
        self.clock.add_(len(ended))

    @torch.no_grad()
    def of_all(self) -> EpisodeWindow:
        rings = torch.stack([x[:-1].double() for x in (self.times, self.returns, self.lengths)])
        each = self.world.everyones(torch.cat([rings.flatten(), self.count.double().view(1)]))
        whole, count = EpisodeWindow(self.size).to(each.device), each[:, -1].sum().long()
        times, returns, lengths = each[:, :-1].unflatten(1, (3, self.size)).movedim(1, 0).flatten(1)
        last = times.argsort(stable=True)[-self.size :]  # ranks are in the order of environments
        place = (count + torch.arange(self.size, device=each.device)) % self.size  # the newest is before the next
        whole.returns[place], whole.lengths[place] = returns[last].float(), lengths[last].float()
        whole.count.copy_(count)
        return whole

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        return self.of_all().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:  # type: ignore[override]
        whole, own = EpisodeWindow(self.size).to(self.count.device), self.world.first
        whole.load_state_dict(state)
        self.returns.copy_(whole.returns)
        self.lengths.copy_(whole.lengths)
        self.count.copy_(whole.count if own else torch.zeros_like(whole.count))
        age = (whole.count - 1 - torch.arange(self.size, device=whole.count.device)) % self.size
        known = own & (age < whole.count)
        self.times[:-1] = torch.where(known, -1 - age, -2 * self.size)
        self.clock.zero_()
