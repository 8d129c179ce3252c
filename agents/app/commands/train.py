"""`gpusim train`: a new run."""

import shlex
from functools import partial
from pathlib import Path

from gpusim.agents.app import arguments
from gpusim.agents.app.driving import drive, tell_cost
from gpusim.agents.train import console


def main(args: list[str]) -> int:
    from gpusim.agents.train.discovery import algorithms, module
    from gpusim.agents.train.run import RunFolder, check_free, make_learner, preset

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
        arguments.options(preset(args[0], shown), ["--help"], f"gpusim train {args[0]} ENV", hidden=("env",))
    algorithm, env = args[:2]
    config = arguments.settings(algorithm, env, args[2:], f"gpusim train {algorithm} {shlex.quote(env)}")
    tell_cost(config)
    if config.run_dir:
        check_free(Path(config.run_dir))  # before what takes long
    learner = make_learner(algorithm, config)
    make = partial(RunFolder.create, config.run_dir) if config.run_dir else RunFolder.create_new
    folder = make(algorithm, config)
    with folder.locked():
        return drive(learner, folder, 0.0)
