"""A run is a folder: config.json, metrics.jsonl, TensorBoard events, checkpoints, curve.png, result.json."""

import dataclasses
import importlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from gpusim.agents.config import RunConfig, build
from gpusim.agents.environments import describe
from gpusim.agents.learner import Learner
from gpusim.agents.loop import Silent
from gpusim.agents.presets import settings
from gpusim.errors import InputError
from gpusim.version import __version__

FORMAT = 1  # of the folder; raised when an older one can no longer be read
KEPT = 3  # checkpoints
ALGORITHMS = {"ppo": "PPO", "a2c": "A2C", "reinforce": "Reinforce", "dqn": "DQN", "pqn": "PQN"}


def module(algorithm: str) -> Any:
    """The learner's file.

    Raises:
        InputError: there is none of that name.
    """
    if algorithm not in ALGORITHMS:
        raise InputError(f"no algorithm is called {algorithm!r}; there are {', '.join(ALGORITHMS)}.")
    return importlib.import_module(f"gpusim.agents.{algorithm}")


def preset(algorithm: str, env: str, **changes: Any) -> Any:
    """The configuration for that algorithm on that environment at that `num_envs`, with `changes`, which always win.

    Raises:
        InputError: there is no such algorithm, environment or field.
    """
    name = describe(env).id
    values = {"env": name, **settings(algorithm, name, changes), **changes}
    return build(module(algorithm).Config, values, f"the preset of {algorithm} for {name}")


def make_learner(algorithm: str, config: RunConfig) -> Learner:
    return getattr(module(algorithm), ALGORITHMS[algorithm])(config)


def default_name(algorithm: str, config: RunConfig) -> str:
    return f"runs/{algorithm}-{config.env.replace('/', '-')}-s{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"


def write(path: Path, text: str | bytes) -> None:
    """All of the file or none of it, whenever the process is killed."""
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


class RunFolder(Silent):
    """The folder of one run; told of every reading and checkpoint by `gpusim.agents.loop.run`."""

    def __init__(self, path: Path, algorithm: str, config: RunConfig):
        self.path, self.algorithm, self.config = path, algorithm, config
        self._events: Any = None

    @classmethod
    def create(cls, path: str | Path, algorithm: str, config: RunConfig) -> "RunFolder":
        """A new folder.

        Raises:
            InputError: something is there already, or it cannot be made.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} exists already; choose another --run-dir, or go on with `gpusim resume {path}`.")
        check_free(path)
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the run folder {path} cannot be made: {error.strerror}.") from None
        content = {
            "format": FORMAT,
            "gpusim": __version__,
            "algorithm": algorithm,
            "config": dataclasses.asdict(config),
        }
        write(path / "config.json", json.dumps(content, indent=2) + "\n")
        return cls(path, algorithm, config)

    @classmethod
    def open(cls, path: str | Path, **changes: Any) -> "RunFolder":
        """The folder of an earlier run, its configuration changed by what is given.

        Raises:
            InputError: there is no such folder, it is incomplete, or another version wrote it.
        """
        path = Path(path)
        if not path.is_dir():
            raise InputError(f"there is no run folder {path}.")
        try:
            content = json.loads((path / "config.json").read_text())
            found = content["format"]
            algorithm, values = content["algorithm"], content["config"]
        except FileNotFoundError:
            raise InputError(f"{path} is not a run folder, or an incomplete one: it has no config.json.") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path / 'config.json'} is damaged: it is not the configuration of a run.") from None
        if found != FORMAT:
            raise InputError(
                f"{path} was written by gpusim {content.get('gpusim', 'of an unknown version')} in format {found}; "
                f"this is gpusim {__version__}, which reads format {FORMAT}."
            )
        config = build(module(algorithm).Config, values | changes, str(path / "config.json"))
        return cls(path, algorithm, config)

    def reading(self, learner: Learner, metrics: dict[str, float]) -> None:
        with open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps(metrics) + "\n")
        if self._events is None:
            self._events = _events(self.path / "tensorboard", int(metrics["steps"]))
        if self._events:
            for name, value in metrics.items():
                if name not in ("steps", "iteration", "time"):
                    self._events.add_scalar(name, value, int(metrics["steps"]), walltime=metrics["time"])

    def checkpoint(self, learner: Learner, metrics: list[dict[str, float]]) -> None:
        content = io.BytesIO()
        seconds = metrics[-1]["seconds"] if metrics else 0.0
        torch.save({"format": FORMAT, "gpusim": __version__, "seconds": seconds, "state": learner.state()}, content)
        write(self.path / "checkpoints" / f"{learner.iteration:08d}.pt", content.getvalue())
        for old in self.checkpoints()[:-KEPT]:
            old.unlink()

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted((self.path / "checkpoints").glob("*.pt"))

    def load(self, device: torch.device) -> dict[str, Any]:
        """The newest checkpoint: `state`, and the `seconds` it took to get there.

        Raises:
            InputError: there is none, it is cut short, or another version wrote it.
        """
        found = self.checkpoints()
        if not found:
            raise InputError(f"{self.path} is incomplete: it has no checkpoint.")
        try:
            content = torch.load(found[-1], map_location=device, weights_only=True)
            form = content["format"]
        except Exception:
            other = f"delete it to go on from {found[-2].name}" if len(found) > 1 else "and there is no earlier one"
            raise InputError(f"the checkpoint {found[-1]} is cut short or damaged; {other}.") from None
        if form != FORMAT:
            raise InputError(f"the checkpoint {found[-1]} has format {form}; this gpusim reads format {FORMAT}.")
        return content

    def metrics(self) -> list[dict[str, float]]:
        """The readings so far; a last line that was cut short is passed over."""
        readings = []
        try:
            lines = (self.path / "metrics.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            try:
                readings.append(json.loads(line))
            except ValueError:
                break
        return readings

    def rewind(self, iteration: int) -> list[dict[str, float]]:
        """Drops the readings after `iteration`, which a resumed run makes anew, and returns those before."""
        kept = [m for m in self.metrics() if m["iteration"] <= iteration]
        write(self.path / "metrics.jsonl", "".join(json.dumps(m) + "\n" for m in kept))
        return kept

    def close(self, result: dict[str, Any] | None = None) -> None:
        """Writes the result, where there is one, and the learning curve."""
        if result is not None:
            write(self.path / "result.json", json.dumps(result, indent=2) + "\n")
        if self._events:
            self._events.close()
        if readings := self.metrics():
            from gpusim.agents.plot import curve

            curve(readings, self.config.env, self.path / "curve.png")


def check_free(path: Path) -> None:
    parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"the run folder {path} cannot be made: {parent} cannot be written to.")


def _events(path: Path, step: int) -> Any:
    """TensorBoard's writer; False where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return False
    return SummaryWriter(str(path), purge_step=step)
