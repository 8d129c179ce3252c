"""Random numbers for `PhysicsEnv.begin`, many at once, of the counter-based generator behind every draw."""

from typing import Any

import torch
from torch import Tensor

from gpusim.errors import InputError
from gpusim.kernels.lang import BLOCKS, Rng
from gpusim.kernels.philox import philox


def beside(lane: Any, ndim: int = 2) -> Any:
    """A parameter as it stands beside `[N, d]`, or what else has so many axes; a number stays one."""
    return lane.reshape(-1, *[1] * (ndim - 1)) if isinstance(lane, Tensor) else lane


def uniforms(rng: Rng, block: int, count: int, low: Any = 0.0, high: Any = 1.0) -> Tensor:
    """`[N, count]` float32 from [low, high), which are numbers or `[N]`: the words of the blocks from `block` on, four to a
    block, of 256 that an episode's beginning has."""
    low, high = beside(low), beside(high)
    return unit_words(rng, block, count) * (high - low) + low


def normals(rng: Rng, block: int, count: int, scale: Any = 1.0) -> Tensor:
    """`[N, count]` float32, normal with mean 0 and the deviation `scale`, a number or `[N]`: likewise, two of each pair of
    words (Box and Muller)."""
    drawn = unit_words(rng, block, count + count % 2)
    radius = (-2.0 * (1.0 - drawn[:, 0::2]).log()).sqrt()  # of (0, 1]
    turn = 2.0 * torch.pi * drawn[:, 1::2]
    return torch.stack([radius * turn.cos(), radius * turn.sin()], 2).flatten(1)[:, :count] * beside(scale)


def unit_words(rng: Rng, block: int, count: int) -> Tensor:
    """`[N, count]` float32 in [0, 1), of the words that `gpusim.kernels.lang.words` gives, of all blocks at once.

    Raises:
        InputError: there are not so many blocks.
    """
    blocks = -(-count // 4)
    if not 0 <= block <= BLOCKS - blocks:
        raise InputError(f"{count} draws from block {block} on reach beyond block {BLOCKS - 1}, the last.")
    env, episode = (x.unsqueeze(1) if isinstance(x, Tensor) else x for x in (rng.env, rng.episode))
    each = rng.stream * BLOCKS + block + torch.arange(blocks, device=env.device)
    drawn = torch.stack(philox(rng.seed, env, episode, rng.step, each), 2)
    return (drawn.flatten(1)[:, :count] >> 8).to(torch.float32) * 2.0**-24
