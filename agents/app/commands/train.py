"""`gpusim train`: a new run."""

import dataclasses
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpusim.agents.app import arguments
from gpusim.agents.app.commands import resume
from gpusim.agents.app.driving import drive, tell_cost
from gpusim.agents.train import console, ranks

if TYPE_CHECKING:
    from gpusim.agents.train.run import RunFolder


@dataclasses.dataclass(frozen=True)
class Way:
    """How a run is started, beside its settings."""

    detach: bool = False
    """Go on in the background, which no terminal ends; what it says is in the run folder (gpusim logs)."""


def main(args: list[str]) -> int:
    from gpusim.agents.parts.world import here
    from gpusim.agents.train.discovery import algorithms, module
    from gpusim.agents.train.run import RunFolder, check_free, preset
    from gpusim.agents.train.training import begin

    if begun := ranks.noted_run():
        return resume.main([begun, "--trust"])
    if len(args) < 2 or args[0].startswith("-") or args[1].startswith("-"):
        if not {"-h", "--help"} & set(args):
            arguments.refuse("train needs an algorithm and an environment: gpusim train ppo CartPole-v1")
        if args[0].startswith("-"):
            console.say(
                f"usage: gpusim train ALGORITHM ENV [OPTIONS]\n\nALGORITHM is one of {', '.join(algorithms())}; "
                "`gpusim train ppo --help` lists the options."
            )
            return 0
        shown = module(args[0]).Config.env
        console.say(f"The defaults shown are those for {shown}; name another environment before --help to see its own.")
        arguments.options(
            _detachable(preset(args[0], shown)), ["--help"], f"gpusim train {args[0]} ENV", hidden=("env",)
        )
    algorithm, env = args[:2]
    program = f"gpusim train {algorithm} {shlex.quote(env)}"
    asked = arguments.settings(algorithm, env, args[2:], program, beside=_detachable)
    kind = module(algorithm).Config
    config = kind(**{f.name: getattr(asked, f.name) for f in dataclasses.fields(kind)})
    if here().launched:
        config = config.together(here())
    tell_cost(config)
    if config.run_dir:
        check_free(Path(config.run_dir))  # before what takes long
    make = partial(RunFolder.create, config.run_dir) if config.run_dir else RunFolder.create_new
    if asked.detach:
        return _detach(make, algorithm, config)
    learner = begin(algorithm, config)
    folder = make(algorithm, config)
    ranks.note_run(folder.path)
    with folder.locked():
        return drive(learner, folder, 0.0)


def _detachable(config: Any) -> Any:
    """The same settings, with those of `Way` beside them."""
    kind = dataclasses.make_dataclass(type(config).__name__, [], bases=(type(config), Way), frozen=True, kw_only=True)
    kind.__doc__ = type(config).__doc__
    return kind(**{f.name: getattr(config, f.name) for f in dataclasses.fields(config)})


def _detach(make: Callable[[str, Any], "RunFolder"], algorithm: str, config: Any) -> int:
    """The folder is made here, where what is wrong with it is seen; the run begins as one that was stopped at step 0."""
    from gpusim.agents.app.detach import detach, require_alone
    from gpusim.agents.folder.code import named

    require_alone()
    config.check_memory()
    folder = make(algorithm, config)
    return detach(folder, ["--trust"] if named(folder.config) else [])
