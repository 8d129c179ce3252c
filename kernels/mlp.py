"""The networks that kernels can hold: an actor and a critic apart, each a perceptron of two hidden layers.

All parameters lie in one flat float32 vector: the Gaussian policy's `log_std` `[A]` if there is one, then the actor's and
the critic's `weight` `[out, in]` and `bias` `[out]`, layer by layer.
"""

import math
from typing import Any, NamedTuple, Self

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

PRECISIONS = ("tf32x3", "tf32", "bf16")
"""How the products of the hidden layers are taken on tensor cores: `tf32x3`, three passes, is close to float32."""

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}
WIDTHS = (16, 256)
MAX_INPUTS = 64
MAX_OUTPUTS = 32


class MlpShape(NamedTuple):
    """What a flat vector of parameters means."""

    inputs: int
    hidden1: int
    hidden2: int
    outputs: int  # of the actor: logits, or means
    activation: str  # a name in ACTIVATIONS
    gaussian: bool  # whether log_std stands before the actor

    @classmethod
    def of(cls, observations: Any, actions: Any, hidden: tuple[int, ...] = (64, 64), activation: str = "tanh") -> Self:
        """The network between two Gymnasium spaces, of vectors and of a discrete or a continuous action."""
        discrete = isinstance(actions, Discrete)
        outputs = int(actions.n) if discrete else math.prod(actions.shape)
        hidden1, hidden2 = hidden
        return cls(math.prod(observations.shape), hidden1, hidden2, outputs, activation, not discrete)

    @property
    def actor(self) -> int:
        """Where the actor begins."""
        return self.outputs if self.gaussian else 0

    @property
    def critic(self) -> int:
        """Where the critic begins."""
        return self.actor + self.perceptron_size(self.outputs)

    @property
    def size(self) -> int:
        """Parameters in all."""
        return self.critic + self.perceptron_size(1)

    def perceptron_size(self, outputs: int) -> int:
        d, h1, h2 = self.inputs, self.hidden1, self.hidden2
        return h1 * d + h1 + h2 * h1 + h2 + outputs * h2 + outputs

    def layers(self, outputs: int) -> list[tuple[int, ...]]:
        """The shapes of one perceptron's parameters, in their order."""
        d, h1, h2 = self.inputs, self.hidden1, self.hidden2
        return [(h1, d), (h1,), (h2, h1), (h2,), (outputs, h2), (outputs,)]


def mlp_problem(shape: MlpShape) -> str | None:
    """Why the kernels cannot run this network, or None."""
    low, high = WIDTHS
    if not all(low <= width <= high for width in (shape.hidden1, shape.hidden2)):
        return f"the hidden layers have {shape.hidden1} and {shape.hidden2} units; kernels take {low} to {high}"
    if shape.activation not in ACTIVATIONS:
        return f"the activation is {shape.activation!r}; kernels take {' and '.join(ACTIVATIONS)}"
    if not 1 <= shape.inputs <= MAX_INPUTS:
        return f"an observation has {shape.inputs} numbers; kernels take 1 to {MAX_INPUTS}"
    if not 1 <= shape.outputs <= MAX_OUTPUTS:
        return f"the policy has {shape.outputs} outputs; kernels take 1 to {MAX_OUTPUTS}"
    return None


def actor_torch(flat: Tensor, shape: MlpShape, features: Tensor) -> Tensor:
    """Logits or means `[..., A]` of `features` `[..., D]`."""
    return _perceptron(flat[shape.actor : shape.critic], shape, shape.outputs, features)


def critic_torch(flat: Tensor, shape: MlpShape, features: Tensor) -> Tensor:
    """Values `[...]` of `features` `[..., D]`."""
    return _perceptron(flat[shape.critic : shape.size], shape, 1, features).squeeze(-1)


def _perceptron(flat: Tensor, shape: MlpShape, outputs: int, x: Tensor) -> Tensor:
    layers, activation = shape.layers(outputs), ACTIVATIONS[shape.activation]
    parts = flat.split([torch.Size(layer).numel() for layer in layers])
    w1, b1, w2, b2, w3, b3 = (part.view(layer) for part, layer in zip(parts, layers, strict=True))
    linear = torch.nn.functional.linear
    return linear(activation(linear(activation(linear(x, w1, b1)), w2, b2)), w3, b3)
