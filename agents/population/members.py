"""What the agents of a population have each for themselves: a seed, and those settings that may differ between them."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gpusim.agents import ppo
from gpusim.agents.train.vary import Choice, Span
from gpusim.checks import later_seed
from gpusim.errors import InputError

OWN = ("learning_rate", "gamma", "lam", "clip", "value_coef", "entropy_coef", "max_grad_norm", "initial_log_std")
"""Settings that each agent may have another value of; `seed` is one too."""
SHARES = ("gamma", "lam")  # near 1, where 1 − x is what counts


def check_varied(names: Sequence[str], config: ppo.Config) -> None:
    """Raises InputError where a setting is to differ that agents have in common."""
    for name in names:
        if name not in {field.name for field in dataclasses.fields(config)}:
            raise InputError(f"ppo has no setting {name!r} that could differ between agents.")
        if name not in (*OWN, "seed"):
            raise InputError(
                f"{name} cannot differ between the agents of a population, whose products are made at once; these can: "
                f"seed, {', '.join(OWN)}."
            )


def drawn(config: ppo.Config, varied: dict[str, Span | Choice], agents: int) -> list[ppo.Config]:
    """Settings of so many agents, each value of its own drawn at random; seeds are those from `config.seed` on.

    The draws are a function of the seed alone.
    """
    generator = torch.Generator().manual_seed(later_seed(config.seed, 4))
    values = {name: _draws(what, agents, generator) for name, what in varied.items() if name != "seed"}
    values["seed"] = _seeds(config, varied.get("seed"), agents)
    return [made(config, {name: each[p] for name, each in values.items()}) for p in range(agents)]


def grid(config: ppo.Config, varied: dict[str, Span | Choice], agents: int | None) -> list[ppo.Config]:
    """Settings of every combination of values, again and again by other seeds where there are more agents than those.

    Raises:
        InputError: a setting has no list of values, or the agents are no whole number of grids.
    """
    if not varied:
        raise InputError("a grid is of settings with several values each: --learning-rate 1e-3,3e-3 --gamma 0.98,0.99")
    lists = {name: _values(name, what) for name, what in varied.items()}
    combinations = [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    size = len(combinations)
    count = size if agents is None else agents
    if count % size:
        raise InputError(
            f"{count} agents are no whole number of grids of {size}: say --agents {-(-count // size) * size}."
        )
    if "seed" in lists and count > size:
        raise InputError(f"a grid over seeds has {size} agents, not {count}: leave --agents out.")
    seeds = [{} if "seed" in lists else {"seed": later_seed(config.seed, time)} for time in range(count // size)]
    return [made(config, combination | seed) for seed in seeds for combination in combinations]


def made(config: ppo.Config, values: dict[str, Any]) -> ppo.Config:
    """`config` with other values.

    Raises:
        InputError: one of them is out of range.
    """
    return dataclasses.replace(config, **values)


def column(members: Sequence[ppo.Config], name: str, device: torch.device) -> Tensor:
    """`[P]` float32."""
    return torch.tensor([getattr(member, name) for member in members], dtype=torch.float32, device=device)


def explored(value: float, name: str, factor: float, up: bool, within: Span) -> float:
    """A value multiplied or divided by a factor, and kept in its span; of those near 1, what they lack to it."""
    change = factor if up else 1.0 / factor
    new = 1.0 - (1.0 - value) * change if name in SHARES else value * change
    return min(float(within.high), max(float(within.low), new))


def drawn_one(what: Span | Choice, generator: torch.Generator) -> Any:
    """A value at random."""
    return _draws(what, 1, generator)[0]


def _draws(what: Span | Choice, count: int, generator: torch.Generator) -> list[Any]:
    u = torch.rand(count, dtype=torch.float64, generator=generator).tolist()
    if isinstance(what, Choice):
        return [_number(what.values[int(x * len(what.values))]) for x in u]
    if what.log:
        low, high = math.log(what.low), math.log(what.high)
        found = [math.exp(low + x * (high - low)) for x in u]
    elif what.whole:
        found = [what.low + int(x * (what.high - what.low + 1)) for x in u]
    else:
        found = [what.low + x * (what.high - what.low) for x in u]
    return found


def ends(what: Span | Choice) -> list[Any]:
    """The values between which all others are; of a list, all."""
    return [what.low, what.high] if isinstance(what, Span) else [_number(value) for value in what.values]


def _values(name: str, what: Span | Choice) -> list[Any]:
    if isinstance(what, Choice):
        return [_number(value) for value in what.values]
    if not what.whole or what.log:
        raise InputError(f"a grid needs several values of {name}, as a,b,c: a span has no end of them.")
    return list(range(int(what.low), int(what.high) + 1))


def _seeds(config: ppo.Config, what: Span | Choice | None, agents: int) -> list[int]:
    seeds = [later_seed(config.seed, p) for p in range(agents)] if what is None else _values("seed", what)
    return list(itertools.islice(itertools.cycle(seeds), agents))


def _number(text: str) -> Any:
    """What a word means as a number; the word itself where it is none, which the configuration refuses."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
