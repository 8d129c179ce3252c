"""Drawing actions from a policy's outputs, with their log-probability and entropy; every draw comes from Philox.

The draws of environment n at step `clock` are a function of (seed, n, clock): they do not depend on how many environments
act, nor on the backend. Categorical actions are found by inverting the distribution function at one uniform number,
Gaussian noise by the transform of Box & Muller (1958).
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpusim.kernels.distributions import HALF_LOG_TAU, LOG_STD_RANGE, Gaussian
from gpusim.kernels.lang import BLOCKS, STREAM_POLICY
from gpusim.kernels.philox import philox
from gpusim.kernels.renamed import renamed
from gpusim.kernels.twin import twin, within

__getattr__ = renamed(__name__, {"Drawn": "ActionSample"})


class ActionSample(NamedTuple):
    """Actions of N environments."""

    sample: Tensor  # [N] int32, or [N, d] float32
    log_prob: Tensor  # [N]
    entropy: Tensor  # [N]


def categorical_torch(logits: Tensor, seed: Tensor, index: Tensor, clock: Tensor) -> ActionSample:
    """Draws from `logits` `[N, A]`.

    Args:
        seed: int64 scalar in [0, 2**63), or `[N]`.
        index: int64 `[N]`, the environments' numbers.
        clock: int64 scalar, the step.
    """
    shifted = logits - logits.amax(-1, keepdim=True)
    weight = shifted.exp()
    total = weight.sum(-1)
    threshold = _uniform(_words(seed, index, clock, 0)[0]) * total
    below = threshold[:, None] >= weight.cumsum(-1)[:, :-1]
    sample = below.sum(-1, dtype=torch.int32)
    log_total = total.log()
    log_prob = shifted.gather(-1, sample[:, None].long()).squeeze(-1) - log_total
    return ActionSample(sample, log_prob, log_total - (weight * shifted).sum(-1) / total)


def gaussian_torch(mean: Tensor, log_std: Tensor, seed: Tensor, index: Tensor, clock: Tensor) -> ActionSample:
    """Draws from independent normals, `mean` `[N, d]`, `log_std` `[d]` (kept within `LOG_STD_RANGE`); else as
    `categorical`."""
    entropy, log_std = Gaussian(mean, log_std).entropy(), log_std.clamp(*LOG_STD_RANGE)
    noise = torch.stack([_normal(_words(seed, index, clock, k // 2), k % 2) for k in range(mean.shape[1])], -1)
    log_prob = (-0.5 * noise * noise - log_std - HALF_LOG_TAU).sum(-1)
    return ActionSample(mean + noise * log_std.exp(), log_prob, entropy)


def _words(seed: Tensor, index: Tensor, clock: Tensor, block: int):
    """Those of the last stream, which has blocks without end: two actions take one."""
    return philox(seed, index, clock & 0xFFFFFFFF, clock >> 32, STREAM_POLICY * BLOCKS + block)


def _uniform(word: Tensor) -> Tensor:
    """In [0, 1)."""
    return (word >> 8).to(torch.float32) * 2.0**-24


def _normal(random: tuple, pair: int) -> Tensor:
    radius, turn = ((random[2 * pair] >> 8) + 1).to(torch.float32) * 2.0**-24, _uniform(random[2 * pair + 1])
    return (-2.0 * radius.log()).sqrt() * (2.0 * math.pi * turn).cos()


# --------------------------------------------------------------------------------------------------------- examples


def _who(envs: int, seeds: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Seed, or one for each, index and clock, none of them of 32 bits only."""
    seed = 2**62 + 5 + torch.arange(envs) * 2**33 if seeds else torch.tensor(2**62 + 5)
    return seed, torch.arange(envs) + 5, torch.tensor(2**33 + 11)


def _categorical_example(envs: int, actions: int, seeds: bool = False) -> tuple:
    return 2 * torch.randn(envs, actions, generator=torch.Generator().manual_seed(0)), *_who(envs, seeds)


def _gaussian_example(envs: int, entries: int, seeds: bool = False) -> tuple:
    mean = torch.randn(envs, entries, generator=torch.Generator().manual_seed(0))
    return mean, torch.linspace(-6.0, 2.5, entries), *_who(envs, seeds)


def _but_on_borders(ours: Any, theirs: Any, sizes: Any, gpu: bool) -> None:
    """One sample in a thousand may be another, where the number that was drawn lies on the border between two actions."""
    same = ours[0] == theirs[0]
    assert (~same).float().mean() < 1e-3
    near = within(1e-5, 2e-6, on_gpu=(1e-5, 1e-5))
    near((ours[1][same], ours[2]), (theirs[1][same], theirs[2]), sizes, gpu)


_SIZES = [(n, width) for n in (1, 7, 300) for width in (1, 2, 3, 7)]
_LARGE = [(n, width) for n in (100, 4099) for width in (2, 3, 7)]

categorical = twin(
    categorical_torch, "sampling_triton", on="logits", example=_categorical_example, close=_but_on_borders,
    compared=lambda arguments, drawn: drawn,
    cases=[*({"envs": n, "actions": a} for n, a in _SIZES), {"envs": 37, "actions": 3, "seeds": True}],
    large=[{"envs": n, "actions": a} for n, a in _LARGE],
)  # fmt: skip
gaussian = twin(
    gaussian_torch, "sampling_triton", on="mean", example=_gaussian_example,
    close=within(1e-5, 5e-6, on_gpu=(1e-4, 1e-4)),
    cases=[*({"envs": n, "entries": d} for n, d in _SIZES), {"envs": 37, "entries": 3, "seeds": True}],
    large=[{"envs": n, "entries": d} for n, d in _LARGE],
)  # fmt: skip
