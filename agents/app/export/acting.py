"""What is exported of a policy: a module of tensors that acts as it does, and what goes in and out of it."""

import copy
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gpusim.agents.parts.gated import Remembering
from gpusim.agents.parts.networks import PolicyNetwork, QNetwork
from gpusim.agents.parts.normalize import RunningMeanStd
from gpusim.agents.train.evaluate import Loaded
from gpusim.kernels.distributions import Categorical, EpsilonGreedy
from gpusim.kernels.moments import normalized


class Named(NamedTuple):
    """A tensor that goes in or out, `[N, *shape]`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    meaning: str
    drawn: str | None = None  # of noise: normal or uniform

    def told(self) -> dict[str, Any]:
        """As a card has it."""
        drawn = {} if self.drawn is None else {"drawn": self.drawn}
        return {"name": self.name, "dtype": self.dtype, "shape": ["N", *self.shape], "meaning": self.meaning} | drawn


# ---------------------------------------------------------------------------------------------------------- sampling


@singledispatch
def drawn(distribution: Any, noise: Tensor) -> Tensor:
    """The actions that `noise` `[N, k]` draws: standard normal numbers, or for discrete actions uniform ones in [0, 1)."""
    return distribution.at(noise)


@drawn.register
def _(distribution: Categorical, noise: Tensor) -> Tensor:
    return preferred(distribution.logits, noise).argmax(-1)


def preferred(logits: Tensor, noise: Tensor) -> Tensor:
    """What is greatest where the exponential race of `Categorical.sample` is won, by uniform `noise` `[N, A]`."""
    return logits - (1.0 - noise).log().neg().log()


@drawn.register
def _(distribution: EpsilonGreedy, noise: Tensor) -> Tensor:
    choices = distribution.q.shape[-1]
    among = (noise[:, 1] * choices).long().clamp(max=choices - 1)
    return torch.where(noise[:, 0] < distribution.epsilon, among, distribution.mode())


ANEW = "drawn anew for every call"


def noise_of(network: PolicyNetwork) -> Named:
    """What `drawn` takes for the distributions of this network."""
    if not network.discrete:
        return Named("noise", "float32", (network.outputs,), f"standard normal numbers, {ANEW}", "normal")
    count = 2 if isinstance(network, QNetwork) else network.outputs
    return Named("noise", "float32", (count,), f"uniform numbers in [0, 1), {ANEW}", "uniform")


# -------------------------------------------------------------------------------------------------------- the network


class Normalization(nn.Module):
    """What `RunningMeanStd` does, its statistics as they were, in float32."""

    def __init__(self, statistics: RunningMeanStd):
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", statistics.mean.float())
        self.register_buffer("scale", statistics.scale())

    def forward(self, x: Tensor) -> Tensor:
        return normalized(x, self.mean, self.scale)


def actor_of(network: PolicyNetwork) -> PolicyNetwork:
    """A copy without what acting does not need: the counting of observations, and the critic's copy of a memory."""
    network = copy.deepcopy(network).cpu().requires_grad_(False)
    if network.normalizer is not None:
        network.normalizer = Normalization(network.normalizer)  # type: ignore[assignment]
    if isinstance(network, Remembering):
        network.before, network.copies, network.cell.copies = network.before[:1], 1, 1
        for name, weights in list(network.cell.named_parameters(recurse=False)):
            setattr(network.cell, name, nn.Parameter(weights[:1].clone(), False))
    return network


def distribution_of(
    network: Any, obs: Tensor, state: tuple[Tensor, ...], begun: Tensor | None
) -> tuple[Any, tuple[Tensor, ...]]:
    """A network's distribution `[N, ...]`, and its state after `obs`; states are empty where nothing is remembered."""
    if begun is None:
        return network.distribution(obs), ()
    steps, _, after = network.unroll(obs.unsqueeze(0), state, begun.unsqueeze(0))
    name, numbers = steps._fields[0], steps[0].squeeze(0)
    return steps._replace(**{name: numbers}), tuple(x[0] for x in after)


class Acting(nn.Module):
    """A policy as a function of tensors alone, of any number N of environments.

    Args:
        policy: as `load_policy` gives it.
        samples: whether actions are drawn, by `noise`; else they are the mode of the distribution.
    """

    def __init__(self, policy: Loaded, samples: bool = False):
        super().__init__()
        self.network, self.samples, self.space = actor_of(policy.network), samples, policy.env.observation_space

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """From `inputs` to `outputs`, by their names."""
        before = tuple(inputs[x.name] for x in self.state)
        distribution, state = distribution_of(self.network, inputs["obs"], before, inputs.get("begun"))
        action = drawn(distribution, inputs["noise"]) if self.samples else distribution.mode()
        given = {"action": self.network.env_action(action)}
        scores = {"scores": distribution[0]} if self.network.discrete else {}
        return given | scores | {f"next_state{i}": x for i, x in enumerate(state)}

    @property
    def state(self) -> list[Named]:
        """What it remembers."""
        if not isinstance(self.network, Remembering):
            return []
        cell, words = self.network.cell, "what was remembered before: zeros at first, then next_state of the last call"
        return [Named(f"state{i}", "float32", (1, cell.units), words) for i in range(cell.tensors)]

    @property
    def inputs(self) -> list[Named]:
        words = "observations, as the environment gives them"
        obs = Named("obs", str(np.dtype(self.space.dtype)), self.space.shape, words)
        noise = [noise_of(self.network)] if self.samples else []
        begun = [Named("begun", "bool", (), "where an observation is the first of its episode")] if self.state else []
        return [obs, *noise, *begun, *self.state]

    @property
    def outputs(self) -> list[Named]:
        kept = [x._replace(name=f"next_{x.name}", meaning="what is remembered now") for x in self.state]
        network = self.network
        if not network.discrete:
            shape, words = tuple(network.action_half.shape), "as the environment takes them, within its bounds"
            return [Named("action", "float32", shape, words), *kept]
        values = isinstance(network, QNetwork)
        words = "the value of each" if values else "of each the logarithm of its probability, but for a constant"
        scores = Named("scores", "float32", (network.outputs,), words)
        return [Named("action", "int64", (), "numbers of actions"), scores, *kept]

    def example(self, num_envs: int) -> dict[str, Tensor]:
        """Inputs of so many environments, zeros."""
        return {x.name: torch.zeros(num_envs, *x.shape, dtype=getattr(torch, x.dtype)) for x in self.inputs}
