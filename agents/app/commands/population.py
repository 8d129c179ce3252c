"""`gpusim population`: many agents at once, in one process."""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpusim import source
from gpusim.agents.app import arguments
from gpusim.agents.train import console
from gpusim.errors import InputError

if TYPE_CHECKING:
    from gpusim.agents.population.saving import PopulationFolder
    from gpusim.agents.population.training import Outcome, Search

EVERY = 2.0  # seconds between two lines


@dataclasses.dataclass(frozen=True)
class Saving:
    """Makes agents of a population that was trained folders of runs, which eval, resume and plot know."""

    agent: tuple[int, ...] = ()
    """Their numbers, as agents.csv has them."""


def main(args: list[str]) -> int:
    if args and not args[0].startswith("-") and (len(args) == 1 or args[1].startswith("-")):
        return _save(args[0], args[1:])
    if len(args) < 2 or args[0].startswith("-"):
        if not {"-h", "--help"} & set(args):
            arguments.refuse(
                "population needs ppo and an environment: gpusim population ppo CartPole-v1 --learning-rate log:1e-4..1e-2"
            )
        args = ["ppo", "CartPole-v1", "--help"]
    algorithm, env = args[:2]
    if algorithm != "ppo":
        arguments.refuse(f"a population is of ppo's agents, not of {algorithm}'s.")
    return _train(env, args[2:])


def _train(env: str, args: list[str]) -> int:
    from gpusim import checks
    from gpusim.agents.population import memory, training
    from gpusim.agents.population.saving import PopulationFolder
    from gpusim.agents.train.environments import describe

    fixed, texts = split(args)
    config, search = _settings(env, fixed)
    varied = _varied(texts, config)
    training.check(config, search, varied)
    count = len(training.members_of(config, search, varied))
    device = checks.device(config.device)
    console.say(f"memory of {count:,} agents: {memory.describe(config, describe(config.env), count, device)}")
    name = f"runs/population-ppo-{source.name(env).replace('/', '-')}-s{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = PopulationFolder.create(Path(config.run_dir or name), training.common(config, search, texts))
    console.say(f"{env}: {count:,} agents of {config.num_envs} environments on {device}; folder {folder.path}")
    outcome = training.train(config, search, varied, Lines(config.total_steps))
    return _finish(folder, outcome, search, varied)


def split(args: list[str]) -> tuple[list[str], dict[str, str]]:
    """The words that all agents have in common, and by setting what differs: flags of one word that is a span or a list."""
    from gpusim.agents.train.vary import SPAN

    fixed, texts, i = list[str](), dict[str, str](), 0
    while i < len(args):
        flag, equals, value = args[i].partition("=")
        given = bool(equals) or (i + 1 < len(args) and args[i].startswith("--"))
        value = value if equals else args[i + 1] if given else ""
        if flag.startswith("--") and given and (SPAN.fullmatch(value) or "," in value):
            texts[arguments.field(flag)] = value
            i += 1 if equals else 2
        else:
            fixed.append(args[i])
            i += 1
    return fixed, texts


def _settings(env: str, fixed: list[str]) -> tuple[Any, "Search"]:
    """What all agents have in common, and how they are chosen."""
    from gpusim.agents import ppo
    from gpusim.agents.population.training import Search
    from gpusim.agents.train import presets
    from gpusim.agents.train.environments import describe
    from gpusim.agents.train.run import preset

    known = describe(env).id
    default = preset("ppo", env, **presets.settings("ppo", known, {"preset": "population"}))
    both = dataclasses.make_dataclass("Population", [], bases=(Search, ppo.Config), frozen=True, kw_only=True)
    both.__doc__ = (
        "Many PPO agents at once. A setting that is a span, a..b or log:a..b, or a list, a,b,c, differs among them."
    )
    values = {f.name: getattr(default, f.name) for f in dataclasses.fields(ppo.Config)}
    asked = arguments.options(both(**values), fixed, f"gpusim population ppo {shlex.quote(env)}", hidden=("env",))
    arguments.named(asked, "run_dir")
    config = ppo.Config(**{f.name: getattr(asked, f.name) for f in dataclasses.fields(ppo.Config)})
    return config, Search(**{f.name: getattr(asked, f.name) for f in dataclasses.fields(Search)})


def _varied(texts: dict[str, str], config: Any) -> dict[str, Any]:
    from gpusim.agents.population.members import check_varied
    from gpusim.agents.train.vary import read

    check_varied(list(texts), config)
    return {name: read(f"--{name.replace('_', '-')}", text) for name, text in texts.items()}


class Lines:
    """A line now and then of how the agents do."""

    def __init__(self, total: int):
        self.total, self.begun, self.said = total, time.perf_counter(), 0.0

    def __call__(self, reading: dict[str, Any], population: Any) -> None:
        now = time.perf_counter()
        if now - self.said < EVERY and reading["steps"] < self.total:
            return
        self.said, found = now, reading["return"][np.isfinite(reading["return"])]
        left = (now - self.begun) * (self.total / reading["steps"] - 1)
        text = f"median {np.median(found):8.2f}  best {found.max():8.2f}" if len(found) else "no episode has ended yet"
        speed = len(population) * reading["steps"] / (now - self.begun)
        console.say(
            f"{reading['steps']:>11,} / {self.total:,} steps of each  {len(population):,} agents  {text}  "
            f"{speed:,.0f} steps/s  {max(0, left):,.0f} s left"
        )


def _finish(folder: "PopulationFolder", outcome: "Outcome", search: "Search", varied: dict[str, Any]) -> int:
    """Writes it down, draws it, and saves the best."""
    from gpusim.agents.population import training

    record = outcome.record
    if not record.readings:
        console.say("stopped before anything was learned")
        return 128 + outcome.signal
    rows = training.table(outcome, list(varied))
    numbers = [int(number) for number in record.numbers]
    folder.table(rows)
    folder.keep(outcome.population, numbers, {number: record.of(number) for number in numbers})
    for name in _draw(folder.path, outcome, varied):
        console.say(f"drawn: {folder.path / name}")
    lost = sum(row["return"] == "" for row in rows)
    if lost:
        why = "no episode of theirs ended, or their weights are no numbers"
        console.warn(f"{lost:,} of {len(rows):,} agents have no return: {why}.")
    best = [row for row in rows if row["left"] and row["return"] != ""][: search.save]
    for row in best:
        settings = "  ".join(f"{name} {row[name]:.4g}" for name in ("seed", *(n for n in varied if n != "seed")))
        console.say(f"agent {row['agent']:4}  return {row['return']:.2f}  {settings}  {folder.save(row['agent'])}")
    console.say(f"all of them: {folder.path}/agents.csv; gpusim population {folder.path} --agent N saves any other")
    if outcome.signal:
        console.say(f"stopped after {outcome.population.steps:,} steps of each; a saved agent goes on by gpusim resume")
        return 128 + outcome.signal
    return 0


def _draw(path: Path, outcome: "Outcome", varied: dict[str, Any]) -> list[str]:
    """The pictures that there are; one that cannot be drawn is told, and the others are."""
    from gpusim.agents.folder.drawing import save
    from gpusim.agents.population import pictures

    record, population, drawn = outcome.record, outcome.population, []
    names = [name for name in varied if name != "seed"]
    task = population.task
    makers = {"returns.png": lambda: pictures.returns(record, task.id, task.reward_threshold)}
    if names:
        makers["settings.png"] = lambda: pictures.settings(record, outcome.members, varied, task.id)
    if outcome.descents:
        log = getattr(varied[names[0]], "log", False)
        makers["genealogy.png"] = lambda: pictures.genealogy(record, outcome.descents, names[0], log, task.id)
    for name, make in makers.items():
        try:
            save(make(), path / name)
            drawn.append(name)
        except InputError as error:
            console.warn(str(error))
    return drawn


def _save(path: str, args: list[str]) -> int:
    from gpusim.agents.population.saving import PopulationFolder

    asked = arguments.options(Saving(), args, f"gpusim population {shlex.quote(path)}")
    folder = PopulationFolder.open(Path(path))
    if not asked.agent:
        arguments.refuse(
            f"which agents are to be saved? gpusim population {path} --agent 17 42; agents.csv lists them."
        )
    for number in asked.agent:
        console.say(f"agent {number}: {folder.save(number)}")
    return 0
