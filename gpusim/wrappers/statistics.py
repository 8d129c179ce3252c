"""Returns and lengths of episodes, by the rewards that arrive at the wrapper."""

from contextlib import suppress
from typing import NamedTuple

import torch
from gymnasium.error import ResetNeeded
from torch import Tensor

from gpusim import checks
from gpusim.errors import InputError
from gpusim.memory import require
from gpusim.wrappers.wrapper import Returned, Wrappable, Wrapper


class Statistics(NamedTuple):
    episode_return: Tensor  # [N] so far, float32
    episode_length: Tensor  # [N] so far, int32
    episodes: Tensor  # scalar, how many have ended, int64
    returns: Tensor  # [buffer_length + 1] of the last ones, a ring; its last place takes what is not kept
    lengths: Tensor  # likewise


class RecordEpisodeStatistics(Wrapper):
    """Puts `{"r" [N] float32, "l" [N] int32}` in `infos[stats_key]`, return and length so far, final where
    `infos["_" + stats_key]` `[N]`, and keeps those of the last episodes.

    A `VectorEnv` tells `episode` by itself, of the environment's own rewards. This one counts the rewards as wrappers below
    have made them, and takes its place unless `stats_key` is another. Gymnasium's `t`, the seconds that an episode took,
    is left out: the device works behind the host's clock.

    Args:
        buffer_length: how many episodes to keep.
        stats_key: the name in `infos`.

    Raises:
        InputError: `buffer_length` is not positive, or `stats_key` is the name of something else.
    """

    def __init__(self, env: Wrappable, buffer_length: int = 100, stats_key: str = "episode"):
        super().__init__(env)
        self.buffer_length = checks.positive("buffer_length", buffer_length)
        require(f"returns and lengths of {self.buffer_length:,} episodes", 8 * self.buffer_length, self.device)
        if not isinstance(stats_key, str) or stats_key.startswith("_") or stats_key in ("", "final_obs", "reset"):
            raise InputError(f"stats_key must be a name that infos has no other use for, not {checks.told(stats_key)}.")
        self.stats_key = stats_key
        with torch.inference_mode(False):
            lane = torch.zeros(self.num_envs, dtype=torch.float32, device=self.device)
            ring = torch.zeros(self.buffer_length + 1, dtype=torch.float32, device=self.device)
            episodes = torch.zeros((), dtype=torch.int64, device=self.device)
            self.own = Statistics(lane, lane.int(), episodes, ring, ring.int())
            with suppress(ResetNeeded):  # an episode that has begun already is as long as it is
                self.own = self.own._replace(episode_length=self.unwrapped.get_state().elapsed.int())

    @property
    def episode_count(self) -> Tensor:
        """How many episodes have ended, an int64 scalar on the device."""
        return self.own.episodes.clone()

    @property
    def return_queue(self) -> Tensor:
        """Returns of the last episodes, the newest last, at most `buffer_length`. To look, the host waits for the device."""
        return self._kept(self.own.returns)

    @property
    def length_queue(self) -> Tensor:
        """Their lengths, likewise."""
        return self._kept(self.own.lengths)

    def _kept(self, ring: Tensor) -> Tensor:
        count = int(self.own.episodes)
        return ring[torch.arange(max(0, count - self.buffer_length), count, device=self.device) % self.buffer_length]

    def _begun(self, obs: Tensor, mask: Tensor) -> Tensor:
        self._restart(mask)
        return obs

    def _restart(self, mask: Tensor) -> None:
        total, length = (x.masked_fill(mask, 0) for x in self.own[:2])
        self.own = self.own._replace(episode_return=total, episode_length=length)

    def _stepped(self, step: Returned) -> Returned:
        valid, ended, reset = step.valid, step.infos["_final_obs"], step.infos["reset"]
        self._restart(reset & ~valid)
        total = self.own.episode_return + step.reward
        length = self.own.episode_length + valid.int()
        self._keep(ended, total, length)
        self._restart(reset)
        return step.inform(**{self.stats_key: {"r": total, "l": length}, f"_{self.stats_key}": ended.clone()})

    def _keep(self, ended: Tensor, total: Tensor, length: Tensor) -> None:
        rank, size = ended.cumsum(0), self.buffer_length  # 1, 2, ... among those that ended
        last = ended & (rank > rank[-1] - size)  # so that no place is written twice, in whatever order
        place = torch.where(last, (self.own.episodes + rank - 1) % size, size)
        returns, lengths = self.own.returns.scatter(0, place, total), self.own.lengths.scatter(0, place, length)
        self.own = Statistics(total, length, self.own.episodes + rank[-1], returns, lengths)
