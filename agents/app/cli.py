"""The command line. Each command imports only what it needs; bad input is one sentence and exit code 2."""

import argparse
import contextlib
import dataclasses
import itertools
import math
import os
import shlex
import sys
import traceback
import typing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from gpusim.agents.app.refusals import Helped
from gpusim.agents.train import console, signals
from gpusim.errors import InputError, NotFinite

if TYPE_CHECKING:
    from gpusim.agents.train.config import RunConfig
    from gpusim.agents.train.evaluate import Loaded
    from gpusim.agents.train.learner import Learner
    from gpusim.agents.train.run import RunFolder

TRAIN = ("matplotlib", "rich", "tensorboard", "tyro")  # what gpusim[train] brings for the command line
USAGE = """\
usage: gpusim COMMAND ...

  train ALGORITHM ENV    train {algorithms} on an environment   (gpusim train ppo CartPole-v1)
  resume RUN             go on with a run that was stopped or killed; --total-steps: with a finished one
  eval RUN               play the trained policy; --oracle plays it in Gymnasium's own environment, --video films it
  plot RUN ...           the learning curves of runs, or of folders of runs; --trajectory: what the agent does in time
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
        if args[0] not in COMMANDS:
            refuse(f"no command is called {args[0]!r}; there are {', '.join(COMMANDS)}.")
        return COMMANDS[args[0]](args[1:])
    except InputError as error:
        console.warn(str(error))
        return 2
    except NotFinite as error:
        console.warn(str(error))
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAIN:
            raise
        console.warn(f'the command needs {error.name}, which is not installed: pip install "gpusim[train]"')
        return 2
    except Helped:
        return 0
    except SystemExit as exit_:
        last = traceback.extract_tb(exit_.__traceback__)[-1]
        console.warn(
            f"{os.path.basename(last.filename)}, line {last.lineno}, called sys.exit: the command ended there."
        )
        return exit_.code if isinstance(exit_.code, int) and exit_.code else 1


def refuse(sentence: str) -> None:
    raise InputError(sentence)


# ----------------------------------------------------------------------------------------------------------- train


def train(args: list[str]) -> int:
    from gpusim.agents.train.discovery import algorithms, module
    from gpusim.agents.train.run import RunFolder, check_free, make_learner, preset

    if len(args) < 2 or args[0].startswith("-") or args[1].startswith("-"):
        if not {"-h", "--help"} & set(args):
            refuse("train needs an algorithm and an environment: gpusim train ppo CartPole-v1")
        if args[0].startswith("-"):
            console.say(
                f"usage: gpusim train ALGORITHM ENV [OPTIONS]\n\nALGORITHM is one of {', '.join(algorithms())}; "
                "`gpusim train ppo --help` lists the options."
            )
            return 0
        shown = module(args[0]).Config.env
        console.say(f"The defaults shown are those for {shown}; name another environment before --help to see its own.")
        options(preset(args[0], shown), ["--help"], f"gpusim train {args[0]} ENV", hidden=("env",))
    algorithm, env = args[:2]
    default = preset(algorithm, env, **_sizes(args[2:], preset(algorithm, env)))
    config = options(default, args[2:], f"gpusim train {algorithm} {shlex.quote(env)}", hidden=("env",))
    _named(config, "run_dir", "script")
    _require(args[2:], config, script=("script_start", "script_end", "script_until"), prioritized=("alpha", "beta"))
    _tell(config)
    if config.run_dir:
        check_free(Path(config.run_dir))  # before what takes long
    learner = make_learner(algorithm, config)
    make = partial(RunFolder.create, config.run_dir) if config.run_dir else RunFolder.create_new
    folder = make(algorithm, config)
    with folder.locked():
        return _drive(learner, folder, 0.0)


def _sizes(args: list[str], config: Any) -> dict[str, int]:
    """The flags that the defaults of others depend on; one that is no number is left for `options` to refuse."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in (n for n in ("num_envs", "num_steps") if hasattr(config, n)):
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", nargs="?", default="")
    from gpusim.agents.train.ranges import whole

    sizes = dict[str, int]()
    for name, text in vars(parser.parse_known_args(args)[0]).items():
        with contextlib.suppress(ValueError):
            sizes[name] = whole(text or "")
    return sizes


def resume(args: list[str]) -> int:
    from gpusim.agents.train.ranges import Count, Number
    from gpusim.agents.train.run import RunFolder

    @dataclasses.dataclass(frozen=True)
    class Resume:
        """Goes on with a run from its newest checkpoint; one that is finished needs more --total-steps."""

        device: str | None = None
        """Another device than the run's, this time."""
        total_steps: Count | None = None
        """Environment steps in all, from now on; schedules that run over them (learning rate, exploration) are stretched."""
        target_return: Number | None = None
        """Another mean return at which to stop."""
        log_every: Count | None = None
        """Iterations between two readings of the metrics."""
        checkpoint_every: Count | None = None
        """Iterations between two checkpoints."""
        trust: bool = False
        """Run the code of somebody's own that the folder names: its environment's, its script."""

    path, rest = _run_path(args, "resume")
    free = {f.name for f in dataclasses.fields(Resume)}
    if others := {_field(word) for word in rest if word.startswith("--")} - free - {"help"}:
        _refuse_fixed(RunFolder.open(path), others, free)
    asked = options(Resume(), rest, f"gpusim resume {shlex.quote(path)}")
    changes = {name: value for name, value in vars(asked).items() if name != "trust" and value is not None}
    folder = RunFolder.open(path)
    folder.require(None, "resume")
    with folder.locked():
        folder.config = RunFolder.open(path, **changes).config  # read again: whoever held the lock may have changed it
        folder.find_code(asked.trust, tell=console.warn)
        return _go_on(folder, changes)


def _named(asked: Any, *names: str) -> None:
    """Raises InputError where one of these is the empty word, which names no file."""
    for name in names:
        if getattr(asked, name, None) == "":
            refuse(f"--{name.replace('_', '-')} needs a name, not ''.")


def _require(args: list[str], asked: Any, **needs: tuple[str, ...]) -> None:
    """Raises InputError where an option is given without the one that gives it its meaning."""
    given = {_field(word) for word in args if word.startswith("--")}
    for need, names in needs.items():
        if lame := [name for name in names if name in given and not getattr(asked, need, None)]:
            refuse(f"--{lame[0].replace('_', '-')} has no effect without --{need.replace('_', '-')}.")


def _field(flag: str) -> str:
    return flag.partition("=")[0].removeprefix("--").replace("-", "_")


def _refuse_fixed(folder: "RunFolder", names: set[str], free: set[str]) -> None:
    """Raises InputError where a setting is to be changed on which stands what the run has learned."""
    known = {f.name for f in dataclasses.fields(folder.config)}
    for name in sorted((names | {name.removeprefix("no_") for name in names}) & known):
        raise InputError(
            f"{name} cannot be changed in a run, as what it has learned stands on it: begin another by "
            f"`gpusim train {folder.algorithm} {folder.config.env}`; a run that goes on can change "
            f"{', '.join(sorted(free & known))}."
        )


def _go_on(folder: "RunFolder", changes: dict[str, Any]) -> int:
    from gpusim.agents.train.training import keep, take_up

    folder.made(lambda: _tell(folder.config))
    resumed = take_up(folder, changes)
    learner, seconds, metrics, reached = resumed
    if resumed.ended:
        learner.env.close()
        if not folder.closed(learner.steps):
            return _finish(learner, folder, seconds, metrics, reached)
        all_of_it = f"is complete: all {learner.steps:,} steps were made; --total-steps makes more of them."
        enough = f"reached its target after {learner.steps:,} steps; --target-return sets another."
        console.say(f"{folder.path} {enough if reached else all_of_it}")
        return 0
    keep(folder, changes)
    if before := folder.stopped():
        console.say(f"the run had stopped: {before}")
    stretched = ", its schedules stretched to the new total" if "total_steps" in changes and learner.iteration else ""
    console.say(f"going on from step {learner.steps:,}{stretched}{_afresh(learner)}")
    return _drive(learner, folder, seconds)


def _afresh(learner: "Learner") -> str:
    from gpusim.agents.train.environments import on_host

    if not on_host(learner.env):
        return ""
    return " with new episodes: the state of the old ones went with their processes, so the unbroken run would end elsewhere"


def _tell(config: "RunConfig") -> None:
    """What takes memory and time before anything is to be seen of a run."""
    from gpusim import checks
    from gpusim.agents.train import budget
    from gpusim.agents.train.environments import compiles, describe

    config.check()
    if hasattr(config, "memory"):
        console.say(f"replay of {config.memory}")
    console.say(f"memory: {budget.describe(config, describe(config.env), checks.device(config.device))}")
    if idle := getattr(config, "idle", None):
        console.warn(idle)
    if compiles(config.env, config.device, config.backend):
        console.say("compiling ...")


def _drive(learner: "Learner", folder: "RunFolder", seconds: float) -> int:
    """Runs the learner with display and folder, and says how it ended."""
    from gpusim.agents.app.display import Display
    from gpusim.agents.train.environments import remark
    from gpusim.agents.train.loop import run

    env, config = learner.env, learner.config
    console.say(
        f"{remark(env)}{learner.task.id}: {config.num_envs} environments, {env.backend} on {env.device}, "
        f"learning by {learner.path}; run folder {folder.path}"
    )
    try:
        try:
            with Display(config, learner.steps) as display:
                result = run(learner, (display, folder), seconds)
        finally:
            env.close()
    except NotFinite as error:
        raise folder.stop(error) from None
    except KeyboardInterrupt as stop:
        return _stopped(learner, folder, signals.exit_code(stop))
    if result.signal:
        code = _stopped(learner, folder, 128 + result.signal)
        with contextlib.suppress(KeyboardInterrupt):
            folder.close()
        return code
    return _finish(learner, folder, result.metrics[-1]["seconds"], result.metrics, result.ending == "target")


def _stopped(learner: "Learner", folder: "RunFolder", code: int) -> int:
    if folder.gone:
        console.say(f"stopped at step {learner.steps:,}; {folder.path} is no longer there to go on with")
        return code
    kept = folder.newest_iteration() * learner.config.steps_per_iteration
    of_it = "" if kept == learner.steps else f" (from step {kept:,}, the last that was kept)"
    console.say(f"stopped at step {learner.steps:,}; go on with: {_resume_command(folder)}{of_it}")
    return code


def _resume_command(folder: "RunFolder") -> str:
    from gpusim.agents.folder.code import named

    return f"gpusim resume {shlex.quote(str(folder.path))}{' --trust' if named(folder.config) else ''}"


def _finish(
    learner: "Learner", folder: "RunFolder", seconds: float, metrics: list[dict[str, float]], reached: bool
) -> int:
    """The closing evaluation; what comes of it is kept before it is said."""
    from gpusim.agents.train.evaluate import closing

    if reached:
        best, target = metrics[-1].get("return", math.nan), learner.config.target_return
        console.say(f"reached {best:.1f} (target {target:g}) in {seconds:.1f} s of training")
    try:
        result = closing(learner) | {"steps": learner.steps, "seconds": seconds}
        folder.close(result)
    except KeyboardInterrupt as stop:
        way = f"finish it with: {_resume_command(folder)}"
        way = f"{folder.path} is no longer there to go on with" if folder.gone else way
        console.say(f"stopped in the closing evaluation, after all {learner.steps:,} steps; {way}")
        return signals.exit_code(stop)
    threshold = learner.task.reward_threshold
    solved = "solved" if threshold is not None and result["mean"] >= threshold else "not solved"
    verdict = "" if threshold is None else f" ({solved}: {threshold:g} is asked)"
    console.say(
        f"after {learner.steps:,} steps and {seconds:.1f} s the policy's mode scores {result['mean']:.1f} "
        f"± {result['std']:.1f} over {result['episodes']} episodes{verdict}"
    )
    if folder.lost:
        lost = ", ".join(f"{what} ({why})" for what, why in folder.lost.items())
        console.warn(f"not everything of {folder.path} was written: {lost}.")
    return 1 if folder.lost else 0


# ------------------------------------------------------------------------------------------------------------ eval


def evaluation(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Eval:
        """Plays the policy of a run's newest checkpoint for whole episodes."""

        oracle: bool = False
        """Play in Gymnasium's own environment instead of gpusim's."""
        episodes: int = 100
        """How many."""
        seed: int = 1_000_000
        """Of the environments."""
        stochastic: bool = False
        """Draw actions from the policy instead of taking its mode."""
        device: str = "auto"
        """auto, cpu, cuda or cuda:N."""
        video: str | None = None
        """Film the first of the episodes: a file .mp4 or .gif."""
        video_envs: int = 1
        """How many of them, side by side."""
        video_seconds: float = 60.0
        """The film is no longer than this; it ends with the last episode."""
        video_steps: int | None = None
        """Nor than this many steps."""
        trust: bool = False
        """Run the code of somebody's own that the folder names, its environment's."""

    path, rest = _run_path(args, "eval")
    asked = options(Eval(), rest, f"gpusim eval {shlex.quote(path)}")
    _named(asked, "video")
    _require(rest, asked, video=("video_envs", "video_seconds", "video_steps"))
    from gpusim import checks
    from gpusim.agents.train.environments import on_host
    from gpusim.agents.train.evaluate import evaluate, evaluate_oracle, load_policy

    checks.positive("episodes", asked.episodes)
    policy = load_policy(path, not asked.stochastic, asked.device, asked.trust, console.warn)
    if policy.threads:
        import torch

        torch.set_num_threads(policy.threads)
    if asked.video and (code := _film(policy, asked)):
        return code
    if asked.oracle:
        import gymnasium

        where = f"Gymnasium {gymnasium.__version__}'s {policy.env.id}"
        scores = evaluate_oracle(policy, policy.env.id, asked.episodes, checks.seed(asked.seed))
    else:
        where = policy.env.id if on_host(policy.env) else f"gpusim's {policy.env.id}"
        scores = evaluate(policy, policy.env, asked.episodes, checks.seed(asked.seed), asked.device)
    spread = float(scores.std()) if len(scores) > 1 else 0.0
    print(
        f"{where}: {float(scores.mean()):.2f} ± {spread:.2f} over {len(scores)} episodes "
        f"(least {float(scores.min()):.2f}, greatest {float(scores.max()):.2f})"
    )
    return 0


def _film(policy: "Loaded", asked: Any) -> int:
    """The exit code; after Ctrl-C there is no video."""
    from gpusim import checks
    from gpusim.agents.app.film import record

    num_envs, steps = checks.positive("video_envs", asked.video_envs), asked.video_steps
    if steps is not None:
        checks.positive("video_steps", steps)
    if not asked.video_seconds > 0:
        raise InputError(f"video_seconds must be positive, not {asked.video_seconds!r}.")
    if asked.oracle:
        raise InputError("--video films the environment that was learned: leave --oracle out.")
    terminal = sys.stdout.isatty()

    def progress(done: int, most: int) -> None:
        if terminal:
            print(f"\rfilming: frame {done:,} of at most {most:,}", end="", flush=True)

    try:
        frames, returns = record(
            policy, asked.video, num_envs, checks.seed(asked.seed), steps, asked.video_seconds, asked.device, progress
        )
    except KeyboardInterrupt as stop:
        print("\nstopped: no video was written")
        return signals.exit_code(stop)
    print("\r\033[K" if terminal else "", end="")
    print(f"{asked.video}: {frames:,} frames, returns {', '.join(f'{r:.4g}' for r in returns.tolist())}", flush=True)
    return 0


# ------------------------------------------------------------------------------------------------------------ plot


def plot(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Plot:
        """Draws learning curves: runs that differ in their seed alone become one line with its interval."""

        out: str | None = None
        """File to write, .png, .pdf or .svg; None: curves.png, or trajectory.png."""
        x: typing.Literal["steps", "seconds", "iterations"] = "steps"
        """What the curves are drawn against."""
        metric: str = "return"
        """Any name that metrics.jsonl has."""
        trajectory: bool = False
        """Draw an episode of one run's policy instead: state and action against time."""
        seed: int = 1_000_000
        """Of that episode."""
        trust: bool = False
        """For that episode, run the code of somebody's own that the folder names, its environment's."""

    paths = list(itertools.takewhile(lambda word: not word.startswith("-"), args))
    if not paths:
        _run_path(args, "plot")
    asked = options(Plot(), args[len(paths) :], "gpusim plot RUN ...")
    _named(asked, "out")
    _require(args[len(paths) :], asked, trajectory=("seed", "trust"))
    from gpusim.agents.app.plot import compare
    from gpusim.agents.folder.drawing import save

    if asked.trajectory:
        if len(paths) > 1:
            refuse("--trajectory draws one run: gpusim plot runs/... --trajectory")
        from gpusim import checks
        from gpusim.agents.app import trajectory
        from gpusim.agents.train.evaluate import load_policy

        policy = load_policy(paths[0], True, "cpu", asked.trust, console.warn)
        notes: list[str] = []
        figure = trajectory.picture(trajectory.play(policy, checks.seed(asked.seed)), policy.env)
    else:
        figure, notes = compare(paths, asked.x, asked.metric)
    out = asked.out or ("trajectory.png" if asked.trajectory else "curves.png")
    save(figure, out)
    print("\n".join([*notes, f"drawn: {out}"]))
    return 0


# ----------------------------------------------------------------------------------------------------------- others


def envs(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Envs:
        """Lists the environments."""

    options(Envs(), args, "gpusim envs")
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    import gpusim

    heads = (Column("id", no_wrap=True), "observation", "action", "time limit", "solved at")
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in gpusim.env_ids():
        env = gpusim.spec(name)
        action = str(env.action_space.n) + " choices" if hasattr(env.action_space, "n") else str(env.action_space.shape)
        threshold = "" if env.reward_threshold is None else f"{env.reward_threshold:g}"
        table.add_row(name, str(env.observation_space.shape), action, str(env.max_episode_steps or ""), threshold)
    Console().print(table)
    print("Any other id of Gymnasium's (LunarLander-v3, ALE/Pong-v5, ...) is stepped on the host.")
    print("One's own is named with the file or module that registers it: path/to/mine.py:Mine-v0, mine:Mine-v0.")
    return 0


def bench(args: list[str]) -> int:
    from gpusim.agents.bench.command import BenchConfig, bench

    envs = list(itertools.takewhile(lambda word: not word.startswith("-"), args))
    default = BenchConfig(env=tuple(envs)) if envs else BenchConfig()
    result = bench(options(default, args[len(envs) :], "gpusim bench", hidden=("env",)))
    if result.get("interrupted"):
        return 130
    return 0 if any("not_measured" not in row for row in result["rows"]) else 1


def info(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Info:
        """Tells what this machine has and which backends work on it."""

    options(Info(), args, "gpusim info")
    from gpusim.agents.app.info import main

    main()
    return 0


def options(default: Any, args: list[str], program: str, hidden: tuple[str, ...] = ()) -> Any:
    """The dataclass `default` with what the command line changes; fields `hidden` are no options."""
    import tyro

    from gpusim.agents.app.refusals import in_a_sentence

    cls: Any = type(default)
    if hidden:
        types = typing.get_type_hints(cls)
        fields = [(n, Annotated[types[n], tyro.conf.Suppress], dataclasses.field(default=None)) for n in hidden]
        cls = dataclasses.make_dataclass(cls.__name__, fields, bases=(cls,), frozen=True, kw_only=True)
        cls.__doc__ = type(default).__doc__
    given = {f.name: getattr(default, f.name) for f in dataclasses.fields(default)}
    if "--" in args:
        refuse("a -- alone has no meaning here: leave it out.")
    with in_a_sentence(program):
        parsed = tyro.cli(cls, args=args, default=cls(**given), prog=program, registry=_whole_numbers())
    return type(default)(**{f.name: getattr(parsed, f.name) for f in dataclasses.fields(default)})


def _whole_numbers() -> Any:
    """How tyro reads whole numbers: as `gpusim.agents.train.ranges.whole` does."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    from gpusim.agents.train.ranges import whole

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
        if info.type is not int:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="INT",
            instance_from_str=lambda words: whole(words[0]),
            is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
            str_from_instance=lambda value: [str(value)],
        )

    return registry


def _run_path(args: list[str], command: str) -> tuple[str, list[str]]:
    if args and not args[0].startswith("-"):
        return args[0], args[1:]
    if {"-h", "--help"} & set(args):
        return "RUN", ["--help"]
    refuse(f"{command} needs a run folder: gpusim {command} runs/...")
    raise AssertionError


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "resume": resume,
    "eval": evaluation,
    "plot": plot,
    "envs": envs,
    "bench": bench,
    "info": info,
}
