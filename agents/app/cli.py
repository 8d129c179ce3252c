"""The command line. Each command imports only what it needs; bad input is one sentence and exit code 2."""

import os
import sys
import traceback
from importlib import import_module
from typing import Any

from gpusim.agents.app.refusals import Helped
from gpusim.agents.train import console, ranks, signals
from gpusim.errors import InputError, NotFinite

COMMANDS = (  # files of `gpusim.agents.app.commands`
    "train", "resume", "runs", "watch", "logs", "stop", "eval", "plot", "report", "export", "sweep", "population",
    "envs", "bench", "info",
)  # fmt: skip
TRAIN = ("jinja2", "matplotlib", "rich", "tensorboard", "tyro")
EXTRAS = dict.fromkeys(TRAIN, "train") | {"optuna": "sweep"}  # what brings what a command needs
USAGE = """\
usage: gpusim COMMAND ...

  train ALGORITHM ENV    train {algorithms} on an environment   (gpusim train ppo CartPole-v1); --detach: in the background
  resume RUN             go on with a run that was stopped or killed; --total-steps: with a finished one
  runs [FOLDER]          what runs, and what has ended
  watch [RUN]            GPUs, host and what runs, live, and what is wrong
  logs RUN               what a run in the background says; -f: and goes on to say
  stop RUN               save it and end it
  eval RUN               play the trained policy; --oracle plays it in Gymnasium's own environment, --video films it
  plot RUN ...           the learning curves of runs, or of folders of runs; --trajectory: what the agent does in time
  export RUN             the policy as others run it: --format onnx, torch or json, checked beside the policy
  report RUN ...         one HTML file to send to somebody: curves, scores, film, settings, machine
  sweep ALGORITHM ENV    search settings by Optuna   (gpusim sweep ppo CartPole-v1 --vary learning-rate=log:1e-4..1e-2)
  population ppo ENV     thousands of agents at once   (gpusim population ppo CartPole-v1 --learning-rate log:1e-4..1e-2)
  envs                   the environments
  bench                  how fast this machine steps them
  info                   this machine: GPUs, versions, which backends work here

`gpusim COMMAND --help` tells each one's options."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of `gpusim`."""
    args = sys.argv[1:] if argv is None else argv
    console.prepare()
    try:
        with signals.handled(signals.raised):
            code = _run(args)
            console.flush()
    except KeyboardInterrupt as stop:
        console.warn("stopped")
        code = signals.exit_code(stop)
    except OSError as error:
        if error.filename is not None or error.errno not in console.GONE:
            raise
        code = console.give_up(error)
    sys.exit(code or 0)


def _run(args: list[str]) -> Any:
    """The exit code."""
    if not args or args[0] in ("-h", "--help"):
        from gpusim.agents.train.discovery import algorithms
        from gpusim.registry import either

        print(USAGE.format(algorithms=either([*algorithms()])))
        return 0 if args else 2
    if args[0] == "--version":
        from gpusim.version import __version__

        print(__version__)
        return 0
    try:
        return _ranked(args) if ranks.launched() else _command(args)
    except ranks.Elsewhere as elsewhere:
        return elsewhere.code
    except ranks.Lost as error:
        console.warn(str(error))
        return 1
    except InputError as error:
        console.warn(str(error))
        return 2
    except NotFinite as error:
        console.warn(str(error))
        return 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        console.warn(f'the command needs {error.name}, which is not installed: pip install "gpusim[{extra}]"')
        return 2
    except Helped:
        return 0
    except SystemExit as exit_:
        last = traceback.extract_tb(exit_.__traceback__)[-1]
        console.warn(
            f"{os.path.basename(last.filename)}, line {last.lineno}, called sys.exit: the command ended there."
        )
        return exit_.code if isinstance(exit_.code, int) and exit_.code else 1


def _command(args: list[str]) -> Any:
    if args[0] not in COMMANDS:
        raise InputError(f"no command is called {args[0]!r}; there are {', '.join(COMMANDS)}.")
    return import_module(f"gpusim.agents.app.commands.{args[0]}").main(args[1:])


def _ranked(args: list[str]) -> Any:
    """As one of several processes, of which the first alone is told what to do, shows something, and writes."""
    with ranks.joined(args) as world:
        if args[0] not in ("train", "resume"):
            raise InputError(f"gpusim {args[0]} is for one process; torchrun starts gpusim train and gpusim resume.")
        if world.first:
            return _command(args)
        ranks.hush()
        from gpusim.agents.train.training import attend

        result = attend(world)
        return 128 + result.signal if result.signal else 0
