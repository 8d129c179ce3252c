"""A population from its settings to its end: it learns, is chosen from, and is written down."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gpusim import checks
from gpusim.agents import ppo
from gpusim.agents.parts.gated import CELLS
from gpusim.agents.population import memory
from gpusim.agents.population.learner import Population
from gpusim.agents.population.members import check_varied, drawn, ends, grid, made
from gpusim.agents.population.record import Record
from gpusim.agents.population.search import Descent, Evolution, halved, rounds_at
from gpusim.agents.train.environments import describe
from gpusim.agents.train.ranges import Count, Natural, OneOf, Range, check_fields
from gpusim.agents.train.signals import Interrupts, handled
from gpusim.agents.train.vary import Choice, Span
from gpusim.env import Env
from gpusim.errors import InputError

SEARCHES = ("random", "grid", "halving", "pbt")
AGENTS = 256  # where nothing is said


@dataclass(frozen=True, kw_only=True)
class Search:
    """How many agents there are, and how they are chosen."""

    agents: Count | None = None
    """How many; None: 256, or those of one grid."""
    search: Annotated[str, OneOf(SEARCHES)] = "random"
    """random: each agent's settings are drawn. grid: all combinations. halving: as random, and `rounds` times a share of the
    worst is given up. pbt (population-based training): as random, and `rounds` times the worst go on with what the best have
    learned, by settings near to theirs."""
    rounds: Count = 4
    """How often agents are compared, at equal distances."""
    share: Annotated[float, Range(0.0, 0.5, above=True)] = 0.5
    """Of the agents, that are given up in a round of halving; half of it is what pbt replaces."""
    factor: Annotated[float, Range(1.0, 100.0, above=True)] = 1.25
    """By which pbt multiplies or divides settings."""
    save: Natural = 1
    """The best so many become folders of runs at the end; any other later by --agent."""


class Outcome(NamedTuple):
    """What training a population gives back."""

    population: Population
    record: Record
    members: list[ppo.Config]  # of all that there were, as each was last
    descents: list[Descent]
    signal: int = 0  # number of the one that interrupted


def check(config: ppo.Config, search: Search, varied: dict[str, Span | Choice]) -> None:
    """Raises InputError where no population can be made of these."""
    check_fields(search)
    check_varied(list(varied), config)
    config.check()
    task = describe(config.env)
    if not isinstance(task, Env):
        raise InputError(f"a population is of gpusim's own environments, which {config.env} is not.")
    if config.network in CELLS:
        raise InputError(f"agents of a population remember nothing, as {config.network} does: leave network as it is.")
    if config.target_kl is not None:
        raise InputError("target_kl ends the updates of one agent, which a population makes at once: leave it out.")
    if config.precision in ("bf16", "fp16"):
        raise InputError(f"a population multiplies in float32, not in {config.precision}: leave precision as it is.")
    if config.accumulate > 1:
        raise InputError("a population makes its gradients at once: leave accumulate at 1, and take fewer agents.")
    if config.backend not in ("auto", "eager", "compile"):
        raise InputError(f'a population steps by backend "eager" or "compile", not "{config.backend}".')
    for name, what in varied.items():  # what can never be used is said before anything is drawn
        for value in ends(what):
            made(config, {name: value}).check()
    if search.search == "pbt" and not set(varied) - {"seed"}:
        raise InputError("pbt explores settings: vary one, as in --learning-rate log:1e-4..1e-2")
    if search.search == "pbt" and (search.agents or AGENTS) < 2:
        raise InputError("pbt needs two agents at least.")


def members_of(config: ppo.Config, search: Search, varied: dict[str, Span | Choice]) -> list[ppo.Config]:
    """The settings of each agent.

    Raises:
        InputError: a value is out of range, or they are too many for the memory there is.
    """
    task, device = describe(config.env), checks.device(config.device)
    if search.search == "grid":
        found = grid(config, varied, search.agents)
        memory.require(config, task, len(found), device)
        return found
    memory.require(config, task, search.agents or AGENTS, device)
    return drawn(config, varied, search.agents or AGENTS)


def train(
    config: ppo.Config,
    search: Search,
    varied: dict[str, Span | Choice],
    tell: Callable[[dict[str, Any], Population], None] = lambda reading, population: None,
) -> Outcome:
    """Trains a population to its end, or until it is interrupted.

    Args:
        config: the settings that agents have in common.
        varied: over what others differ.
        tell: is told of every reading.

    Raises:
        InputError: a setting cannot be used.
    """
    check(config, search, varied)
    members = members_of(config, search, varied)
    population = Population(config, members)
    own = [name for name in varied if name != "seed"]
    record, everyone = Record(population, own), list(population.members)
    evolution = Evolution(varied, search.share / 2, search.factor, checks.later_seed(config.seed, 5))
    choosing = search.search in ("halving", "pbt")
    due = rounds_at(config.iterations, search.rounds) if choosing else []
    interrupts, metrics = Interrupts(), dict[str, Tensor]()
    with handled(interrupts):
        while population.iteration < config.iterations and not interrupts.number:
            metrics = population.iterate()
            interrupts.patient = True
            if population.iteration in due or population.iteration % config.log_every == 0:
                tell(record.add(population, metrics), population)
            if population.iteration in due:
                if search.search == "pbt":
                    evolution.round(population)
                else:
                    record.keep(halved(population, 1.0 - search.share))
                for number, member in zip(record.numbers, population.members, strict=True):
                    everyone[number] = member
        if record.iteration < population.iteration:
            tell(record.add(population, metrics), population)
    return Outcome(population, record, everyone, evolution.descents, interrupts.number)


def table(outcome: Outcome, varied: Sequence[str]) -> list[dict[str, Any]]:
    """A line for each agent there was, the best first."""
    record, rows = outcome.record, []
    _, returns = record.series("return")
    parents = {descent.child: descent.parent for descent in outcome.descents}
    for number, member in enumerate(outcome.members):
        own = returns[:, number]
        finite = own[np.isfinite(own)]
        settings = {name: getattr(member, name) for name in varied if name != "seed"}
        row = {"agent": number, "return": float(finite[-1]) if len(finite) else "", "seed": member.seed, **settings}
        left = number in record.numbers
        rows.append(row | {"iterations": int(record.last[number]), "left": left, "parent": parents.get(number, "")})
    return sorted(rows, key=lambda row: (not row["left"], -row["return"] if row["return"] != "" else np.inf))


def common(config: ppo.Config, search: Search, varied: dict[str, str]) -> dict[str, Any]:
    """What a population's folder says of it."""
    return {
        "algorithm": "ppo", "config": dataclasses.asdict(config), "search": dataclasses.asdict(search), "varied": varied,
        "torch": torch.__version__,
    }  # fmt: skip
