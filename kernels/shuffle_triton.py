"""The kernel beside `shuffle_torch`: bit for bit the same."""

import torch
import triton
import triton.language as tl

from gpusim.kernels.launch import launch, programs
from gpusim.kernels.shuffle import ROUNDS, STREAM, domain_bits
from gpusim.kernels.tune import sizes

COUNT = tl.constexpr(ROUNDS)
WORD = tl.constexpr(STREAM)


def shuffle_triton(size, seed, counter, out=None):
    """As `gpusim.kernels.shuffle.shuffle_torch`, on a CUDA device (or under Triton's interpreter)."""
    if out is None:
        out = torch.empty(*seed.shape, size, dtype=torch.int32, device=seed.device)
    block = sizes("shuffle", seed.device)
    grid = (programs(size, block["BLOCK"]), seed.numel())
    launch(shuffle_kernel, grid, out, size, seed, counter, BITS=domain_bits(size), **block)
    return out


@triton.jit
def _network(x, seed, counter, BITS: tl.constexpr):
    LOW: tl.constexpr = BITS // 2
    HIGH: tl.constexpr = BITS - BITS // 2
    left, right = x >> LOW, x & ((1 << LOW) - 1)
    for i in tl.static_range(COUNT):
        word = tl.philox(seed, right, tl.zeros_like(right) + i, counter, tl.zeros_like(right) + WORD)[0]
        mask = (1 << HIGH) - 1 if i % 2 == 0 else (1 << LOW) - 1
        left, right = right, left ^ (word.to(tl.int32, bitcast=True) & mask)
    return (left << LOW) | right


@triton.jit
def shuffle_kernel(out, size, seed, counter, BITS: tl.constexpr, BLOCK: tl.constexpr):
    place, row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1)
    key = tl.load(seed + row)
    count = tl.zeros_like(place) + tl.load(counter).to(tl.int32)
    x = _network(tl.where(place < size, place, 0), key, count, BITS)
    while tl.max((x >= size).to(tl.int32), 0) > 0:
        x = tl.where(x >= size, _network(x, key, count, BITS), x)
    tl.store(out + row.to(tl.int64) * size + place, x, mask=place < size)
