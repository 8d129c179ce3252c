"""What a physics engine drops or breaks while it goes on: counted on the device, and told without waiting for it."""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

LOOK = 64  # steps between two looks at what a GPU has counted


class Faults(NamedTuple):
    """How many steps of a world, since the environments were made."""

    broken: int  # after which the physics were not finite (nan or infinite)
    contacts: int  # in which contacts were dropped
    rows: int  # in which rows of constraints were


class Count:
    """Counts faults, and warns of the first of each kind.

    On a CPU it looks at once. Of a GPU it reads a copy that was on its way since some steps, and only where it has come.

    Args:
        sentences: what to say of each kind.
    """

    def __init__(self, device: torch.device, sentences: tuple[str, str, str]):
        self.device, self.sentences = device, sentences
        self.counted = torch.zeros(len(Faults._fields), dtype=torch.int64, device=device)
        self.told = [False] * len(Faults._fields)
        self.steps = 0
        self._copy = self.counted
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._copy = torch.zeros(len(Faults._fields), dtype=torch.int64, pin_memory=True)

    def add(self, *worlds: Tensor) -> None:
        """One step more; each of `worlds` `[N]` bool says where a fault of its kind was."""
        self.counted += torch.stack([world.sum() for world in worlds])
        self.steps += 1
        if self.device.type == "cpu":
            self._tell(self.counted)
        elif self._event is not None and self._event.query():
            self._event = None
            self._tell(self._copy)
        elif self._event is None and self.steps % LOOK == 0:
            self._copy.copy_(self.counted, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def _tell(self, counted: Tensor) -> None:
        for i, number in enumerate(counted.tolist()):
            if number and not self.told[i]:
                self.told[i] = True
                warnings.warn(self.sentences[i], UserWarning, stacklevel=2)

    def read(self) -> Faults:
        """The numbers so far; to look, the host waits for the device."""
        return Faults(*self.counted.tolist())
