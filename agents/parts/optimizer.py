"""Adam on one flat vector: every parameter and gradient of a network is a view of it, so a step is a handful of operations.

`torch.optim` would import the compiler (1.6 s) to step a network that takes a millisecond.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Adam(nn.Module):
    """Adam (Kingma & Ba, 2015) with clipping by global norm; its state is in its buffers.

    Args:
        parameters: they become views of one vector, as do their gradients.
        eps: added to the root of the second moment.
        max_grad_norm: the gradient is scaled down to this norm.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], eps: float = 1e-5, max_grad_norm: float = 0.5):
        super().__init__()
        self.trained = parameters = list(parameters)
        self.eps, self.max_grad_norm = eps, max_grad_norm
        self.flat = torch.cat([p.detach().flatten() for p in parameters])
        self.grad = torch.zeros_like(self.flat)
        self.moment1: Tensor
        self.moment2: Tensor
        self.steps: Tensor
        self.register_buffer("moment1", torch.zeros_like(self.flat))
        self.register_buffer("moment2", torch.zeros_like(self.flat))
        self.register_buffer("steps", torch.zeros((), device=self.flat.device))
        start = 0
        for p in parameters:
            stop = start + p.numel()
            p.data, p.grad = self.flat[start:stop].view_as(p), self.grad[start:stop].view_as(p)
            start = stop

    def step(self, loss: Tensor, learning_rate: float | Tensor) -> Tensor:
        """One step down the gradient of `loss`; the gradient's norm before clipping, a scalar.

        Of other parameters, which `loss` may come by too, no gradient is computed.
        """
        self.grad.zero_()
        loss.backward(inputs=self.trained)
        with torch.no_grad():
            norm = torch.linalg.vector_norm(self.grad)
            self.grad.mul_((self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
            self.steps.add_(1.0)
            torch._fused_adam_(
                [self.flat], [self.grad], [self.moment1], [self.moment2], [], [self.steps],
                lr=learning_rate, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=self.eps, amsgrad=False, maximize=False,
            )  # fmt: skip
        return norm
