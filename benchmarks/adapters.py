"""What each trainer's adapter costs: steps per second through it beside the bare environment's, and a short training.

    python benchmarks/adapters.py [--device cpu|cuda] [--names sb3 torchrl ...] [--sizes 64 4096] [--rounds 9]

Each trainer has a driver, `benchmarks/trainers/NAME.py`, a module with

    TRAINER   what the trainer is called
    LIBRARY   the installed distribution whose version is told, as "stable-baselines3"
    ENV       the environment's id, "CartPole-v1" where actions may be discrete, else "Pendulum-v1"
    MODE      the autoreset mode that the adapter wants, as "same_step"
    COPIES    transfers between device and host that one step costs on a GPU, actions included
    through(num_envs, device, actions)  makes an environment of its own, puts it through the adapter, resets it and
              returns a function that steps it once with each of `actions` `[T, N]` or `[T, N, d]` (converted beforehand to
              what the trainer hands over), as the trainer's own loop would
    train(device)  trains with the real library for a few seconds, checks that something was learnt from, and returns
              (algorithm, environment steps); a driver without it belongs to no trainer

and imports its library at its top. A driver runs in `benchmarks/trainers/.venv-NAME` where `make trainers` has made one
(of `benchmarks/trainers/NAME.txt`), else in the Python that runs this file. `trainers/run.py` measures: in one process,
in turns, the adapter and the bare environment stepped with the same actions (and reset by a mask where autoreset is
disabled); figures are medians over the rounds. The tax is the time through the adapter over the bare environment's: 1.00 is
free.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from gpusim import checks
from gpusim.agents.bench.provenance import busy, hardware, provenance

sys.path.insert(0, str(Path(__file__).resolve().parent))
from readme import write_pages
from report import publish, say

TRAINERS = Path(__file__).resolve().parent / "trainers"
NAMES = (
    "gymnasium_numpy", "sb3", "torchrl", "skrl", "rl_games", "rsl_rl", "tianshou", "rllib", "pufferlib", "sample_factory",
    "jax_arrays",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """What each trainer's adapter costs."""

    names: tuple[str, ...] = NAMES
    """Drivers in benchmarks/trainers."""
    device: str = "auto"
    """auto, cpu or cuda."""
    sizes: tuple[int, ...] = (64, 4_096)
    """Numbers of environments."""
    rounds: int = 9
    """Measurements of each."""
    seconds: float = 0.3
    """Least length of one measurement [s]."""
    patience: float = 900.0
    """How long one trainer may take [s]."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    device = checks.device(config.device)
    origin = provenance()
    if busy(origin):
        say(f"This machine is busy (load {origin['load']:.1f}): the figures will be too low, and uneven.")
    found = [driven(name, device, config) for name in config.names]
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    measured = [f for f in found if "missing" not in f]
    missing = {f["name"]: f["missing"] for f in found if "missing" in f}
    result = {"config": settings, "device": str(device), **origin, "trainers": measured, "not_measured": missing}
    publish("adapters", result, table(result), config.out)
    if config.out is None:
        write_pages()  # the tables of docs/trainers/index.md


def driven(name: str, device: Any, config: Config) -> dict[str, Any]:
    """What `trainers/run.py` says about one trainer, or why it says nothing."""
    say(name)
    own = TRAINERS / f".venv-{name}" / "bin" / "python"
    if not (TRAINERS / f"{name}.py").exists():
        return {"name": name, "missing": "it has no driver"}
    if (TRAINERS / f"{name}.txt").exists() and not (own.parents[1] / "done").exists():
        failed = own.parents[1] / "failed"
        return {
            "name": name,
            "missing": failed.read_text().strip() if failed.exists() else "not installed: make trainers",
        }
    python = str(own) if own.exists() else sys.executable
    sizes = [str(size) for size in config.sizes]
    command = [python, "-P", str(TRAINERS / "run.py"), name, "--device", str(device), "--sizes", *sizes]
    command += ["--rounds", str(config.rounds), "--seconds", str(config.seconds)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=env, start_new_session=True, **pipes) as driver:
        try:
            out, errors = driver.communicate(timeout=config.patience)
        except subprocess.TimeoutExpired:
            return {"name": name, "missing": f"its driver was not done after {config.patience:g} s"}
        finally:
            with suppress(ProcessLookupError):  # with what it has started
                os.killpg(driver.pid, signal.SIGKILL)
    lines = out.splitlines()
    if driver.returncode or not lines:
        say(errors)
        return {"name": name, "missing": f"its driver failed with exit code {driver.returncode}"}
    return json.loads(lines[-1])


def table(result: dict[str, Any]) -> list[str]:
    """Markdown."""
    sizes = result["config"]["sizes"]
    columns = [words for n in sizes for words in (f"steps/s, {n:,} envs", "tax")]
    head = ["trainer", "version", "environment", "autoreset mode", "copies per step", *columns, "trained with"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for found in result["trainers"]:
        cells = [
            found["trainer"],
            found["version"],
            found["env"],
            found["autoreset_mode"],
            str(found["copies_per_step"]),
        ]
        for row in found["rows"]:
            cells += [f"{row['through']:,.0f}", f"{row['tax']:.2f}"]
        training = found["training"]
        cells.append(f"{training['algorithm']}, {training['steps']:,} steps" if training else "–")
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"On {hardware(result, result['device'])}, load {result['load']} at the start; medians of "
        f"{result['config']['rounds']} rounds. The tax: time of a step through the adapter over the bare one's.",
    ]
    lines += [f"Not measured: {name} ({why})." for name, why in result["not_measured"].items()]
    return lines


if __name__ == "__main__":
    main(tyro.cli(Config))
