"""Random actions of many steps, drawn some blocks of the stream at once."""

from collections.abc import Callable

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from gpusim import checks
from gpusim.errors import InputError

WORDS_AT_ONCE = 2**18  # random words drawn in one go: large enough to amortize the calls, small enough for the cache
Draw = Callable[[int, int], Tensor]


def unbounded(space: Discrete | Box) -> InputError:
    return InputError(f"{space} has no bounds to draw random actions between: give a policy.")


class RandomActions:
    """The actions of environments that act at random: a function of their seed, the environment and the step alone.

    Args:
        space: of one environment's actions.
        draw: some blocks of the stream, of the first one's number and how many; see `gpusim.engine.random_actions`.
        num_steps: for how many steps they are wanted.

    Raises:
        InputError: the space has no bounds.
    """

    def __init__(self, space: Discrete | Box, num_envs: int, device: torch.device, draw: Draw, num_steps: int):
        self.space, self.draw = space, draw
        if not (isinstance(self.space, Discrete) or checks.bounded(self.space)):
            raise unbounded(self.space)
        if not isinstance(self.space, Discrete):
            self.low, self.high = (_filled(x.tolist(), device) for x in (self.space.low, self.space.high))
        self.width = 1 if isinstance(self.space, Discrete) else int(self.space.shape[0])  # words a step needs
        wanted = num_steps * self.width // 4 + 2
        self.blocks = min(wanted, max(2, WORDS_AT_ONCE // (4 * num_envs)))
        self.first = self.stop = 0  # actions number `first` to `stop` of the stream are held
        self.rows: tuple[Tensor, ...] = ()

    def at(self, clock: int) -> Tensor:
        """`[N]` int32 or `[N, d]` float32 for step number `clock`."""
        one = [self._number(clock * self.width + j) for j in range(self.width)]
        if isinstance(self.space, Discrete):
            return one[0]
        return one[0].unsqueeze(-1) if self.width == 1 else torch.stack(one, -1)

    def _number(self, number: int) -> Tensor:
        if not self.first <= number < self.stop:
            block = number // 4
            self.first, self.stop = block * 4, (block + self.blocks) * 4
            self.rows = self._stretched(self.draw(block, self.blocks)).unbind()
        return self.rows[number - self.first]

    def _stretched(self, drawn: Tensor) -> Tensor:
        """Entries of a `Box` between its bounds, whichever of its numbers the first of them is."""
        if isinstance(self.space, Discrete):
            return drawn
        which = torch.arange(self.first, self.stop, device=drawn.device) % self.width
        return self.low[which, None] + (self.high - self.low)[which, None] * drawn


def _filled(numbers: list[float], device: torch.device) -> Tensor:
    """Them as float32 on the device, each written there by a kernel: a copy would have the host wait for it."""
    return torch.stack([torch.full((), x, dtype=torch.float32, device=device) for x in numbers])
