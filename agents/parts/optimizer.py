"""Adam on one flat vector: every parameter and gradient of a network is a view of it, so a step is a handful of operations.

`torch.optim` would import the compiler (1.6 s) to step a network that takes a millisecond.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gpusim.agents.parts.world import here

MOST = 2.0**24  # that a loss is multiplied by


class LossScale(nn.Module):
    """What a loss is multiplied by, so that its gradient does not vanish in float16 (Micikevicius et al., 2018): half as
    much after a gradient that overflowed, twice as much after `every` that did not."""

    def __init__(self, start: float = 2.0**16, every: int = 2000):
        super().__init__()
        self.every = every
        self.scale: Tensor
        self.since: Tensor
        self.overflows: Tensor
        self.register_buffer("scale", torch.tensor(start))
        self.register_buffer("since", torch.zeros(()))  # steps since it changed
        self.register_buffer("overflows", torch.zeros(()))  # steps that were left out

    def update(self, overflowed: Tensor) -> None:
        """After a step; `overflowed` is a scalar, 1 or 0."""
        self.overflows.add_(overflowed)
        self.since.add_(1.0).mul_(1.0 - overflowed)
        grown = (self.since >= self.every).float()
        self.since.mul_(1.0 - grown)
        self.scale.mul_((1.0 - 0.5 * overflowed) * (1.0 + grown)).clamp_(1.0, MOST)


class Adam(nn.Module):
    """Adam (Kingma & Ba, 2015) with clipping by global norm; its state is in its buffers, float32. Where several ranks learn
    together, the gradient is the mean of theirs.

    Args:
        parameters: they become views of one vector, as do their gradients.
        eps: added to the root of the second moment.
        max_grad_norm: the gradient is scaled down to this norm.
        scaled: whether losses are multiplied by a `LossScale` first; a step whose gradient overflows is then left out.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        eps: float = 1e-5,
        max_grad_norm: float = 0.5,
        scaled: bool = False,
    ):
        super().__init__()
        self.trained = parameters = list(parameters)
        self.eps, self.max_grad_norm, self.world = eps, max_grad_norm, here()
        self.flat = torch.cat([p.detach().flatten() for p in parameters])
        self.grad = torch.zeros_like(self.flat)
        self.moment1: Tensor
        self.moment2: Tensor
        self.steps: Tensor
        self.register_buffer("moment1", torch.zeros_like(self.flat))
        self.register_buffer("moment2", torch.zeros_like(self.flat))
        self.register_buffer("steps", torch.zeros((), device=self.flat.device))
        self.scale = LossScale().to(self.flat.device) if scaled else None
        start = 0
        for p in parameters:
            stop = start + p.numel()
            p.data, p.grad = self.flat[start:stop].view_as(p), self.grad[start:stop].view_as(p)
            start = stop

    def step(self, loss: Tensor, learning_rate: float | Tensor) -> Tensor:
        """One step down the gradient of `loss`; the gradient's norm before clipping, a scalar.

        Of other parameters, which `loss` may come by too, no gradient is computed.
        """
        return self.step_of((loss,), learning_rate)

    def step_of(self, losses: Iterable[Tensor], learning_rate: float | Tensor) -> Tensor:
        """The same of the sum of some losses; what one needs for its gradient is gone before the next is made."""
        self.grad.zero_()
        for loss in losses:
            (loss if self.scale is None else loss * self.scale.scale).backward(inputs=self.trained)
            del loss
        return self._descend(learning_rate)

    @torch.no_grad()
    def _descend(self, learning_rate: float | Tensor) -> Tensor:
        self.world.mean_(self.grad)
        norm, overflowed = torch.linalg.vector_norm(self.grad), None
        if self.scale is None:
            self.grad.mul_((self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
            self.steps.add_(1.0)
        else:
            norm = norm / self.scale.scale
            overflowed = (~norm.isfinite()).float()
            self.grad.mul_((self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0) / self.scale.scale)
            self.steps.add_(1.0 - overflowed)
            self.scale.update(overflowed)
        torch._fused_adam_(
            [self.flat], [self.grad], [self.moment1], [self.moment2], [], [self.steps],
            lr=learning_rate, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=self.eps, amsgrad=False, maximize=False,
            found_inf=overflowed,
        )  # fmt: skip
        return norm

    def metrics(self) -> dict[str, Tensor]:
        """The scale of the loss and the steps left out so far, where there is one."""
        scale = self.scale
        return {"loss_scale": scale.scale.clone(), "overflows": scale.overflows.clone()} if scale else {}
