"""The peers that are measured beside gpusim, found by looking through this folder.

A driver says at its top what it measures, as `PEERS = [{...}]` (fields of `process.Peer`) or `LEARNERS = [{...}]` (of
`process.Learner`), in literals: its text is read, as it is imported only in the virtual environment of the peer, NAME of
NAME_rollout.py unless `venv` says another. Keys of `envs` are patterns for ids of ours in which `*` stands for no slash;
values are the peer's own names, of `{id}`, and of MinAtar/SpaceInvaders-v1 `{name}` SpaceInvaders and `{snake}`
space_invaders. Of two entries in a driver the first that matches an environment has it.
"""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import gpusim
from gpusim.registry import bare
from peers.process import FOLDER, Learner, Peer, Venv


def said(name: str, folder: Path = FOLDER) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What each driver there says under `name`, and the driver's file name."""
    for file in sorted(folder.glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
                yield file.name, ast.literal_eval(node.value)


def peers(folder: Path = FOLDER) -> list[Peer]:
    """Those whose environments step."""
    found = []
    for driver, entries in said("PEERS", folder):
        left = gpusim.env_ids()
        for entry in entries:
            envs = {id: own for id in left if (own := name_of(id, entry["envs"])) is not None}
            left = [id for id in left if id not in envs]
            found.append(Peer(**entry | {"venv": _venv(driver, entry), "driver": driver, "envs": envs}))
    return found


def learners(folder: Path = FOLDER) -> list[Learner]:
    """Those that learn."""
    each = [(driver, entry) for driver, entries in said("LEARNERS", folder) for entry in entries]
    return [Learner(**entry | {"venv": _venv(driver, entry), "driver": driver}) for driver, entry in each]


def name_of(id: str, forms: dict[str, str]) -> str | None:
    """What a peer calls our environment of that id; None where it has none."""
    name = bare(id)
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    for pattern, form in forms.items():
        if id.count("/") == pattern.count("/") and fnmatchcase(id, pattern):
            return form.format(id=id, name=name, snake=snake)
    return None


def beside(env: str, mode: str | None = None) -> list[Peer]:
    """The peers that have this environment of ours, and this mode."""
    return [p for p in peers() if env in p.envs and (mode is None or mode in p.modes)]


def _venv(driver: str, entry: dict[str, Any]) -> Venv:
    return Venv(entry.get("venv") or driver.rpartition("_")[0])
