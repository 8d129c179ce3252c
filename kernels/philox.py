"""Philox-4x32-10, the counter-based generator behind every random draw (Salmon et al., SC 2011).

A draw is a pure function of a 64-bit key and a 128-bit counter, so it does not depend on how many other draws are
made, in which order, on which device or by which backend. `philox` is the specification; Triton's own `tl.philox`
is its twin inside a kernel, and all of them agree bit for bit.
"""

import functools

import numpy as np
import torch
from torch import Tensor

MASK = 0xFFFFFFFF
MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(seed, c0, c1, c2, c3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four random words for every counter.

    Args:
        seed: the key, an int64 scalar (Python int or 0-dim tensor) in [0, 2**63), or one for each counter.
        c0, c1, c2, c3: the counter's words, int64 in [0, 2**32); tensors (or arrays) and Python ints that
            broadcast together, `c0` a tensor.

    Returns:
        Four int64 tensors (arrays) of the broadcast shape, each uniform over [0, 2**32).
    """
    if isinstance(c0, np.ndarray):
        return _philox_numpy(seed, c0, c1, c2, c3)
    if type(c0) is Tensor and c0.device.type == "cpu" and not torch.compiler.is_compiling():
        return tuple(map(torch.from_numpy, _philox_numpy(seed, c0, c1, c2, c3)))  # type: ignore[return-value]
    return _philox_int64(seed, c0, c1, c2, c3)


def _philox_int64(seed, c0, c1, c2, c3):
    k0, k1 = seed & MASK, (seed >> 32) & MASK
    for _ in range(10):
        p0, p1 = c0 * MULTIPLIER[0], c2 * MULTIPLIER[1]
        c0, c1, c2, c3 = ((p1 >> 32) & MASK) ^ c1 ^ k0, p1 & MASK, ((p0 >> 32) & MASK) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def _philox_numpy(seed, c0, c1, c2, c3):
    """The same words by fewer operations: NumPy has unsigned words, so a product's halves are views, without a mask."""
    shape = np.broadcast_shapes(*(np.shape(c) for c in (c0, c1, c2, c3, seed)))
    a, b = np.empty((2, *shape), np.uint64), np.empty((2, *shape), np.uint32)
    a[0], b[0], a[1], b[1] = c0, c1, c2, c3
    multiplier, keys = (
        _constants(int(seed), len(shape)) if np.ndim(seed) == 0 else _of_each(np.asarray(seed), len(shape))
    )
    for key in keys:
        halves = np.multiply(a, multiplier).view(np.uint32).reshape(*a.shape, 2)[::-1]
        np.bitwise_xor(halves[..., 1], b, out=a)
        np.bitwise_xor(a, key, out=a)
        b = halves[..., 0]
    (w0, w2), (w1, w3) = a.view(np.int64), b.astype(np.int64)
    return w0, w1, w2, w3


def _of_each(seed: np.ndarray, ndim: int):
    """As `_constants`, of a key for each counter."""
    multiplier, _ = _constants(0, ndim)
    halves = np.stack([seed & MASK, seed >> 32]).reshape(2, *(1,) * (ndim - seed.ndim), *seed.shape)
    weyl = np.array(WEYL).reshape(multiplier.shape)
    return multiplier, ((halves + weyl * i & MASK).astype(np.uint64) for i in range(10))


@functools.lru_cache(maxsize=64)
def _constants(seed: int, ndim: int):
    column = (2,) + (1,) * ndim
    keys = [[(seed + WEYL[0] * i) & MASK, ((seed >> 32) + WEYL[1] * i) & MASK] for i in range(10)]
    return np.array(MULTIPLIER, np.uint64).reshape(column), [np.array(k, np.uint64).reshape(column) for k in keys]
