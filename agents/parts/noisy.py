"""Noisy layers (Fortunato et al., 2018): weights with noise of a learned size, by which a learner explores.

The noise is factorized: that of a weight is f(a) · f(b), a a normal number of its input and b one of its output, where
f(x) = sgn(x) √|x|. So each row of a batch can have its own, for no more than another product.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gpusim.kernels.sampling import gaussian

INITIAL = 0.5  # the noise's size at the start, over the root of a layer's inputs


class Noise(nn.Module):
    """The noise of a network's layers, drawn by Philox: a function of the seed and of how many draws there were.

    Layers have none but within `drawn`, so that a network that is evaluated has none.

    Args:
        seed: in [0, 2**63).
    """

    def __init__(self, seed: int):
        super().__init__()
        self.width = 0  # numbers of one row
        self.now: Tensor | None = None  # [rows, width] f of normal numbers
        self.seed: Tensor
        self.draws: Tensor
        self.register_buffer("seed", torch.tensor(seed), persistent=False)
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def take(self, numbers: int) -> slice:
        """A layer's share of a row."""
        self.width += numbers
        return slice(self.width - numbers, self.width)

    @contextmanager
    def drawn(self, rows: int = 1) -> Iterator[None]:
        """Within it layers have noise: of one row for a whole batch, or of as many as a batch has."""
        self.now = self._draw(rows)
        try:
            yield
        finally:
            self.now = None

    @torch.no_grad()
    def _draw(self, rows: int) -> Tensor:
        pairs, device = -(-rows * self.width // 2), self.seed.device
        mean, log_std = torch.zeros(pairs, 2, device=device), torch.zeros(2, device=device)
        normal = gaussian(mean, log_std, self.seed, torch.arange(pairs, device=device), self.draws).sample
        self.draws.add_(1)
        flat = normal.flatten()[: rows * self.width].view(rows, self.width)
        return flat.sign() * flat.abs().sqrt()


class Noisy(nn.Module):
    """A linear layer, and beside it another one, of the noise's size, whose product with the noise is added.

    Args:
        layer: the first.
        noise: where the noise comes from.
    """

    def __init__(self, layer: nn.Linear, noise: Noise):
        super().__init__()
        self.layer = layer
        self.spread = nn.utils.skip_init(type(layer), layer.in_features, layer.out_features)
        for parameter in self.spread.parameters():
            nn.init.constant_(parameter, INITIAL / math.sqrt(layer.in_features))
        self.share = noise.take(layer.in_features + layer.out_features)
        self.noise = (noise,)  # whose tensors are the network's, not a layer's

    def forward(self, x: Tensor) -> Tensor:
        mean, (noise,) = self.layer(x), self.noise
        if noise.now is None:
            return mean
        inputs, outputs = noise.now[:, self.share].tensor_split([self.layer.in_features], -1)
        return mean + self.spread(x * inputs) * outputs
