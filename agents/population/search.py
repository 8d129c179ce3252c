"""How a population is chosen from while it learns: by successive halving (Jamieson & Talwalkar, 2016), or by
population-based training (Jaderberg et al., 2017)."""

from typing import NamedTuple

import torch
from torch import Tensor

from gpusim.agents import ppo
from gpusim.agents.population.learner import Population
from gpusim.agents.population.members import drawn_one, explored, made
from gpusim.agents.train.vary import Choice, Span


class Descent(NamedTuple):
    """An agent that went on from what another had learned."""

    steps: int  # of each agent so far
    child: int
    parent: int
    settings: dict[str, float]  # of the child from then on


def rounds_at(iterations: int, rounds: int) -> list[int]:
    """After how many iterations agents are compared: so often, at equal distances, never at the end."""
    return sorted({iterations * k // (rounds + 1) for k in range(1, rounds + 1)} - {0, iterations})


def ranked(returns: Tensor) -> Tensor:
    """The numbers of agents, best first; those without a return are last."""
    return returns.nan_to_num(-torch.inf, torch.inf, -torch.inf).argsort(descending=True, stable=True)


def halved(population: Population, keep: float) -> Tensor:
    """The best share goes on, the others are gone; which these were, `[kept]`, best first."""
    count = max(1, round(len(population) * keep))
    rows = ranked(population.returns())[:count].sort().values
    population.keep(rows)
    return rows


class Evolution:
    """Population-based training: now and then the worst agents go on with what the best have learned, and other settings.

    Args:
        varied: over what each setting may be changed.
        share: of all agents, that are replaced, and as many that are taken from.
        factor: by which a number is multiplied or divided.
        seed: of all that is drawn.
    """

    def __init__(self, varied: dict[str, Span | Choice], share: float, factor: float, seed: int):
        self.varied = {name: what for name, what in varied.items() if name != "seed"}
        self.share, self.factor = share, factor
        self.generator = torch.Generator().manual_seed(seed)
        self.descents: list[Descent] = []

    def round(self, population: Population) -> None:
        """Replaces the worst."""
        size = len(population)
        count = min(max(1, round(size * self.share)), size // 2)
        order = ranked(population.returns())
        best, worst = order[:count], order[size - count :]
        donors = best[torch.randint(count, (count,), generator=self.generator).to(best.device)]
        rows = torch.arange(size, device=order.device).scatter(0, worst, donors)
        members = list(population.members)
        for child, parent in zip(worst.tolist(), donors.tolist(), strict=True):
            members[child], settings = self._explore(members[parent])
            self.descents.append(Descent(population.steps, child, parent, settings))
        population.become(rows, members)

    def _explore(self, parent: ppo.Config) -> tuple[ppo.Config, dict[str, float]]:
        """The parent's settings, each number of those that are varied a bit more or less."""
        settings = {}
        for name, what in self.varied.items():
            up = bool(torch.rand((), generator=self.generator) < 0.5)
            if isinstance(what, Choice):
                settings[name] = drawn_one(what, self.generator)
            else:
                settings[name] = explored(getattr(parent, name), name, self.factor, up, what)
        return made(parent, settings), settings
