"""The processes that learn one policy together, as `torchrun` starts them: each steps its share of the environments, and
PyTorch's distributed engine adds up what they find, by NCCL between GPUs and by gloo between CPUs.

A run is meant to be the same, to rounding, whatever their number. So every rank draws the random numbers of all ranks and
uses its own, by which their generators stay alike, and all shares are equal, so that a mean over ranks is one over all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from gpusim.errors import InputError

D = TypeVar("D", bound=tuple)  # a distribution


class World(NamedTuple):
    """Where this process stands among them. What more than one rank is needed for, all must ask for, in the same order."""

    rank: int = 0
    size: int = 1
    place: int = 0  # among those of this machine
    launched: bool = False  # as one of several, of which there may be one

    @property
    def alone(self) -> bool:
        return self.size == 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    # ------------------------------------------------------------------------------------------------------- sums

    def mean_(self, x: Tensor) -> Tensor:
        """Replaces `x` by its mean over ranks, and returns it."""
        if not self.alone:
            dist.all_reduce(x)
            x.div_(self.size)
        return x

    def mean(self, x: Tensor) -> Tensor:
        """The mean over ranks; alone, `x` itself."""
        return x if self.alone else self.mean_(x.detach().clone())

    def least(self, x: Tensor) -> Tensor:
        """The least over ranks; alone, `x` itself."""
        if self.alone:
            return x
        found = x.detach().clone()
        dist.all_reduce(found, dist.ReduceOp.MIN)
        return found

    def moments(self, *each: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Mean and (biased) variance of each of some tensors over the entries of all ranks, float64, by one sum."""
        wide = [x.detach().double() for x in each]
        found = torch.stack([torch.stack([x.mean(), x.square().mean()]) for x in wide])
        return [(mean, (square - mean * mean).clamp(min=0.0)) for mean, square in self.mean_(found)]

    def as_first_(self, x: Tensor) -> None:
        """Replaces `x` by that of the first rank."""
        if not self.alone:
            dist.broadcast(x, 0)

    def agreed(self, number: int) -> int:
        """The greatest of the ranks' numbers, on the host."""
        if self.alone:
            return number
        found = torch.tensor(number)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    # ----------------------------------------------------------------------------------------------------- shares

    def own(self, x: Tensor) -> Tensor:
        """This rank's share of `x` `[W * n, ...]`, `[n, ...]`."""
        if self.alone:
            return x
        count = len(x) // self.size
        return x[self.rank * count : (self.rank + 1) * count]

    def amid(self, distribution: D) -> D:
        """A distribution of all ranks' rows, of which those of others are zeros, so that it draws for all."""
        if self.alone:
            return distribution
        first: Any = distribution[0]
        whole = first.new_zeros(self.size, *first.shape)
        whole[self.rank] = first
        fields = {distribution._fields[0]: whole.flatten(0, 1)}  # type: ignore[attr-defined]
        return distribution._replace(**fields)  # type: ignore[attr-defined]

    def gathered(self, x: Tensor) -> Tensor:
        """What every rank has, on the CPU, `[W, *x.shape]`; on other ranks than the first, nothing of use."""
        mine = x.detach().cpu().contiguous()
        parts = torch.empty(self.size, *mine.shape, dtype=mine.dtype) if self.first else mine.unsqueeze(0)
        listed = list(map(_bytes, parts)) if self.first else None
        dist.gather(_bytes(mine), listed)
        return parts

    def everyones(self, x: Tensor) -> Tensor:
        """What every rank has, `[W, *x.shape]`, on every rank."""
        parts = x.new_empty(self.size, *x.shape)
        dist.all_gather(list(parts.unbind()), x.contiguous())
        return parts

    def device(self, name: str) -> str:
        """That of the device `name` which is this rank's: of GPUs, the one of its place on this machine.

        Raises:
            InputError: it has none.
        """
        if not self.launched or name == "cpu" or not torch.cuda.is_available():
            return name
        if ":" in name:
            raise InputError(f'the ranks on a machine have a GPU each: say device "cuda", not {name!r}.')
        if not dist.is_nccl_available():
            raise InputError(
                f"sums over GPUs are made by NCCL, which torch {torch.__version__} has not: use device cpu."
            )
        if self.place >= (count := torch.cuda.device_count()):
            raise InputError(f"rank {self.rank} has no GPU: it is number {self.place + 1} on a machine with {count}.")
        return f"cuda:{self.place}"

    # ---------------------------------------------------------------------------------------------------- messages

    def told(self, message: Any = None) -> Any:
        """What the first rank says."""
        if self.alone:
            return message
        box = [message]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def said(self, message: Any) -> list[Any]:
        """What each rank says, by rank."""
        answers = [message] * self.size
        if not self.alone:
            dist.all_gather_object(answers, message)
        return answers


def _bytes(x: Tensor) -> Tensor:
    """The same memory, of a dtype that all engines move."""
    return x.reshape(-1).view(torch.uint8)


ALONE = World()
_here = [ALONE]


def here() -> World:
    """That of this process: `ALONE`, unless it has joined others."""
    return _here[-1]


def enter(world: World) -> Callable[[], None]:
    """From here on this is the world of this process, whose ranks are connected; what is returned ends that."""
    _here.append(world)
    return lambda: _here.remove(world)
