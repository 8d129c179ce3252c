"""A pseudorandom order of a minibatch's rows, computed for each place alone: no sort, no state but a counter."""

import torch
from torch import Tensor

from gpusim.kernels.philox import philox
from gpusim.kernels.twin import bit_for_bit, twin

ROUNDS = 6  # even, so that halves of unequal width are back in their places
STREAM = 0x53484600  # of the philox counter; those of environments stay below 1024


def domain_bits(size: int) -> int:
    """Bits of the smallest domain 2**k, k > 1, that has `size` numbers."""
    return max(2, (size - 1).bit_length())


def shuffle_torch(size: int, seed: Tensor, counter: Tensor, out: Tensor | None = None) -> Tensor:
    """A permutation of 0 ... size − 1, int32 `[size]`: another one for every `seed` and `counter`; `[P, size]` of P seeds.

    A Feistel network of 6 rounds (Luby & Rackoff, 1988), its round function the first word of Philox, permutes the next
    2**k numbers; a place whose number is too large walks on along its cycle (Black & Rogaway, 2002).

    Args:
        seed: int64, 0-dim or `[P]`, on the device where the order is made, not negative.
        counter: int64, 0-dim, likewise, below 2**32.
        out: where to write it.

    Raises:
        ValueError: an argument has another dtype or shape.
    """
    bits = domain_bits(size)
    if seed.ndim:
        seed = seed.unsqueeze(-1)
    places = _network(torch.arange(size, device=seed.device), bits, seed, counter)
    while bool((far := places >= size).any()):  # on a GPU the host would wait here
        places = torch.where(far, _network(places, bits, seed, counter), places)
    return places.int() if out is None else out.copy_(places)


def _network(x: Tensor, bits: int, seed: Tensor, counter: Tensor) -> Tensor:
    low, high = bits // 2, bits - bits // 2  # widths of the right half and of the left
    left, right = x >> low, x & ((1 << low) - 1)
    for i in range(ROUNDS):
        left, right = right, left ^ (philox(seed, right, i, counter, STREAM)[0] & ((1 << high) - 1))
        low, high = high, low
    return left << low | right


def _check(size: int, seed: Tensor, counter: Tensor, out: Tensor | None = None) -> None:
    if not 1 <= size < 2**31:
        raise ValueError(f"size is {size}; it must be in [1, 2**31).")
    if any(x.dtype != torch.int64 for x in (seed, counter)) or counter.ndim != 0 or seed.ndim > 1:
        raise ValueError("seed and counter must be 0-dim int64 tensors, or seed one of [P].")
    shape = (*seed.shape, size)
    if out is not None and (out.shape != shape or out.dtype != torch.int32 or not out.is_contiguous()):
        raise ValueError(f"out must be contiguous int32 {list(shape)}, not {out.dtype} {list(out.shape)}.")


def _example(size: int, seed: int = 2**40 + 3, seeds: int = 0) -> tuple:
    keys = seed + torch.arange(seeds) * 2**33 if seeds else torch.tensor(seed)
    return size, keys, torch.tensor(5), torch.full((*keys.shape, size), -7, dtype=torch.int32)


shuffle = twin(
    shuffle_torch, "shuffle_triton", on="seed", check=_check, example=_example, close=bit_for_bit,
    cases=[*({"size": n} for n in (1, 2, 3, 5, 300, 512, 1000)), {"size": 300, "seeds": 3}],
    large=[*({"size": n, "seed": 2**62 + 5} for n in (1, 5, 1000, 4099, 2**20 + 1)), {"size": 2050, "seeds": 700}],
)  # fmt: skip
