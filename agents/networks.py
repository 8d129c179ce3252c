"""The networks: an actor and a critic, multilayer perceptrons apart, with the observation's normalization before them."""

import itertools
import math
from collections.abc import Sequence

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from gpusim.agents.distributions import Categorical, Gaussian
from gpusim.agents.normalize import RunningMeanStd

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


def mlp(sizes: Sequence[int], activation: str, last_gain: float, generator: torch.Generator) -> nn.Sequential:
    """Linear layers, orthogonal with gain √2 but for the last (Engstrom et al., 2020), biases zero."""
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        last = i == len(sizes) - 2
        linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        nn.init.orthogonal_(linear.weight, last_gain if last else math.sqrt(2), generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


class ActorCritic(nn.Module):
    """Policy and value of a vector observation.

    Args:
        observation_space, action_space: of one environment.
        hidden: widths of the hidden layers of each of the two networks.
        normalize_obs: whether observations pass through running statistics first.
        initial_log_std: of a Gaussian policy, in units of half the action's range.
        generator: on the CPU, where the weights are drawn.
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
    ):
        super().__init__()
        inputs = math.prod(observation_space.shape)
        self.discrete = isinstance(action_space, Discrete)
        outputs = int(action_space.n) if isinstance(action_space, Discrete) else math.prod(action_space.shape)
        self.actor = mlp([inputs, *hidden, outputs], activation, 0.01, generator)
        self.critic = mlp([inputs, *hidden, 1], activation, 1.0, generator)
        self.normalizer = RunningMeanStd((inputs,)) if normalize_obs else None
        self.action_centre: Tensor
        self.action_half: Tensor
        if isinstance(action_space, Box):
            self.log_std = nn.Parameter(torch.full((outputs,), initial_log_std))
            low, high = torch.from_numpy(action_space.low), torch.from_numpy(action_space.high)
            self.register_buffer("action_centre", (low + high) / 2)
            self.register_buffer("action_half", (high - low) / 2)

    def features(self, obs: Tensor) -> Tensor:
        return obs if self.normalizer is None else self.normalizer(obs)

    def distribution(self, obs: Tensor) -> Categorical | Gaussian:
        out = self.actor(self.features(obs))
        return Categorical(out) if self.discrete else Gaussian(out, self.log_std)

    def value(self, obs: Tensor) -> Tensor:
        """`[..., N]`."""
        return self.critic(self.features(obs)).squeeze(-1)

    def env_action(self, action: Tensor) -> Tensor:
        """What the environment is given: a continuous action in [−1, 1], clipped, and stretched to the space's bounds."""
        return action if self.discrete else self.action_centre + self.action_half * action.clamp(-1.0, 1.0)

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator | None) -> Tensor:
        """An environment's actions for `obs` `[N, *obs]`: drawn with `generator`, or the mode without."""
        distribution = self.distribution(obs)
        return self.env_action(distribution.mode() if generator is None else distribution.sample(generator))


class QNetwork(ActorCritic):
    """Action values of a vector observation, in the same parts: the actor gives the value of each action, or, dueling
    (Wang et al., 2016), its advantage over their mean, to which the critic adds the state's. The two share no layers.

    So the greatest entry of the actor is the best action either way, and an `ActorCritic` of these weights plays it.
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
    ):
        super().__init__(observation_space, action_space, hidden, activation, normalize_obs, 0.0, generator)
        self.dueling = dueling

    def q(self, obs: Tensor) -> Tensor:
        """`[..., A]`."""
        return self.q_of(self.features(obs))

    def q_of(self, features: Tensor) -> Tensor:
        """`[..., A]`, where the observations were normalized already."""
        out = self.actor(features)
        return out - out.mean(-1, keepdim=True) + self.critic(features) if self.dueling else out

    def value(self, obs: Tensor) -> Tensor:
        """`[...]`, of the best action."""
        return self.q(obs).amax(-1)

    def trained(self) -> list[nn.Parameter]:
        """The parameters that the action values depend on."""
        return list(self.parameters() if self.dueling else self.actor.parameters())
