"""Networks that remember, of gated cells: products and pointwise functions alone, which a CUDA graph can hold.

An episode that begins in the middle of what is unrolled begins with an empty state there. Actor and critic remember apart,
as two copies of a cell that step in one product, or share one copy.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gpusim.agents.parts.networks import ActorCritic, Build, QNetwork
from gpusim.errors import InputError

State = tuple[Tensor, ...]  # [N, K, U] each, of K copies of a cell; what the first holds is what a cell tells

# ----------------------------------------------------------------------------------------------------------- cells


class Cell(nn.Module):
    """K copies of a cell of U units, each with weights of its own.

    Args:
        copies: K.
        inputs: numbers that each is given at a step.
        units: U.
        generator: on the CPU, where the weights are drawn: orthogonal, a block for each gate, biases zero.
        low: in which products are made; the state is float32.
    """

    gates = 1
    tensors = 1  # of the state

    def __init__(
        self, copies: int, inputs: int, units: int, generator: torch.Generator, low: torch.dtype | None = None
    ):
        super().__init__()
        self.copies, self.units, self.low = copies, units, low
        self.weight = self.drawn(inputs, generator)
        self.bias = nn.Parameter(torch.zeros(copies, 1, self.gates * units))

    @classmethod
    def weights(cls, inputs: int, units: int) -> int:
        """How many each copy has, biases left out."""
        return cls.gates * units * inputs

    @classmethod
    def leaves(cls, steps: int) -> int:
        """Numbers that each unit leaves at a step for the gradient, of so many steps."""
        return 4 * cls.gates + 6 * cls.tensors

    def drawn(self, inputs: int, generator: torch.Generator) -> nn.Parameter:
        """Weights `[K, inputs, gates * U]`."""
        blocks = torch.empty(self.copies, self.gates, self.units, inputs)
        for block in blocks.flatten(0, 1):
            nn.init.orthogonal_(block, generator=generator)
        return nn.Parameter(blocks.flatten(1, 2).mT.contiguous())

    def empty(self, num_envs: int, device: torch.device) -> State:
        """Of environments of which nothing has been seen."""
        return tuple(torch.zeros(num_envs, self.copies, self.units, device=device) for _ in range(self.tensors))

    def forward(self, x: Tensor, state: State, begun: Tensor) -> State:
        """The state after every step, `[T, N, K, U]`.

        Args:
            x: `[T, K, N, inputs]`.
            state: before the first step.
            begun: `[T, N]` bool, where the state before the step is empty.
        """
        brought = (torch.matmul(x, self.weight) + self.bias).float()
        before = tuple(part.movedim(1, 0) for part in state)
        return tuple(part.movedim(1, 2) for part in self.unrolled(brought, before, begun[:, None, :, None]))

    def unrolled(self, brought: Tensor, state: State, begun: Tensor) -> State:
        """As `forward`, of what the inputs bring to the gates, `[T, K, N, gates * U]`; a state is `[K, N, U]` here."""
        raise NotImplementedError


class Stepping(Cell):
    """A cell whose gates know its state, so that one step waits for the one before."""

    @classmethod
    def weights(cls, inputs: int, units: int) -> int:
        return cls.gates * units * (inputs + units)

    def __init__(
        self, copies: int, inputs: int, units: int, generator: torch.Generator, low: torch.dtype | None = None
    ):
        super().__init__(copies, inputs, units, generator, low)
        self.recurrent = self.drawn(units, generator)
        self.recurrent_bias = nn.Parameter(torch.zeros(copies, 1, self.gates * units))

    def unrolled(self, brought: Tensor, state: State, begun: Tensor) -> State:
        low = self.low or brought.dtype
        weight, bias = self.recurrent.to(low), self.recurrent_bias.to(low)  # once, not at every step
        states = []
        for now, first in zip(brought.unbind(), begun.unbind(), strict=True):
            kept = tuple(part.masked_fill(first, 0.0) for part in state)
            state = self.step(now, torch.baddbmm(bias, kept[0].to(low), weight).float(), kept)
            states.append(state)
        return tuple(torch.stack(part) for part in zip(*states, strict=True))

    def step(self, brought: Tensor, recalled: Tensor, state: State) -> State:
        """One step, of what inputs and state bring to the gates, `[K, N, gates * U]` each."""
        raise NotImplementedError


class Gru(Stepping):
    """A gated recurrent unit (Cho et al., 2014), its reset gate after the product, as cuDNN has it."""

    gates = 3

    def step(self, brought: Tensor, recalled: Tensor, state: State) -> State:
        reset, update = (brought + recalled)[..., : 2 * self.units].sigmoid().chunk(2, -1)
        new = torch.addcmul(brought[..., 2 * self.units :], reset, recalled[..., 2 * self.units :]).tanh()
        return (torch.lerp(new, state[0], update),)


class Lstm(Stepping):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997); its gates that forget (Gers et al., 2000) begin open."""

    gates, tensors = 4, 2

    def __init__(
        self, copies: int, inputs: int, units: int, generator: torch.Generator, low: torch.dtype | None = None
    ):
        super().__init__(copies, inputs, units, generator, low)
        with torch.no_grad():
            self.bias[..., units : 2 * units] = 1.0

    def step(self, brought: Tensor, recalled: Tensor, state: State) -> State:
        gates = brought + recalled
        take, keep, tell = gates[..., : 3 * self.units].sigmoid().chunk(3, -1)
        cell = torch.addcmul(keep * state[1], take, gates[..., 3 * self.units :].tanh())
        return tell * cell.tanh(), cell


class MinGru(Cell):
    """A minimal gated unit (Feng et al., 2024): its gate knows the input alone, so that all steps are one scan."""

    gates = 2

    @classmethod
    def leaves(cls, steps: int) -> int:
        return 4 + 2 * (steps - 1).bit_length()

    def unrolled(self, brought: Tensor, state: State, begun: Tensor) -> State:
        gate, new = brought.chunk(2, -1)
        take = gate.sigmoid()
        keep, add = (1.0 - take).masked_fill(begun, 0.0), take * new
        first = torch.addcmul(add[:1], keep[:1], state[0])
        return (scan(keep, torch.cat([first, add[1:]])),)


def scan(keep: Tensor, add: Tensor) -> Tensor:
    """`h[t] = keep[t] * h[t - 1] + add[t]`, `h[-1] = 0`, in ⌈log₂ T⌉ rounds (Hillis & Steele, 1986)."""
    reach = 1
    while reach < len(add):
        add = torch.cat([add[:reach], torch.addcmul(add[reach:], keep[reach:], add[:-reach])])
        keep = torch.cat([keep[:reach], keep[reach:] * keep[:-reach]])
        reach *= 2
    return add


CELLS: dict[str, type[Cell]] = {"gru": Gru, "lstm": Lstm, "mingru": MinGru}

# -------------------------------------------------------------------------------------------------------- networks


class Remembering(ActorCritic):
    """Hidden layers, a cell after them, and the outputs on what it tells; see `gpusim.agents.parts.recurrent.Recurrent`.

    Args:
        cell: a name in `CELLS`.
        units: of each copy.
        shared: whether actor and critic have one copy of hidden layers and cell, or one each. The layers of images they
            share in any case.
        others: as `ActorCritic`.
    """

    def __init__(self, *args: Any, cell: str, units: int, shared: bool, **kwargs: Any):
        self.kind, self.units, self.copies = CELLS[cell], units, 1 if shared else 2
        super().__init__(*args, **kwargs | {"network": cell})
        self.shape = None

    def make_layers(self, build: Build, sizes: Sequence[int], outputs: int) -> None:
        inputs = sizes[-1]
        self.before = nn.ModuleList(nn.Sequential(*build.hidden(sizes)) for _ in range(self.copies))
        self.cell = self.kind(self.copies, inputs, self.units, build.generator, build.low)
        self.actor = build.mlp([self.units, outputs], 0.01)
        self.critic = build.mlp([self.units, 1], 1.0)

    def initial_state(self, num_envs: int, device: torch.device) -> State:
        """Zeros."""
        return self.cell.empty(num_envs, device)

    def unroll(self, obs: Tensor, state: State, begun: Tensor) -> tuple[Any, Tensor, State]:
        """See `gpusim.agents.parts.recurrent.Recurrent`."""
        features = self.features(obs)
        with self.multiplying(obs.device):
            hidden = self.body(features)
            states = self.cell(torch.stack([layers(hidden) for layers in self.before], 1), state, begun)
            told = states[0]
            distribution, value = self.heads(told[:, :, 0], told[:, :, -1])
        return distribution, value, states

    def forward(self, obs: Tensor) -> Any:
        """Raises InputError: what it makes of an observation depends on those before."""
        raise InputError("a network that remembers is unrolled from a state, not asked for an observation alone.")

    distribution = value = forward


class RememberingQ(Remembering, QNetwork):
    """Action values by what was seen of an episode; the parts of `QNetwork` on one copy of the cell."""

    def trained(self) -> list[nn.Parameter]:
        return [*super().trained(), *self.before.parameters(), *self.cell.parameters()]
