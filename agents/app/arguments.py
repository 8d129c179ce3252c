"""The words after a command: its options by tyro, and what is asked of them beside their types."""

import argparse
import contextlib
import dataclasses
import typing
from collections.abc import Callable
from typing import Annotated, Any

from gpusim.errors import InputError


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


def settings(
    algorithm: str, env: str, args: list[str], program: str, beside: Callable[[Any], Any] = lambda config: config
) -> Any:
    """The configuration of a run: the preset for that environment with what the command line changes.

    Args:
        beside: puts options of the command itself beside those of the configuration.
    """
    from gpusim.agents.train.run import preset

    default = preset(algorithm, env, **deciding(args, preset(algorithm, env)))
    config = options(beside(default), args, program, hidden=("env",))
    named(config, "run_dir", "script")
    script = ("script_start", "script_end", "script_until")
    require(args, config, script=script, prioritized=("alpha", "beta"), atoms=("v_min", "v_max"))
    return config


def deciding(args: list[str], config: Any) -> dict[str, Any]:
    """The flags that the defaults of others depend on; one that is no number is left for `options` to refuse."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in (n for n in ("num_envs", "num_steps", "preset") if hasattr(config, n)):
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", nargs="?", default="")
    from gpusim.agents.train.ranges import whole

    given = vars(parser.parse_known_args(args)[0])
    deciding = dict[str, Any]({"preset": given.pop("preset")} if given.get("preset") else {})
    for name, text in given.items():
        with contextlib.suppress(ValueError):
            deciding[name] = whole(text or "")
    return deciding


def run_path(args: list[str], command: str) -> tuple[str, list[str]]:
    if args and not args[0].startswith("-"):
        return args[0], args[1:]
    if {"-h", "--help"} & set(args):
        return "RUN", ["--help"]
    refuse(f"{command} needs a run folder: gpusim {command} runs/...")
    raise AssertionError


def named(asked: Any, *names: str) -> None:
    """Raises InputError where one of these is the empty word, which names no file."""
    for name in names:
        if getattr(asked, name, None) == "":
            refuse(f"--{name.replace('_', '-')} needs a name, not ''.")


def require(args: list[str], asked: Any, **needs: tuple[str, ...]) -> None:
    """Raises InputError where an option is given without the one that gives it its meaning."""
    given = {field(word) for word in args if word.startswith("--")}
    for need, names in needs.items():
        value = getattr(asked, need, None)
        without = value == 1 if need == "atoms" else not value
        if lame := [name for name in names if name in given and without]:
            refuse(f"--{lame[0].replace('_', '-')} has no effect without --{need.replace('_', '-')}.")


def field(flag: str) -> str:
    return flag.partition("=")[0].removeprefix("--").replace("-", "_")


def refuse(sentence: str) -> None:
    raise InputError(sentence)
