"""A run is a folder: config.json, metrics.jsonl, TensorBoard events, checkpoints, sessions.jsonl, curve.png, result.json."""

import dataclasses
import itertools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from gpusim import source
from gpusim.agents.folder import code, drawing, sessions
from gpusim.agents.folder.checkpoints import Checkpoint, Checkpoints, Damaged
from gpusim.agents.folder.events import Events, tag
from gpusim.agents.folder.files import read_json, write
from gpusim.agents.folder.lock import Held, locked, look
from gpusim.agents.folder.metrics import Metrics
from gpusim.agents.folder.strict_json import dumps
from gpusim.agents.train import environments, session
from gpusim.agents.train.config import RunConfig, build
from gpusim.agents.train.console import warn
from gpusim.agents.train.discovery import learner_class, module
from gpusim.agents.train.environments import Given, Task
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.loop import Observer
from gpusim.agents.train.monitor import Monitor
from gpusim.errors import InputError, NotFinite, told
from gpusim.registry import joined
from gpusim.version import __version__

Made = TypeVar("Made")
FORMAT = 1  # of the folder; raised when an older one can no longer be read
LOCK = "run.lock"
LOG = "log.txt"  # what a run in the background says
STOPPED = "not_finite.json"
PLACE = ("quantity", "environment", "episode", "step", "seed", "iteration")
UNBORN = {LOCK, "checkpoints", code.FOLDER, "config.json.part"}  # left of a run that was killed before its config.json


def preset(algorithm: str, env: str, **changes: Any) -> Any:
    """The configuration for that algorithm on that environment at that `num_envs`, with `changes`, which always win.

    Raises:
        InputError: there is no such algorithm, environment or field.
    """
    name = environments.describe(env).id
    values = {"env": source.renamed(env, name), **changes}
    return build(module(algorithm).Config, values, f"the preset of {algorithm} for {name}")


def make_learner(algorithm: str, config: RunConfig, env: Given | None = None) -> Learner:
    """A new learner, of the environments that `config` names, or of `env`; see `Learner`."""
    return learner_class(algorithm)(config, env)


class RunFolder(Observer):
    """The folder of one run; told of every reading and checkpoint by `gpusim.agents.train.loop.run`.

    What cannot be written while a run goes on is said once, remembered in `lost`, and does not end the run.
    """

    def __init__(self, path: Path, algorithm: str, config: RunConfig):
        self.path, self.algorithm, self.config = path, algorithm, config
        self.threshold: float | None = None  # mean return at which the task counts as solved
        self.code: Any = None  # where the code is that `config` names
        self.handed: str | None = None  # the part of the run's environments that no id names, in words
        self.tables: dict[str, str] | None = None  # what the tables hold that it learns on
        self.checkpoints, self.readings = Checkpoints(path / "checkpoints"), Metrics(path / "metrics.jsonl")
        self.lost: dict[str, str] = {}  # what is not written, and why
        self._events: Events | None = None
        self._tensorboard = True
        self._monitor: Monitor | None = None

    @classmethod
    def create(cls, path: str | Path, algorithm: str, config: RunConfig, learner: Learner | None = None) -> "RunFolder":
        """A new folder.

        Args:
            learner: that of the run, where its environments may be such as `config` does not name.

        Raises:
            InputError: something is there already, or it cannot be made.
        """
        path = Path(path)
        check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with locked(path / LOCK, f"the run folder {path}", warn):
                check_free(path)  # of two who make it at the same time, one is the second here
                return cls._fill(path, algorithm, config, learner)
        except OSError as error:
            raise InputError(f"the run folder {path} cannot be made: {error.strerror}.") from None

    @classmethod
    def create_new(cls, algorithm: str, config: RunConfig) -> "RunFolder":
        """A folder below `runs`, named after algorithm, environment, seed and time, and by a number if that is taken.

        Raises:
            InputError: it cannot be made.
        """
        env, stamp = source.name(config.env).replace("/", "-"), time.strftime("%Y%m%d-%H%M%S")
        name = f"runs/{algorithm}-{env}-s{config.seed}-{stamp}"
        try:
            for number in itertools.count(1):
                path = Path(name if number == 1 else f"{name}-{number}")
                try:
                    path.mkdir(parents=True)
                except FileExistsError:
                    if not path.is_dir():
                        raise
                    continue
                return cls._fill(path, algorithm, config)
        except OSError as error:
            raise InputError(f"the run folder {name} cannot be made: {error.strerror}.") from None
        raise AssertionError

    @classmethod
    def _fill(cls, path: Path, algorithm: str, config: RunConfig, learner: Learner | None = None) -> "RunFolder":
        (path / "checkpoints").mkdir(exist_ok=True)
        task = learner.task if learner else environments.describe(config.env)
        folder = cls(path, algorithm, dataclasses.replace(config, env=environments.name_of(config.env)))
        folder.handed = learner.handed if learner else None
        folder.tables = environments.tables(learner.env if learner else environments.describe(config.env))
        folder.code, copies = code.record(folder.config)
        folder.threshold = None if task.reward_threshold is None else float(task.reward_threshold)
        for name, copy in copies.items():
            (path / code.FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
            write(path / code.FOLDER / name, copy)
        folder.write_config()
        return folder

    def write_config(self) -> None:
        """Raises OSError where it cannot be written."""
        content = {
            "format": FORMAT,
            "gpusim": __version__,
            "algorithm": self.algorithm,
            "config": dataclasses.asdict(self.config),
            "reward_threshold": self.threshold,
            "code": self.code,
            "handed": self.handed,
            "tables": self.tables,
        }
        write(self.path / "config.json", dumps(content, indent=2) + "\n")

    @classmethod
    def open(cls, path: str | Path, **changes: Any) -> "RunFolder":
        """The folder of an earlier run, its configuration changed by what is given.

        Raises:
            InputError: there is no such folder, it is incomplete, or another version wrote it.
        """
        if not isinstance(path, str | os.PathLike):
            raise InputError(f"a run folder is named by its path, not by {told(path)}.")
        path = Path(path)
        if not os.path.isdir(path):  # False, not an error, for a name that is too long
            raise InputError(f"there is no run folder {path}.")
        file = path / "config.json"
        try:
            content = read_json(file, "the configuration of a run")
        except FileNotFoundError:
            raise InputError(f"{path} is not a run folder, or an incomplete one: it has no config.json.") from None
        found, algorithm, values = (content.get(name) for name in ("format", "algorithm", "config"))
        if found != FORMAT and found is not None:
            raise InputError(
                f"{path} was written by gpusim {content.get('gpusim', 'of an unknown version')} in format {found}; "
                f"this is gpusim {__version__}, which reads format {FORMAT}."
            )
        if found is None or not isinstance(algorithm, str) or not isinstance(values, dict) or not _plain(values):
            raise InputError(f"{file} is damaged: it is not the configuration of a run.")
        config = module(algorithm).Config
        lacking = {field.name for field in dataclasses.fields(config)} - values.keys()
        if lacking and content.get("gpusim") == __version__:  # an older one may know fewer
            raise InputError(f"{file} is damaged: it lacks {joined(sorted(lacking), 'and')}.")
        folder = cls(path, algorithm, build(config, values | changes, str(file)))
        known = content.get("reward_threshold", environments.threshold(folder.config.env))
        folder.threshold = known if isinstance(known, int | float) and math.isfinite(known) else None
        folder.code = content.get("code")
        handed = content.get("handed")
        folder.handed = handed if isinstance(handed, str) else None
        tables = content.get("tables")
        folder.tables = tables if isinstance(tables, dict) else None
        return folder

    def require(self, env: Given | None, call: str) -> None:
        """Raises InputError where the run's environments were handed in, and `env`, which stands for them, is None."""
        if self.handed is not None and env is None:
            raise InputError(
                f"{self.path} cannot make its environments again, as they were handed in from Python: {self.handed}. "
                f"gpusim.agents.{call}({str(self.path)!r}, env=...) takes such again."
            )

    def require_tables(self, given: Given | Task) -> None:
        """Raises InputError where the tables of `given` are others than the run learns on."""
        now, before = environments.tables(given) or {}, self.tables or {}
        if other := [name for name in {**before, **now} if before.get(name) != now.get(name)]:
            names = joined([repr(name) for name in other], "and")
            what = f"table {names} holds" if len(other) == 1 else f"tables {names} hold"
            raise InputError(
                f"the {what} something else than when the run in {self.path} began: give back those tables, or train anew."
            )

    def find_code(
        self, trust: bool, fields: Sequence[str] = code.FIELDS, tell: Callable[[str], Any] = warnings.warn
    ) -> None:
        """Imports what the configuration names; see `gpusim.agents.folder.code.restored`."""
        self.config = code.restored(self.config, self.path, self.code, trust, fields, tell)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from going on with this run, and closes in the end what it has opened.

        Raises:
            InputError: another does already, or the folder cannot be written to.
        """
        with locked(self.path / LOCK, f"the run folder {self.path}", warn):
            try:
                yield
            finally:
                self._close_events()

    def held(self) -> Held:
        """Whether a process is at work on it, and which; else, which one was killed at it."""
        return look(self.path / LOCK)

    def begun(self, learner: Learner) -> None:
        self._written(sessions.FILE, lambda: sessions.add(self.path, session.facts(learner)))
        self._monitor = Monitor(learner.env.device)
        self._monitor.start()

    def ended(self) -> None:
        if self._monitor:
            self._monitor.stop()

    def reading(self, learner: Learner, metrics: dict[str, float]) -> None:
        metrics = metrics | (self._monitor.take() if self._monitor else {})
        self._written("metrics.jsonl", lambda: self.readings.append(metrics))
        if self._tensorboard:
            self._tensorboard = self._written("TensorBoard's events", lambda: self._show(metrics))

    def _show(self, metrics: dict[str, float]) -> None:
        step = int(metrics["steps"])
        if self._events is None:
            try:
                self._events = Events(self.path / "tensorboard", step)
            except ImportError:
                self._tensorboard = False
                return
        shown = {tag(name): value for name, value in metrics.items() if name not in ("steps", "iteration", "time")}
        self._events.add(shown, step, metrics["time"])

    def checkpoint(self, learner: Learner, metrics: list[dict[str, float]], seconds: float = 0.0) -> None:
        state = learner.state()
        self._written("the checkpoint", lambda: self.checkpoints.save(learner.iteration, seconds, state))

    def _written(self, what: str, write: Callable[[], None]) -> bool:
        try:
            write()
        except (OSError, InputError) as error:
            if what not in self.lost:
                warn(f"{what} of {self.path} cannot be written ({_reason(error)}); the run goes on.")
            self.lost[what] = _reason(error)
            return False
        self.lost.pop(what, None)
        return True

    def load(self, device: torch.device) -> Checkpoint | None:
        """The newest checkpoint that is whole, and a line about each that is not; None where there was none yet.

        Raises:
            InputError: there are some, and none can be read, or another version wrote it.
        """
        damages = list[Damaged]()
        for found in self.checkpoints.readable(device):
            if isinstance(found, Checkpoint):
                for damage in damages:
                    warn(f"{damage}; {found.path.name}, the one before it, is taken.")
                return found
            damages.append(found)
        if damages:
            others = f", and so are the {len(damages) - 1} before it" if len(damages) > 1 else ""
            raise InputError(f"{damages[0]}{others}: there is nothing left to go on from.")
        return None

    def made(self, make: Callable[[], Made], task: Task | None = None) -> Made:
        """What `make` makes of the configuration, `task` being what it is for where environments are handed in.

        Raises:
            InputError: nothing can be made of it.
        """
        try:
            self.config.check(task)
            return make()
        except (InputError, ImportError):
            raise
        except (TypeError, ValueError, OverflowError, MemoryError, RuntimeError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0].removesuffix(".")
            raise InputError(f"{self.path / 'config.json'} is damaged, or was changed: {why}.") from None

    def make_learner(self, env: Given | None = None) -> Learner:
        """The learner of this run, as it began, on the environments `env` where such were handed in.

        Raises:
            InputError: config.json asks for what cannot be made, or tables have changed.
        """
        self.require(env, "resume")
        task = None if env is None else environments.task(env)
        learner = self.made(lambda: make_learner(self.algorithm, self.config, env), task)
        self.require_tables(learner.env)
        return learner

    def restore(self, learner: Learner) -> float:
        """Brings `learner` to the newest checkpoint, and returns the seconds that it took to get there.

        Raises:
            InputError: none can be read, or it fits another configuration.
        """
        world = learner.world
        checkpoint = self.load(learner.env.device if world.alone else torch.device("cpu"))
        world.told(checkpoint and checkpoint.state)
        if checkpoint is None:
            return 0.0
        try:
            learner.load(checkpoint.state)
        except InputError:
            raise
        except Exception:
            raise self.misfit() from None
        return checkpoint.seconds

    def misfit(self) -> InputError:
        return InputError(f"the checkpoint in {self.path} does not fit its config.json: one of them was changed.")

    @property
    def gone(self) -> bool:
        """Whether somebody has moved or deleted it."""
        return not (self.path / "config.json").exists()

    def newest_iteration(self) -> int:
        """Of the checkpoints; 0 where there is none."""
        files = self.checkpoints.files()
        return int(files[-1].stem) if files else 0

    def change(self, **changes: Any) -> None:
        """Keeps a changed configuration.

        Raises:
            InputError: it cannot be written.
        """
        kept = self.open(self.path, **changes)
        try:
            kept.write_config()
        except OSError as error:
            raise InputError(f"{self.path / 'config.json'} cannot be written: {error.strerror}.") from None

    def metrics(self) -> list[dict[str, float]]:
        """The readings so far; lines that are damaged are passed over.

        Raises:
            InputError: they cannot be read.
        """
        return self.readings.read()

    def rewind(self, iteration: int) -> list[dict[str, float]]:
        """Drops the readings after `iteration`, which a resumed run makes anew, and returns those before.

        Raises:
            InputError: the folder cannot be written to, or its configuration is of another run than its readings.
        """
        each, readings = self.config.steps_per_iteration, self.metrics()
        if readings and all(reading.get("steps") != reading["iteration"] * each for reading in readings):
            raise InputError(
                f"{self.path} is damaged: config.json makes {each} steps an iteration, and no reading of "
                f"{self.readings.path.name} says so."
            )
        self.checkpoints.set_aside(iteration)
        try:
            return self.readings.rewind(iteration)
        except OSError as error:
            raise InputError(f"{self.readings.path} cannot be written: {error.strerror}.") from None

    def result(self) -> dict[str, Any] | None:
        """What the closing evaluation left; None where it was not made, or is damaged."""
        try:
            return read_json(self.path / "result.json", "the result of a run")
        except (FileNotFoundError, InputError):
            return None

    def closed(self, steps: int) -> bool:
        """Whether the result of so many steps is there, and the curve that is drawn after it."""
        return (self.result() or {}).get("steps") == steps and (self.path / "curve.png").exists()

    def stop(self, error: NotFinite) -> NotFinite:
        """Writes down what stopped the run, closes it, and says in the error where it can go on."""
        self.close()
        facts = {name: getattr(error, name) for name in PLACE}
        actions = None if error.actions is None else error.actions.tolist()
        text = dumps({"sentence": str(error), **facts, "actions": actions}, indent=2) + "\n"
        self._written(STOPPED, lambda: write(self.path / STOPPED, text))
        found = self.checkpoints.files()
        way = (
            f"every checkpoint is finite, the newest of iteration {int(found[-1].stem):,}: `gpusim resume {self.path}` "
            "goes on from there, and meets this again unless the environment is mended"
            if found
            else "there is no checkpoint yet"
        )
        error.args = (f"{error} {self.path / STOPPED} has the place; {way}.",)
        return error

    def stopped(self) -> str | None:
        """Why the run stopped the last time, if it was for a number that was none; forgotten once it is told."""
        path = self.path / STOPPED
        try:
            sentence = read_json(path, "what stopped a run").get("sentence")
            path.unlink()
        except (OSError, InputError):
            return None
        return str(sentence)

    def close(self, result: dict[str, Any] | None = None) -> None:
        """Writes the result, where there is one, and then the learning curve, which may fail."""
        self._close_events()
        if self.readings.pending:
            self._written("metrics.jsonl", self.readings.flush)
        if result is not None:
            text = dumps(result, indent=2) + "\n"
            self._written("result.json", lambda: write(self.path / "result.json", text))
        if readings := self.metrics():
            self._written("curve.png", lambda: self._draw(readings))

    def _close_events(self) -> None:
        if self._events:
            self._events.close()
            self._events = None

    def _draw(self, readings: list[dict[str, float]]) -> None:
        drawing.curve(readings, self.config.env, self.path / "curve.png", self.threshold)


def _reason(error: Exception) -> str:
    """In the system's words, where it was the system."""
    system = error if isinstance(error, OSError) else error.__context__
    return str(getattr(system, "strerror", None) or error)


def _plain(values: dict[str, Any]) -> bool:
    """Whether these can be settings at all: numbers, words, or several of them, and an environment with a name."""
    each = [x for value in values.values() for x in (value if isinstance(value, list) else [value])]
    return all(x is None or isinstance(x, int | float | str) for x in each) and isinstance(values.get("env", ""), str)


def check_free(path: Path) -> None:
    """Raises InputError where a run cannot be made at `path`, which may hold what is left of one that never began."""
    if os.path.lexists(path):
        try:
            inside = {p.name for p in path.iterdir()} if os.path.isdir(path) else None
        except OSError as error:
            raise InputError(f"the run folder {path} cannot be made: {error.strerror}.") from None
        if inside is not None and "config.json" in inside:
            raise InputError(f"{path} exists already; choose another --run-dir, or go on with `gpusim resume {path}`.")
        if inside is None or inside - UNBORN or Checkpoints(path / "checkpoints").files():
            raise InputError(f"{path} exists already, and is no run; choose another --run-dir.")
    parent = next(p for p in (path, *path.absolute().parents) if os.path.exists(p))
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"the run folder {path} cannot be made: {parent} cannot be written to.")
