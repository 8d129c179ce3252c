"""The carry as C++ has it: 64 environments after one another in memory, an array of each field for all of them."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gpusim.book import Book
from gpusim.engine import Carry, Mode

LANES = 64  # environments of a tile, as in job.h
DTYPES = {torch.float32: "f", torch.int32: "i", torch.int64: "l", torch.bool: "b"}
NUMBERS = {k: np.dtype(x) for k, x in {"f": "f4", "i": "i4", "l": "i8", "b": "i4", "w": "u4"}.items()}
KEPT = {"elapsed": "f", "total": "f", "terminated": "b", "truncated": "b", "episode": "w", "index": "w"}


class Field(NamedTuple):
    """One array of a tile."""

    name: str
    dtype: str  # as in `gpusim.kernels.lang_native.TYPES`
    width: int  # entities; 0: a lane

    @property
    def slots(self) -> int:
        return max(self.width, 1)

    @property
    def bytes(self) -> int:
        return self.slots * LANES * NUMBERS[self.dtype].itemsize


class Layout(NamedTuple):
    """The arrays of a tile, in their order in memory: the state, the parameters that are lanes, what the engine keeps."""

    state: tuple[Field, ...]
    params: tuple[Field, ...]
    kept: tuple[Field, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        return self.state + self.params + self.kept


def layout(state: Any, mode: Mode) -> Layout:
    """That of environments whose state is `state`, of tensors."""
    fields = zip(state._fields, state, strict=True)
    lanes = [*mode.per_env, *(name for name, _, _ in mode.random_params)]
    return Layout(
        tuple(Field(f"s_{name}", DTYPES[x.dtype], 0 if x.ndim == 1 else x.shape[1]) for name, x in fields),
        tuple(Field(f"p_{name}", "f", 0) for name in lanes),
        tuple(Field(name, dtype, 0) for name, dtype in KEPT.items()),
    )


class Tiles(NamedTuple):
    """A carry, of which C++ makes the next one in place."""

    layout: Layout
    arrays: dict[str, np.ndarray]  # of each field `[tiles, slots, 64]`, in one memory
    memory: np.ndarray
    address: int
    seed: Tensor
    key: int  # the same

    def lane(self, name: str, num_envs: int, width: int = 0) -> Tensor:
        """A field, `[N]`, or `[N, width]` of entities."""
        array = self.arrays[name]
        flat = array.swapaxes(1, 2).reshape((-1, width) if width else (-1,))[:num_envs]
        return torch.from_numpy(flat.astype(np.int64) if array.dtype == np.uint32 else np.array(flat))

    def carry(self, num_envs: int, state: type, params: Any) -> Carry:
        """As tensors; `state` is the class of the environment's State, `params` has the numbers."""

        def lane(field: Field) -> Tensor:
            x = self.lane(field.name, num_envs, field.width)
            return x != 0 if field.dtype == "b" else x

        lanes = {f.name[2:]: lane(f) for f in self.layout.params}
        *book, episode, _ = map(lane, self.layout.kept)
        return Carry(state(*map(lane, self.layout.state)), params._replace(**lanes), Book(*book), episode, self.seed)


def tiled(c: Carry, of: Layout, index: Tensor) -> Tiles:
    """A carry of tensors, in memory of its own."""
    new = _room(len(index), of, c.seed)
    lanes = tuple(getattr(c.params, f.name[2:]) for f in of.params)
    for field, x in zip(of.fields, (*c.state, *lanes, *c.book, c.episode, index), strict=True):
        array = new.arrays[field.name]
        flat = np.zeros((array.shape[0] * LANES, field.slots), array.dtype)
        flat[: len(index)] = x.numpy().reshape(-1, field.slots)
        array[...] = (-flat if field.dtype == "b" else flat).reshape(-1, LANES, field.slots).swapaxes(1, 2)
    return new


def _room(num_envs: int, of: Layout, seed: Tensor) -> Tiles:
    count, size = -(-num_envs // LANES), sum(f.bytes for f in of.fields)
    memory = np.zeros(count * size + 64, np.uint8)
    start = -memory.ctypes.data % 64  # vectors are read whole
    arrays, offset = {}, start
    for f in of.fields:
        item = NUMBERS[f.dtype].itemsize
        strides = (size, LANES * item, item)
        arrays[f.name] = np.ndarray((count, f.slots, LANES), NUMBERS[f.dtype], memory, offset, strides)
        offset += f.bytes
    return Tiles(of, arrays, memory, memory.ctypes.data + start, seed, int(seed))
