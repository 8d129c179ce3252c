"""`gpusim sweep`: a search over settings, of one process or of many."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Any

from gpusim import source
from gpusim.agents.app import arguments
from gpusim.agents.train import console, signals
from gpusim.agents.train.ranges import Count, Natural, OneOf, check_fields

SHOWN = 10  # trials in the table


@dataclasses.dataclass(frozen=True)
class Options:
    """Searches settings by Optuna: every trial is a run with a folder of its own. The same command again goes on with the
    search, or, at the same time and on another machine too, takes part in it. Every other flag is one of `gpusim train`."""

    vary: tuple[str, ...] = ()
    """FLAG=a..b (whole numbers where both ends are), FLAG=log:a..b, or FLAG=a,b,c; values of several words in quotes."""
    trials: Count = 20
    """Of all processes together."""
    sampler: Annotated[str, OneOf(("tpe", "random"))] = "tpe"
    """How settings are proposed: by Optuna's TPE, from those that did well, or at random."""
    pruner: Annotated[str, OneOf(("median", "halving", "hyperband", "none"))] = "median"
    """Who ends trials that go badly, by the returns that they have while they learn."""
    sampler_seed: Natural | None = None
    """Of the sampler, so that one process proposes the same again; leave it out where several take part."""
    sweep_dir: str | None = None
    """Folder; by default named after algorithm and environment, below `runs`."""


def main(args: list[str]) -> int:
    if len(args) < 2 or args[0].startswith("-") or args[1].startswith("-"):
        if not {"-h", "--help"} & set(args):
            arguments.refuse("sweep needs an algorithm and an environment: gpusim sweep ppo CartPole-v1 --vary ...")
        arguments.options(Options(), ["--help"], "gpusim sweep ALGORITHM ENV")
    algorithm, env = args[:2]
    program = f"gpusim sweep {algorithm} {shlex.quote(env)}"
    own, fixed = _split(args[2:])
    asked = arguments.options(Options(), own, program)
    arguments.named(asked, "sweep_dir")
    check_fields(asked, but=("vary",))
    sweep = _sweep(algorithm, env, fixed, asked)

    from gpusim.agents.train.sweep import PRUNERS, SAMPLERS, work

    study = sweep.study(SAMPLERS[asked.sampler](asked.sampler_seed), PRUNERS[asked.pruner]())
    console.say(f"{asked.trials} trials of {algorithm} on {env}, below {sweep.path}")
    try:
        work(sweep, study, asked.trials, lambda trial: console.say(_line(study, trial)))
    except KeyboardInterrupt as stop:
        console.say("stopped; the same command goes on with the search, the trial that was cut off first")
        return signals.exit_code(stop)
    return _close(sweep, study)


def _split(args: list[str]) -> tuple[list[str], list[str]]:
    """This command's own words, and those that a run is given."""
    known = {f.name for f in dataclasses.fields(Options)} | {"help"}
    parts: tuple[list[str], list[str]] = [], []
    side = 1
    for word in args:
        if word.startswith("--"):
            side = 0 if arguments.field(word) in known else 1
        elif word == "-h":
            side = 0
        parts[side].append(word)
    return parts


def _sweep(algorithm: str, env: str, fixed: list[str], asked: Options) -> Any:
    from gpusim.agents.train.vary import Choice, read

    if not asked.vary:
        arguments.refuse("sweep needs what to vary: --vary learning-rate=log:1e-4..1e-2 num-steps=16,32,64")
    base = arguments.settings(algorithm, env, fixed, f"gpusim train {algorithm} {env}")
    if base.run_dir:
        arguments.refuse("each trial has a run folder of its own: give --sweep-dir instead of --run-dir.")
    varied = {}
    for text in asked.vary:
        flag, _, over = text.partition("=")
        name = arguments.field(flag)
        if name not in {f.name for f in dataclasses.fields(base)} - {"env", "run_dir"}:
            arguments.refuse(
                f"{algorithm} has no setting {flag!r} to vary: gpusim train {algorithm} --help lists them."
            )
        varied[name] = read(flag, over)

    from gpusim.agents.train.sweep import Sweep

    def configured(values: dict[str, Any]) -> Any:
        flags = [word for name, value in values.items() for word in _flag(name, value, base)]
        config = arguments.settings(algorithm, env, [*fixed, *flags], "a trial")
        config.check()
        return config

    for name, what in varied.items():  # what can never be used is said before the first trial
        for value in what.values if isinstance(what, Choice) else (what.low, what.high):
            one = arguments.settings(algorithm, env, [*fixed, *_flag(name, value, base)], f"--vary {name}")
            check_fields(one, but=("env",))
    command = shlex.join(["gpusim", "train", algorithm, env, *fixed])
    path = Path(asked.sweep_dir or f"runs/sweep-{algorithm}-{source.name(env).replace('/', '-')}")
    return Sweep(path, command, algorithm, varied, configured)


def _flag(name: str, value: Any, base: Any) -> list[str]:
    """A setting as words of the command line."""
    flag = name.replace("_", "-")
    if isinstance(getattr(base, name, None), bool):
        return [f"--{flag}" if str(value).lower() == "true" else f"--no-{flag}"]
    return [f"--{flag}", *str(value).split()] if name != "run_dir" else [f"--{flag}", str(value)]


def _line(study: Any, trial: Any) -> str:
    chosen = "  ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
    why = study.user_attrs.get(f"why {trial.number}")
    return f"trial {trial.number:3}  {_said(trial):>16}  {chosen}" + (f"  ({why})" if why else "")


def _said(trial: Any) -> str:
    if trial.value is not None and trial.state.name == "COMPLETE":
        return f"scores {trial.value:.1f}"
    if trial.state.name == "PRUNED":
        return f"pruned at {max(trial.intermediate_values, default=0)} %"
    return trial.state.name.lower()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _close(sweep: Any, study: Any) -> int:
    """The table, and Optuna's pictures."""
    done = sorted(study.get_trials(states=_states("COMPLETE")), key=lambda trial: -trial.value)
    if not done:
        console.warn("no trial came to its end: give more --trials, or --pruner none.")
        return 1
    console.say(f"\nthe best of {len(done)} that came to their end, of {len(study.trials)}:")
    for trial in done[:SHOWN]:
        console.say(f"{_line(study, trial)}  {sweep.folder(trial.number)}")
    drawn = _draw(sweep.path, study)
    console.say(f"gpusim eval {sweep.folder(done[0].number)} plays the best; pictures: {', '.join(drawn)}")
    return 0


def _states(*names: str) -> tuple[Any, ...]:
    from optuna.trial import TrialState

    return tuple(TrialState[name] for name in names)


def _draw(path: Path, study: Any) -> list[str]:
    """Optuna's own pictures; those that it cannot make of so few trials are left out."""
    import warnings

    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.visualization import matplotlib as pictures

    makers = {
        "history": lambda: pictures.plot_optimization_history(study),
        "slices": lambda: pictures.plot_slice(study),
        "importance": lambda: pictures.plot_param_importances(study, evaluator=PedAnovaImportanceEvaluator()),
    }
    drawn = []
    for name, make in makers.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                make()
            except (ValueError, RuntimeError) as error:
                console.warn(f"{name}.png is not drawn: {error}")
                continue
            plt.savefig(path / f"{name}.png", dpi=120, bbox_inches="tight")
            plt.close("all")
        drawn.append(str(path / f"{name}.png"))
    return drawn
