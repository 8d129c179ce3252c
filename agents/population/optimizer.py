"""Adam of many networks at once, a row of parameters each, with its own norm and its own rate."""

import torch
from torch import Tensor


class StackedAdam:
    """As `gpusim.agents.parts.optimizer.Adam` for every row of `flat`.

    Args:
        flat: parameters `[P, n]`, which are changed in place.
        max_grad_norm: `[P]`.
        eps: added to the root of the second moment.
    """

    def __init__(self, flat: Tensor, max_grad_norm: Tensor, eps: float = 1e-5):
        self.flat, self.max_grad_norm, self.eps = flat, max_grad_norm, eps
        self.moment1, self.moment2 = torch.zeros_like(flat), torch.zeros_like(flat)
        self.change = torch.zeros_like(flat)
        self.steps = torch.zeros((), device=flat.device)  # of each

    @torch.no_grad()
    def step(self, grad: Tensor, learning_rate: Tensor) -> None:
        """One step down the gradients `[P, n]`, which are clipped in place, by the rates `[P]`."""
        norm = torch.linalg.vector_norm(grad, dim=1)
        grad.mul_((self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0).unsqueeze(1))
        self.steps.add_(1.0)
        self.change.zero_()  # which Adam at a rate of 1 makes the change of each parameter
        torch._fused_adam_(
            [self.change], [grad], [self.moment1], [self.moment2], [], [self.steps],
            lr=1.0, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=self.eps, amsgrad=False, maximize=False,
        )  # fmt: skip
        self.flat.addcmul_(self.change, learning_rate.unsqueeze(1))

    def state(self, p: int) -> dict[str, Tensor]:
        """The `state_dict` of number `p`."""
        return {"moment1": self.moment1[p].clone(), "moment2": self.moment2[p].clone(), "steps": self.steps.clone()}

    def take(self, rows: Tensor, flat: Tensor) -> None:
        """Number i has what number `rows[i]` had; `flat` are the parameters from now on."""
        self.flat, self.moment1, self.moment2 = flat, self.moment1[rows], self.moment2[rows]
        self.max_grad_norm, self.change = self.max_grad_norm[rows], torch.zeros_like(flat)
