"""`Pin`: the state of environments, kept in the same tensors, where kernels that were captured once find it again."""

import torch
from torch import Tensor

from gpusim.engine import Carry, Mode
from gpusim.sim.protocol import Stepper
from gpusim.tree import alike, tree_map


class Pin:
    """What `VectorEnv.hold` keeps a state in."""

    def __init__(self) -> None:
        self.carry: Carry | None = None
        self.mode: Mode | None = None
        self.stepper: Stepper | None = None  # whoever changes what steps are like makes another one

    def take(self, c: Carry, mode: Mode, stepper: Stepper) -> bool:
        """Copies the state into the tensors here; False where it fits only into new ones."""
        fits = self.carry is not None and mode == self.mode and alike(self.carry, c)
        if fits:
            tree_map(Tensor.copy_, self.carry, c)
        else:
            self.carry = tree_map(_contiguous, c)
        self.mode, self.stepper = mode, stepper
        return fits


def _contiguous(x: Tensor) -> Tensor:
    return x.clone(memory_format=torch.contiguous_format)
