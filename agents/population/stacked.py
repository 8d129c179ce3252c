"""Modules of one form side by side: their tensors are `[P, ...]`, and each call of theirs is one for all."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class _Call(nn.Module):
    """A method of a module as its forward, which is all that `functional_call` calls."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, method: str, *args: Any) -> Any:
        return attrgetter(method)(self.module)(*args)


class Stacked:
    """P modules.

    Args:
        modules: each like the first, but for the values of its tensors.
        device: where the tensors go, all at once.
    """

    def __init__(self, modules: Sequence[nn.Module], device: torch.device):
        self.call = _Call(modules[0])
        states = [module.state_dict(keep_vars=True) for module in modules]
        names = list(states[0])
        self.tensors = {name: torch.stack([state[name].detach() for state in states]).to(device) for name in names}

    def __call__(self, method: str, *args: Tensor, tensors: dict[str, Tensor] | None = None) -> Any:
        """What `module.method(*args)` gives for each, its arguments and what is returned `[P, ...]`.

        Args:
            method: a part's too, as in "part.method".
            tensors: in the place of those of the same name.
        """

        def one(own: dict[str, Tensor], *args: Tensor) -> Any:
            found = functional_call(self.call, {f"module.{name}": x for name, x in own.items()}, (method, *args))
            return () if found is None else found

        return vmap(one)(self.tensors | (tensors or {}), *args)

    def state(self, p: int) -> dict[str, Tensor]:
        """The `state_dict` of number `p`."""
        return {name: x[p].clone() for name, x in self.tensors.items()}

    def take(self, rows: Tensor, but: tuple[str, ...] = ()) -> None:
        """Number i becomes what number `rows[i]` is, but for some tensors."""
        for name in self.tensors.keys() - set(but):
            self.tensors[name] = self.tensors[name][rows]


class StackedNetwork(Stacked):
    """Networks, whose parameters lie in one tensor `flat` `[P, n]`, a row as the optimizer of each would have it."""

    def __init__(self, networks: Sequence[Any], device: torch.device):
        super().__init__(networks, device)
        parameters = dict(networks[0].named_parameters())
        assert [id(x) for x in parameters.values()] == [id(x) for x in networks[0].trained()]
        self.shapes = {name: x.shape for name, x in parameters.items()}
        self.flat = torch.cat([self.tensors.pop(name).flatten(1) for name in self.shapes], 1)

    def parameters(self, flat: Tensor) -> dict[str, Tensor]:
        """By name, as views."""
        parts = flat.split([shape.numel() for shape in self.shapes.values()], 1)
        return {
            name: x.unflatten(1, shape or (1,)) for (name, shape), x in zip(self.shapes.items(), parts, strict=True)
        }

    def ask(self, method: str, *args: Tensor, flat: Tensor | None = None) -> Any:
        """As `Stacked` is called; `flat`: of these parameters."""
        return self(method, *args, tensors=self.parameters(self.flat if flat is None else flat))

    def state(self, p: int) -> dict[str, Tensor]:
        return super().state(p) | {name: x[p].clone() for name, x in self.parameters(self.flat).items()}

    def take(self, rows: Tensor, but: tuple[str, ...] = ()) -> None:
        super().take(rows, but)
        self.flat = self.flat[rows]
