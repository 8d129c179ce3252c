"""The networks: an actor and a critic with the observation's normalization before them.

Of vectors they are multilayer perceptrons apart; of images both are a layer each on one convolutional network.
"""

import itertools
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from gpusim.agents.parts.images import is_cnn
from gpusim.agents.parts.noisy import Noise, Noisy
from gpusim.agents.parts.normalize import RunningMeanStd
from gpusim.agents.parts.values import Atoms, Mean, Quantiles
from gpusim.errors import NotFinite
from gpusim.kernels.distributions import Categorical, EpsilonGreedy, Gaussian
from gpusim.kernels.mlp import MlpShape, mlp_problem
from gpusim.kernels.policy import MlpPolicy

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}  # in which layers multiply, by the name of the precision
FILTERS = 16
NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # filters, size and stride of each convolution (Mnih et al., 2015)
NATURE_FROM = 36  # the least height and width that they take


def multiplying(low: torch.dtype | None, device: torch.device) -> AbstractContextManager:
    """What layers are called within that multiply in 16 bits, where there are such; nothing is cached in it, as a graph
    could not hold that."""
    return torch.autocast(device.type, low, cache_enabled=False) if low else nullcontext()


class Build(NamedTuple):
    """How layers are made."""

    activation: str  # a name in ACTIVATIONS
    generator: torch.Generator  # on the CPU, where the weights are drawn
    layer_norm: bool = False  # before every activation (Ba et al., 2016)
    low: torch.dtype | None = None  # in which all products but the last are made
    noise: Noise | None = None  # of linear layers, where they are noisy

    def weights(self, layer: Any, gain: float = math.sqrt(2)) -> Any:
        """Orthogonal (Engstrom et al., 2020), biases zero."""
        nn.init.orthogonal_(layer.weight, gain, generator=self.generator)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
        return layer

    def linear(self, fan_in: int, fan_out: int, gain: float = math.sqrt(2), kind: type[nn.Linear] = nn.Linear) -> Any:
        layer = self.weights(nn.utils.skip_init(kind, fan_in, fan_out), gain)
        return layer if self.noise is None else Noisy(layer, self.noise)

    def hidden(self, sizes: Sequence[int]) -> list[nn.Module]:
        """Linear layers, each with its activation."""
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [self.linear(fan_in, fan_out)]
            layers += [nn.LayerNorm(fan_out)] if self.layer_norm else []
            layers += [ACTIVATIONS[self.activation]()]
        return layers

    def mlp(self, sizes: Sequence[int], last_gain: float) -> nn.Sequential:
        layers, last = self.hidden(sizes[:-1]), Exact if self.low else nn.Linear
        return nn.Sequential(*layers, self.linear(sizes[-2], sizes[-1], last_gain, last))

    def cnn(self, shape: Sequence[int], hidden: Sequence[int]) -> nn.Sequential:
        """Of images `[..., H, W, C]`: convolutions, then linear layers.

        Of boards it is one convolution of 3 × 3, as MinAtar's authors use; of pictures, three as of Nature's DQN.
        """
        height, width, channels = shape
        if min(height, width) >= NATURE_FROM:
            return self.nature(shape, hidden)
        size = convolved(shape)
        layers = [Image(self.weights(nn.utils.skip_init(nn.Conv2d, channels, FILTERS, 3))), nn.Flatten(-3)]
        layers += [nn.LayerNorm(size)] if self.layer_norm else []
        return nn.Sequential(*layers, ACTIVATIONS[self.activation](), *self.hidden([size, *hidden]))

    def nature(self, shape: Sequence[int], hidden: Sequence[int]) -> nn.Sequential:
        channels, layers = shape[-1], list[nn.Module]()
        for filters, size, stride in NATURE:
            layers += [Image(self.weights(nn.utils.skip_init(nn.Conv2d, channels, filters, size, stride)))]
            layers += [ACTIVATIONS[self.activation]()]
            channels = filters
        cells = convolved(shape)
        layers.insert(-1, nn.Flatten(-3))
        if self.layer_norm:
            layers.insert(-1, nn.LayerNorm(cells))
        return nn.Sequential(*layers, *self.hidden([cells, *hidden]))


def convolved(shape: Sequence[int]) -> int:
    """Entries of what the convolutions of `Build.cnn` make of an image `[H, W, C]`."""
    height, width, _ = shape
    if min(height, width) < NATURE_FROM:
        return FILTERS * (height - 2) * (width - 2)
    for _, size, stride in NATURE:
        height, width = (height - size) // stride + 1, (width - size) // stride + 1
    return height * width * NATURE[-1][0]


class Exact(nn.Linear):
    """A linear layer in float32, whatever those before it multiplied in."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Image(nn.Module):
    """A convolution of `[..., H, W, C]` to `[..., h, w, filters]`, in which order both lie in memory."""

    def __init__(self, convolution: nn.Module):
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x.flatten(0, -4).movedim(-1, 1)).movedim(1, -1).unflatten(0, x.shape[:-3])


class PolicyNetwork(nn.Module):
    """What every policy's network has: an observation's features, and how its actions reach the environment. A kind of it
    adds the layers that make a distribution of what `body` gives.

    Args:
        observation_space, action_space: of one environment.
        hidden: widths of the hidden layers of an image, which all outputs share.
        normalize_obs: whether observations pass through running statistics first.
        build: makes the layers.
        network: mlp, cnn (of images `[H, W, C]` only), or auto: cnn for those.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Discrete | Box,
        hidden: Sequence[int],
        normalize_obs: bool,
        build: Build,
        network: str = "auto",
    ):
        super().__init__()
        self.low, self.flat = build.low, not is_cnn(network, observation_space)
        self.inputs, self.axes = math.prod(observation_space.shape), len(observation_space.shape)
        self.greatest = 255.0 if observation_space.dtype == np.uint8 else 1.0
        self.discrete = isinstance(action_space, Discrete)
        self.features_dtype = self.low if self.low and not self.flat else torch.float32
        self.outputs = int(action_space.n) if isinstance(action_space, Discrete) else math.prod(action_space.shape)
        self.body = nn.Sequential() if self.flat else build.cnn(observation_space.shape, hidden)
        self.normalizer = RunningMeanStd((self.inputs,)) if normalize_obs else None
        self.action_centre: Tensor
        self.action_half: Tensor
        if isinstance(action_space, Box):
            low, high = torch.from_numpy(action_space.low), torch.from_numpy(action_space.high)
            self.register_buffer("action_centre", (low + high) / 2)
            self.register_buffer("action_half", (high - low) / 2)

    def features(self, obs: Tensor) -> Tensor:
        """What the layers are given: `obs` `[..., *obs]` flat where they are perceptrons, and normalized."""
        if self.flat and self.axes != 1:
            obs = obs.flatten(-self.axes)
        if not obs.is_floating_point():
            obs = obs.to(self.features_dtype)
            obs = obs.div_(self.greatest) if self.greatest != 1.0 else obs
        return obs if self.normalizer is None else self.normalizer(obs)

    def multiplying(self, device: torch.device) -> AbstractContextManager:
        """What the layers are called within."""
        return multiplying(self.low, device)

    def distribution(self, obs: Tensor) -> Any:
        """One of `gpusim.kernels.distributions`."""
        features = self.features(obs)
        with self.multiplying(obs.device):
            return self.policy(self.body(features))

    def policy(self, hidden: Tensor) -> Any:
        """The distribution, of what `body` makes."""
        raise NotImplementedError

    def as_held(self, flat: Tensor) -> MlpPolicy | None:
        """The same policy and value, of parameters in one vector, as kernels hold them; None where they cannot."""
        return None

    def trained(self) -> list[nn.Parameter]:
        """The parameters that the outputs depend on."""
        return list(self.parameters())

    def env_action(self, action: Tensor) -> Tensor:
        """What the environment is given: a continuous action in [−1, 1], clipped, and stretched to the space's bounds."""
        return action if self.discrete else self.action_centre + self.action_half * action.clamp(-1.0, 1.0)

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator | None) -> Tensor:
        """An environment's actions for `obs` `[N, *obs]`: drawn with `generator`, or the mode without.

        Raises:
            NotFinite: on a CPU, what they are drawn from is NaN or infinite.
        """
        distribution = self.distribution(obs)
        if obs.device.type == "cpu":
            require_finite(distribution[0])
        return self.env_action(distribution.mode() if generator is None else distribution.sample(generator))

    @torch.no_grad()
    def check_output(self, obs: Tensor) -> None:
        """Raises NotFinite where the policy makes of `obs` `[N, *obs]` no numbers, so that none of its actions is meant."""
        require_finite(self.distribution(obs)[0])


def require_finite(output: Tensor) -> None:
    """Raises NotFinite where what a policy answers in N environments, `[N, ...]`, is NaN or infinite."""
    if not math.isfinite(float(output.sum())) and not bool(output.isfinite().all()):
        row = int(output.isfinite().flatten(1).all(1).int().argmin())
        raise NotFinite(
            f"what the policy answers to the observation of environment {row} is not finite (nan or infinite): its "
            "weights, or that observation, are none or are far too large.",
            "policy",
            environment=row,
        )


class ActorCritic(PolicyNetwork):
    """Policy and value of an observation.

    Args:
        observation_space, action_space: of one environment.
        hidden: widths of the hidden layers of each of the two networks; of an image's, of the layers that both share.
        normalize_obs: whether observations pass through running statistics first.
        initial_log_std: of a Gaussian policy, in units of half the action's range.
        generator: on the CPU, where the weights are drawn.
        network: mlp, cnn (of images `[H, W, C]` only), or auto: cnn for those.
        layer_norm: normalize each hidden layer before its activation.
        precision: "bf16" and "fp16" let all layers but the last multiply so.
        each: how many numbers stand for each output of the two.
        noise: of linear layers that have some.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Discrete | Box,
        hidden: Sequence[int],
        activation: str,
        normalize_obs: bool,
        initial_log_std: float,
        generator: torch.Generator,
        network: str = "auto",
        layer_norm: bool = False,
        precision: str = "tf32x3",
        each: int = 1,
        noise: Noise | None = None,
    ):
        build = Build(activation, generator, layer_norm, LOW.get(precision), noise)
        super().__init__(observation_space, action_space, hidden, normalize_obs, build, network)
        self.each = each
        self.make_layers(build, [self.inputs, *hidden] if self.flat else [hidden[-1]], self.outputs)
        self.shape: MlpShape | None = None
        if self.flat and len(hidden) == 2 and not layer_norm:
            self.shape = MlpShape(self.inputs, hidden[0], hidden[1], self.outputs, activation, not self.discrete)
        if not self.discrete:
            self.log_std = nn.Parameter(torch.full((self.outputs,), initial_log_std))

    def make_layers(self, build: Build, sizes: Sequence[int], outputs: int) -> None:
        """Actor and critic on features of `sizes[0]` entries, with hidden layers of the other `sizes`."""
        self.actor = build.mlp([*sizes, self.each * outputs], 0.01)
        self.critic = build.mlp([*sizes, self.each], 1.0)

    def forward(self, obs: Tensor) -> tuple[Any, Tensor]:
        """The policy's distribution and the value `[..., N]`."""
        features = self.features(obs)
        with self.multiplying(obs.device):
            hidden = self.body(features)
            return self.heads(hidden, hidden)

    def heads(self, actors: Tensor, critics: Tensor) -> tuple[Any, Tensor]:
        """Distribution and value, of what the layers before make for actor and critic."""
        return self.policy(actors), self.critic(critics).squeeze(-1)

    def policy(self, hidden: Tensor) -> Any:
        out = self.actor(hidden)
        return Categorical(out) if self.discrete else Gaussian(out, self.log_std)

    def value(self, obs: Tensor) -> Tensor:
        """`[..., N]`."""
        features = self.features(obs)
        with self.multiplying(obs.device):
            return self.critic(self.body(features)).squeeze(-1)

    def as_held(self, flat: Tensor) -> MlpPolicy | None:
        if self.shape is None or mlp_problem(self.shape):
            return None
        mean, scale = (
            (None, None) if self.normalizer is None else (self.normalizer.mean.float(), self.normalizer.scale())
        )
        centre, half = (None, None) if self.discrete else (self.action_centre, self.action_half)
        return MlpPolicy(flat, self.shape, mean, scale, centre, half)


class QNetwork(ActorCritic):
    """Action values, in the same parts: the actor gives the value of each action, or, dueling (Wang et al., 2016), its
    advantage over their mean, to which the critic adds the state's. The distribution is ε-greedy in them.

    Args:
        dueling: whether the critic takes part.
        values: what the numbers mean that stand for an action's value; None: the value itself.
        others: as `ActorCritic`.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Discrete,
        hidden: Sequence[int],
        activation: str,
        normalize_obs: bool,
        dueling: bool,
        generator: torch.Generator,
        network: str = "auto",
        layer_norm: bool = False,
        precision: str = "tf32x3",
        values: Mean | Atoms | Quantiles | None = None,
        noise: Noise | None = None,
    ):
        super().__init__(
            observation_space, action_space, hidden, activation, normalize_obs, 0.0, generator, network, layer_norm,
            precision, 1 if values is None else values.outputs, noise,
        )  # fmt: skip
        self.dueling, self.values, self.noise = dueling, values, noise
        self.epsilon: Tensor
        self.register_buffer("epsilon", torch.ones(()))  # share of random actions

    def as_held(self, flat: Tensor) -> None:
        """None: it explores otherwise."""
        return None

    def noised(self, rows: int = 1) -> AbstractContextManager:
        """Within it noisy layers have noise, as `Noise.drawn` says."""
        return self.noise.drawn(rows) if self.noise else nullcontext()

    def q(self, obs: Tensor) -> Tensor:
        """`[..., A]`."""
        return self.q_of(self.features(obs))

    def q_of(self, features: Tensor) -> Tensor:
        """`[..., A]`, where the observations were made `features` already."""
        with self.multiplying(features.device):
            return self.q_from(self.body(features))

    def out_of(self, features: Tensor) -> Tensor:
        """`[..., A, values.outputs]`, what stands for the values."""
        with self.multiplying(features.device):
            return self.out_from(self.body(features))

    def out_from(self, hidden: Tensor) -> Tensor:
        """The same, of what the layers before the outputs make."""
        assert self.values is not None
        out = self.actor(hidden).unflatten(-1, (self.outputs, self.values.outputs))
        return out - out.mean(-2, keepdim=True) + self.critic(hidden).unsqueeze(-2) if self.dueling else out

    def q_from(self, hidden: Tensor) -> Tensor:
        """`[..., A]`, of what the layers before the outputs make."""
        if self.values is not None:
            return self.values.mean(self.out_from(hidden))
        out = self.actor(hidden)
        return out - out.mean(-1, keepdim=True) + self.critic(hidden) if self.dueling else out

    def value(self, obs: Tensor) -> Tensor:
        """`[...]`, of the best action."""
        return self.q(obs).amax(-1)

    def trained(self) -> list[nn.Parameter]:
        parts = (self.body, self.actor, self.critic) if self.dueling else (self.body, self.actor)
        return [p for part in parts for p in part.parameters()]

    def heads(self, actors: Tensor, critics: Tensor) -> tuple[EpsilonGreedy, Tensor]:
        q = self.q_from(actors)
        return EpsilonGreedy(q, self.epsilon), q.amax(-1)

    def policy(self, hidden: Tensor) -> EpsilonGreedy:
        return EpsilonGreedy(self.actor(hidden) if self.values is None else self.q_from(hidden), self.epsilon)
