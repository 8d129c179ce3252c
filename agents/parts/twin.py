"""Twin critics, each layer of which is a single batched product, and the network of a policy with such."""

import itertools
import math
from collections.abc import Sequence

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from gpusim.agents.parts.networks import ACTIVATIONS, Build, PolicyNetwork, multiplying
from gpusim.agents.parts.values import Atoms, Mean

TWO = 2


class Linears(nn.Module):
    """Linear layers beside each other: `[M, B, inputs]` → `[M, B, outputs]`."""

    def __init__(self, members: int, inputs: int, outputs: int, gain: float, generator: torch.Generator):
        super().__init__()
        weights = torch.empty(members, outputs, inputs)
        for weight in weights:
            nn.init.orthogonal_(weight, gain, generator=generator)
        self.weight = nn.Parameter(weights.mT.contiguous())  # [M, inputs, outputs]
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.shape[-1] == 1:  # of which a CPU makes batched products slowly
            return (x * self.weight.mT).sum(-1, keepdim=True) + self.bias
        return torch.baddbmm(self.bias, x, self.weight)


class ExactLinears(Linears):
    """The same in float32, whatever those before it multiplied in."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Norms(nn.Module):
    """Layer normalization (Ba et al., 2016) of each of `[M, B, width]`, its scale and shift each member's own."""

    def __init__(self, members: int, width: int):
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.ones(members, 1, width))
        self.bias = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, nn.functional.layer_norm(x, (self.width,)), self.weight)


class TwinCritic(nn.Module):
    """Two action values that are learned apart: of features `[B, i]` and actions `[B, d]` the outputs `[2, B, outputs]`.

    Args:
        inputs: i + d.
        hidden: widths of the hidden layers of each.
        outputs: of each.
        build: makes their layers.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, build: Build):
        super().__init__()
        self.low, last = build.low, ExactLinears if build.low else Linears
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise([inputs, *hidden]):
            layers += [Linears(TWO, fan_in, fan_out, math.sqrt(2), build.generator)]
            layers += [Norms(TWO, fan_out)] if build.layer_norm else []
            layers += [ACTIVATIONS[build.activation]()]
        self.layers = nn.Sequential(*layers, last(TWO, hidden[-1], outputs, 1.0, build.generator))

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([features, action], -1).expand(TWO, -1, -1)
        with multiplying(self.low, x.device):
            return self.layers(x)


class ActorTwinCritic(PolicyNetwork):
    """A policy of continuous actions and the twin critics of them, multilayer perceptrons apart.

    Args:
        observation_space, action_space: of one environment, numbers both.
        hidden: widths of the hidden layers of each.
        normalize_obs: whether observations pass through running statistics first.
        build: makes the layers.
        values: what the critics' outputs mean.
        per_action: outputs of the policy for each number of an action.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Box,
        hidden: Sequence[int],
        normalize_obs: bool,
        build: Build,
        values: Mean | Atoms,
        per_action: int = 1,
    ):
        super().__init__(observation_space, action_space, hidden, normalize_obs, build, "mlp")
        self.actor: nn.Sequential = build.mlp([self.inputs, *hidden, per_action * self.outputs], 0.01)
        self.critic = TwinCritic(self.inputs + self.outputs, hidden, values.outputs, build)
        self.values = values

    def acted(self, features: Tensor) -> Tensor:
        """What the actor's layers give."""
        with self.multiplying(features.device):
            return self.actor(features)

    def q(self, features: Tensor, action: Tensor) -> Tensor:
        """The values `[2, B]` that the critics give actions `[B, d]` in [−1, 1]."""
        return self.values.mean(self.critic(features, action))

    def value(self, obs: Tensor) -> Tensor:
        """`[B]`, the lesser, of the policy's mode."""
        features = self.features(obs)
        return self.q(features, self.policy(features).mode()).amin(0)
