"""Memory for what steps tell, used again once nobody refers to it any more: to have new memory from the system at every step
takes longer than to fill it."""

import sys

import numpy as np
import torch
from torch import Tensor

KEPT = 3  # blocks: of this step, of the one before that the caller still holds, and one more
ALIGNED = 64


class Rooms:
    """Tensors that are made together, in one block of memory.

    A block is free again when the last of its tensors is gone, and whatever shares their memory.

    Args:
        forms: of each its shape and dtype, a tensor that may have no memory.
    """

    def __init__(self, forms: dict[str, Tensor]):
        self.forms: dict[str, tuple[tuple[int, ...], np.dtype, int]] = {}
        self.size = 0
        for name, form in forms.items():
            self.forms[name] = tuple(form.shape), torch.empty(0, dtype=form.dtype).numpy().dtype, self.size
            self.size += -(-form.numel() * form.itemsize // ALIGNED) * ALIGNED
        self.blocks: list[np.ndarray] = []
        self.addresses: list[int] = []
        self.idle = 0  # references to a block that is free

    def take(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Tensors with anything in them, and their addresses."""
        k = self._free()
        block, address = self.blocks[k], self.addresses[k]
        start = -address % ALIGNED
        address += start
        tensors, places = {}, {}
        for name, (shape, dtype, offset) in self.forms.items():
            tensors[name] = torch.from_numpy(np.ndarray(shape, dtype, block, start + offset))
            places[name] = address + offset
        return tensors, places

    def _free(self) -> int:
        for k in range(len(self.blocks)):
            if sys.getrefcount(self.blocks[k]) == self.idle:
                return k
        del self.blocks[: -KEPT + 1], self.addresses[: -KEPT + 1]  # who holds the oldest may keep it
        self.blocks.append(np.empty(self.size + ALIGNED, np.uint8))
        self.addresses.append(self.blocks[-1].ctypes.data)
        self.idle = sys.getrefcount(self.blocks[-1])
        return len(self.blocks) - 1
