"""A population's folder, and any agent of it as the folder of an ordinary run."""

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from gpusim.agents import ppo
from gpusim.agents.folder.files import write
from gpusim.agents.folder.strict_json import dumps
from gpusim.agents.population.learner import Population
from gpusim.agents.train.evaluate import closing
from gpusim.agents.train.run import RunFolder, make_learner
from gpusim.errors import InputError
from gpusim.tree import plain

CONTENT, TABLE, STATE, AGENTS = "population.json", "agents.csv", "population.pt", "agents"


def states(population: Population) -> Iterator[dict[str, Any]]:
    """What the checkpoint of a run of each has, see `gpusim.agents.train.learner.Learner.state`."""
    scale = population.reward_scale
    for p, env in enumerate(population.env_states()):
        yield {
            "iteration": population.iteration,
            "env": plain(env),
            "generator": population.orders.generators[p].get_state(),
            "network": population.network.state(p),
            "optimizer": population.adam.state(p),
            "window": population.window.state(p),
        } | ({"reward_scale": scale.state(p)} if scale else {})


class PopulationFolder:
    """`population.json` has what was asked for, `agents.csv` a line for each, `population.pt` the state of those that are
    left; there are pictures, and below `agents` those that are runs of their own."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, path: Path, content: dict[str, Any]) -> "PopulationFolder":
        """Raises InputError where it cannot be made, or something is there already."""
        try:
            path.mkdir(parents=True)
            write(path / CONTENT, dumps(content, indent=2) + "\n")
        except FileExistsError:
            raise InputError(f"{path} exists already; choose another --run-dir.") from None
        except OSError as error:
            raise InputError(f"the folder {path} of a population cannot be made: {error.strerror}.") from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "PopulationFolder":
        """Raises InputError where it is none."""
        if not (path / CONTENT).is_file():
            raise InputError(f"{path} is not the folder of a population: it has no {CONTENT}.")
        return cls(path)

    def keep(self, population: Population, numbers: Sequence[int], readings: dict[int, list[dict[str, float]]]) -> None:
        """Keeps what any agent can be made a run of later."""
        each = zip(numbers, population.members, states(population), strict=True)
        agents = {
            str(number): {"config": dataclasses.asdict(member), "state": state, "readings": readings[number]}
            for number, member, state in each
        }
        content = io.BytesIO()
        torch.save(agents, content)
        self._write(STATE, content.getvalue())

    def table(self, rows: list[dict[str, Any]]) -> None:
        """A line for each agent."""
        text = io.StringIO()
        lines = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        lines.writeheader()
        lines.writerows(rows)
        self._write(TABLE, text.getvalue())

    def _write(self, name: str, content: str | bytes) -> None:
        try:
            write(self.path / name, content)
        except OSError as error:
            raise InputError(f"{self.path / name} cannot be written: {error.strerror}.") from None

    def save(self, number: int) -> Path:
        """Makes an agent the folder of a run, which `eval`, `resume` and `plot` know; where it is.

        Raises:
            InputError: there is no such agent, or it is a run already.
        """
        agents = self._agents()
        if str(number) not in agents:
            raise InputError(f"{self.path} has no agent {number} to save: those that are left are listed in {TABLE}.")
        agent = agents[str(number)]
        config = ppo.Config(**agent["config"])
        learner = make_learner("ppo", config)
        path = self.path / AGENTS / f"{number:04d}"
        folder = RunFolder.create(path, "ppo", config, learner)
        with folder.locked():
            learner.load(agent["state"])
            for reading in agent["readings"]:
                folder.readings.append(reading)
            seconds = agent["readings"][-1]["seconds"]
            folder.checkpoint(learner, agent["readings"], seconds)
            ended = learner.iteration >= config.iterations
            folder.close(closing(learner) | {"steps": learner.steps, "seconds": seconds} if ended else None)
        return path

    def _agents(self) -> dict[str, Any]:
        try:
            return torch.load(self.path / STATE, weights_only=True, map_location="cpu")
        except FileNotFoundError:
            raise InputError(f"{self.path} is incomplete: it has no {STATE}.") from None
        except Exception:
            raise InputError(f"{self.path / STATE} is damaged.") from None
