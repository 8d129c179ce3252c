"""A peer's environment in a process of its own, which measures when it is asked to; serve.py is the other end."""

import contextlib
import json
import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Venv:
    """The virtual environment that `make peers` makes of NAME.txt."""

    name: str

    @property
    def requirements(self) -> Path:
        return FOLDER / f"{self.name}.txt"

    @property
    def folder(self) -> Path:
        return FOLDER / f".venv-{self.name}"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def missing(self) -> str | None:
        """Why it cannot be used here, in words; None where it can."""
        if (self.folder / "done").exists():
            return None
        failed = self.folder / "failed"
        if failed.exists():
            return f"does not install here: {failed.read_text().strip()}"
        return "not installed here; `make peers` installs it"


@dataclass(frozen=True)
class Peer:
    """What of a peer is measured, and how its work differs from ours."""

    name: str
    venv: Venv
    driver: str  # a file of this folder
    runs: str  # how, in a word or two
    envs: Mapping[str, str]  # our id: its own
    modes: tuple[str, ...]
    differs: str  # one sentence
    most_envs: int | None = None  # a Python loop goes no faster with more, and takes long to make

    def at(self, num_envs: int) -> int:
        """The number of environments that stands for `num_envs`."""
        return min(num_envs, self.most_envs or num_envs)

    def start(self, env: str, num_envs: int, steps: int, mode: str, seconds: float) -> "Running":
        """The process, compiled and warm. `env` is our id; rounds take about `seconds` [s].

        Raises:
            RuntimeError: it is not installed, or ended before it was ready; the message ends with what it said.
        """
        if missing := self.venv.missing():
            raise RuntimeError(missing)
        own = (self.envs[env], self.at(num_envs), steps, mode, seconds)
        return Running(self.name, [str(self.venv.python), str(FOLDER / self.driver), *map(str, own)], self.at(num_envs))


@dataclass(frozen=True)
class Learner:
    """A peer that learns CartPole, or Pendulum, until it is solved: DRIVER ALGORITHM SEED TARGET prints one line of JSON,
    with `solved`, `time` (when, by the clock), `training` [s], `steps`, `score` (in Gymnasium's environment), `versions`,
    and, where it can be told apart, `compile` [s]."""

    name: str
    venv: Venv
    driver: str
    algorithms: tuple[str, ...]
    differs: str  # one sentence
    checkout: str | None = None  # the environment variable that tells where the user has put a copy of it
    repository: str | None = None

    def missing(self) -> str | None:
        """Why it cannot be measured here, in words; None where it can."""
        if self.checkout and not os.environ.get(self.checkout):
            return f"needs a checkout of {self.repository}; set {self.checkout} to its folder"
        return self.venv.missing()

    def command(self, algorithm: str, seed: int, target: float) -> list[str]:
        return [str(self.venv.python), str(FOLDER / self.driver), algorithm, str(seed), str(target)]


class Running:
    """A driver that waits for the next round.

    Attributes:
        first_s: its first call, compilation included [s].
        versions: of its packages, and what else it tells of itself.
        num_envs: how many environments it steps.

    Raises:
        RuntimeError: it ended, or printed what is no answer; the message ends with what it said.
    """

    def __init__(self, name: str, command: list[str], num_envs: int, environ: Mapping[str, str] | None = None):
        self.name, self.num_envs = name, num_envs
        self.said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115, a pipe that nobody reads would fill up
        self.words = ""  # the last that it said, once it has ended
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.said, text=True, env=environ)
        ready = self._answer(lambda a: isinstance(a, dict) and {"first_s", "versions"} <= a.keys())
        self.first_s: float = ready["first_s"]
        self.versions: dict[str, str] = ready["versions"]

    def measure(self) -> float:
        """Environment steps per second of one round."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended: what it said is told below
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        return self._answer(lambda a: isinstance(a, float) and 0 < a < math.inf)

    def _answer(self, good: Callable[[Any], bool]) -> Any:
        assert self.process.stdout
        line = "" if self.process.stdout.closed else self.process.stdout.readline()
        with contextlib.suppress(json.JSONDecodeError):
            if good(answer := json.loads(line)):
                return answer
        if line:
            self.process.kill()
        self.close()
        problem = f"printed {line.strip()[:80]!r}, which is no answer" if line else "ended"
        raise RuntimeError(f"{self.name} {problem}: {self.words or 'without a word'}")

    def close(self) -> None:
        """Lets the process end, and waits for it."""
        self.process.communicate()
        if not self.said.closed:
            self.said.seek(0)
            self.words = self.said.read().strip()[-500:]
            self.said.close()
