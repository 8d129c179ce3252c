"""A policy and value function as kernels hold them: one flat vector of parameters, and what goes before and after."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpusim.kernels.mlp import MlpShape, actor_torch, critic_torch
from gpusim.kernels.moments import normalized
from gpusim.kernels.sampling import ActionSample, categorical, gaussian


class MlpPolicy(NamedTuple):
    """An actor and a critic on vector observations; `VectorEnv.rollout` runs it inside the kernel where it can.

    Its draws are a function of (seed, environment, steps since seeding) alone.
    """

    flat: Tensor  # [shape.size] float32
    shape: MlpShape
    mean: Tensor | None = None  # [D] float32; None: observations are taken as they are
    scale: Tensor | None = None  # [D] float32: they are normalized as (obs - mean) * scale, clipped to ±10
    centre: Tensor | None = None  # [d] float32, the middle of the actions' range; None where they are discrete
    half: Tensor | None = (
        None  # [d] float32, half its width: clipped to [-1, 1], a sample is the action centre + half * sample
    )
    precision: str = "tf32x3"  # of the kernels' tensor-core products, one of gpusim.kernels.mlp.PRECISIONS

    def misfit(self, observations: Any, actions: Any) -> str | None:
        """Why it cannot act between two Gymnasium spaces, or None: kernels would read on behind its numbers."""
        of = MlpShape.of(observations, actions, self.shape[1:3], self.shape.activation)
        if self.shape != of:
            return f"its shape is {self.shape}, and these spaces need {of}"
        sizes = {"flat": of.size, "mean": of.inputs, "scale": of.inputs, "centre": of.outputs, "half": of.outputs}
        for name, size in sizes.items():
            x = getattr(self, name)
            if x is not None and (x.dtype != torch.float32 or x.shape != (size,)):
                return f"its {name} must be float32 of shape ({size},), not {x.dtype} of shape {tuple(x.shape)}"
        return None

    def features(self, obs: Tensor) -> Tensor:
        return obs if self.mean is None or self.scale is None else normalized(obs, self.mean, self.scale)

    def value(self, obs: Tensor) -> Tensor:
        """`[...]` of `obs` `[..., D]`."""
        return critic_torch(self.flat, self.shape, self.features(obs))

    def draw(self, obs: Tensor, seed: Tensor, index: Tensor, clock: Tensor) -> ActionSample:
        """What the policy draws at `obs` `[N, D]` in the environments `index` `[N]` at step `clock`, an int64 scalar."""
        out = actor_torch(self.flat, self.shape, self.features(obs))
        if self.shape.gaussian:
            return gaussian(out, self.flat[: self.shape.outputs], seed, index, clock)
        return categorical(out, seed, index, clock)

    def env_action(self, sample: Tensor) -> Tensor:
        """What the environment is given."""
        if self.centre is None or self.half is None:
            return sample
        return self.centre + self.half * sample.clamp(-1.0, 1.0)

    def act(self, obs: Tensor, seed: Tensor, index: Tensor, clock: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The environment's actions; `sample`, its `log_prob` and the `value` of `obs` beside them."""
        drawn = self.draw(obs, seed, index, torch.full((), clock, dtype=torch.int64, device=obs.device))
        extras = {"sample": drawn.sample, "log_prob": drawn.log_prob, "value": self.value(obs)}
        return self.env_action(drawn.sample), extras
