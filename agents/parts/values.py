"""What the outputs of a critic say of a return: its mean alone, or how it is distributed."""

import torch
from torch import Tensor, nn


class Mean(nn.Module):
    """One output, which is the value. Its targets are values too, `[B, 1]`."""

    outputs = 1

    def mean(self, out: Tensor) -> Tensor:
        """`[..., 1]` → `[...]`."""
        return out.squeeze(-1)

    def least(self, out: Tensor) -> Tensor:
        """Of the outputs `[2, B, 1]` of two critics, the lesser, `[B, 1]`."""
        return out.amin(0)

    def target(self, returns: Tensor, discount: Tensor, out: Tensor) -> Tensor:
        """returns + discount · value, `[B, 1]`, of a critic's `out` `[B, 1]` for the next observations.

        Args:
            returns, discount: `[B]`; the discount is 0 after a termination.
        """
        return returns.unsqueeze(-1) + discount.unsqueeze(-1) * out

    def expected(self, target: Tensor) -> Tensor:
        """The mean `[B]` of a target."""
        return target.squeeze(-1)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """½ (value − target)², `[..., B]`."""
        return 0.5 * (out - target).squeeze(-1).square()


class Atoms(nn.Module):
    """The logits of the probabilities that a return is one of some numbers (C51; Bellemare et al., 2017). Targets are
    probabilities, `[B, atoms]`.

    Args:
        low, high: the least number and the greatest.
        atoms: how many there are, evenly spaced.
    """

    def __init__(self, low: float, high: float, atoms: int):
        super().__init__()
        self.low, self.outputs, self.gap = low, atoms, (high - low) / (atoms - 1)
        self.support: Tensor
        self.register_buffer("support", torch.linspace(low, high, atoms), persistent=False)

    def mean(self, out: Tensor) -> Tensor:
        """`[..., atoms]` → `[...]`."""
        return out.softmax(-1) @ self.support

    def least(self, out: Tensor) -> Tensor:
        """Of the outputs `[2, B, atoms]` of two critics, for each row those of the lesser mean."""
        first, second = self.mean(out)
        return torch.where((first <= second).unsqueeze(-1), out[0], out[1])

    def target(self, returns: Tensor, discount: Tensor, out: Tensor) -> Tensor:
        """The distribution of returns + discount · Z, `[B, atoms]`, Z distributed as `out` `[B, atoms]` says.

        Args:
            returns, discount: `[B]`; the discount is 0 after a termination.
        """
        return self.project(out.softmax(-1), returns.unsqueeze(-1) + discount.unsqueeze(-1) * self.support)

    def project(self, probability: Tensor, number: Tensor) -> Tensor:
        """The probabilities `[B, atoms]` of numbers `[B, atoms]`, each shared between the atoms that it lies between, in
        proportion to how near they are; beyond the ends the last one has all of it.

        By a product with the shares `[B, atoms, atoms]`: sums in an order that is always the same, also on a GPU.
        """
        place = ((number - self.low) / self.gap).clamp(0, self.outputs - 1)
        atom = torch.arange(self.outputs, device=place.device, dtype=place.dtype)
        share = (1.0 - (place.unsqueeze(-1) - atom).abs()).clamp(min=0.0)
        return torch.bmm(probability.unsqueeze(-2), share).squeeze(-2)

    def expected(self, target: Tensor) -> Tensor:
        """The mean `[B]` of a target."""
        return target @ self.support

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, `[..., B]`."""
        return -(target * out.log_softmax(-1)).sum(-1)


class Quantiles(nn.Module):
    """The return's quantiles at the middles of as many shares of equal size (Dabney et al., 2018). Targets are returns of
    which each is as likely as another, `[B, quantiles]`."""

    def __init__(self, quantiles: int):
        super().__init__()
        self.outputs = quantiles
        self.levels: Tensor
        self.register_buffer("levels", (torch.arange(quantiles) + 0.5) / quantiles, persistent=False)

    def mean(self, out: Tensor) -> Tensor:
        """`[..., quantiles]` → `[...]`."""
        return out.mean(-1)

    def target(self, returns: Tensor, discount: Tensor, out: Tensor) -> Tensor:
        """returns + discount · each quantile, `[B, quantiles]`.

        Args:
            returns, discount: `[B]`; the discount is 0 after a termination.
        """
        return returns.unsqueeze(-1) + discount.unsqueeze(-1) * out

    def expected(self, target: Tensor) -> Tensor:
        """The mean `[B]` of a target."""
        return target.mean(-1)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """`[B]`: Huber's loss of each quantile and each return of the target, weighted by the quantile's level where the
        return is above it, and by what is left of 1 where it is below; added up over quantiles, the mean over returns."""
        error = target.unsqueeze(-2) - out.unsqueeze(-1)  # [B, quantiles, returns]
        huber = torch.where(error.abs() <= 1.0, 0.5 * error.square(), error.abs() - 0.5)
        weight = (self.levels.unsqueeze(-1) - (error.detach() < 0.0).float()).abs()
        return (weight * huber).mean(-1).sum(-1)


def of_action(out: Tensor, action: Tensor) -> Tensor:
    """Of `out` `[B, A, outputs]` that of each row's action `[B]`, `[B, outputs]`."""
    return out.gather(-2, action.view(-1, 1, 1).expand(-1, 1, out.shape[-1])).squeeze(-2)


def values(atoms: int, low: float, high: float) -> Mean | Atoms:
    """What so many outputs of a critic mean."""
    return Mean() if atoms == 1 else Atoms(low, high, atoms)
