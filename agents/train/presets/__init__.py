"""Settings by environment and algorithm, which a `Config` takes; what is not named here is the algorithm's default.

A file here is an environment's, by its id, or a family's, by what stands before the slash; a table in it is an algorithm's.
An environment of a family differs from that by what its own file names.
A table within an algorithm's is a variant, which `preset` names: that of `any.toml` first, then the environment's own.
From MANY environments on its table `many` takes the place of what it names, and that of `any.toml` before it. Then an
iteration makes the same updates whatever `num_envs`, of minibatches that grow with it, so a preset lasts for a number of
`iterations`: `total_steps` follows. Of learners from a replay it says how many `updates` an iteration makes, and how many
iterations are `kept` and go `before`. All were seen to work, but where a file says otherwise. `expected_return` is no
setting: the mean return that the policy's mode is expected to reach, which `benchmarks/ten_seeds.py` looks at.
"""

import functools
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

from gpusim import source
from gpusim.adapters.gymnasium_host import is_atari

MANY = 512
ITERATIONS = {"iterations": "total_steps", "before": "learning_starts", "kept": "capacity"}  # numbers of them, as steps
C = TypeVar("C", bound=type)
Table = dict[str, Any]


def by_env(cls: C) -> C:
    """Decorates a `Config`: what it is not given comes from the preset of its environment, then from the class."""
    algorithm, init = cls.__module__.rpartition(".")[2], cls.__init__  # type: ignore[misc]

    @functools.wraps(init)
    def with_preset(self: Any, **given: Any) -> None:
        env = given.get("env", cls.env)  # type: ignore[attr-defined]
        name = source.name(env).removeprefix("gpusim/") if isinstance(env, str) else getattr(env, "id", "")
        init(self, **settings(algorithm, name, given) | given)

    cls.__init__ = with_preset  # type: ignore[misc]
    return cls


def settings(algorithm: str, env: str, asked: Table) -> Table:
    """The preset by field; it depends on the `num_envs` and `num_steps` that are `asked` for."""
    values = dict(tables(env).get(algorithm, {}))
    values.pop("expected_return", None)
    variants = {name: values.pop(name) for name in list(values) if isinstance(values[name], dict)}
    for name, table in _table("any").get(algorithm, {}).items():
        variants[name] = table | variants.get(name, {})
    many = variants.pop("many", {})
    values |= variants.get(str(asked.get("preset")), {})
    num_envs = _count(asked.get("num_envs"), 0)
    if not many or num_envs < MANY:
        return values
    values |= many
    steps = num_envs * _count(asked.get("num_steps"), values["num_steps"])
    sizes = {field: steps * values.pop(name) for name, field in ITERATIONS.items() if name in values}
    ratio = {"replay_ratio": values.pop("updates") / steps} if "updates" in values else {}
    return values | sizes | ratio


def expected_returns() -> dict[tuple[str, str], float]:
    """By algorithm and environment, of the presets that say so."""
    found = [(algorithm, env, table) for env in names() for algorithm, table in _table(env).items()]
    return {(algorithm, env): table["expected_return"] for algorithm, env, table in found if "expected_return" in table}


def tables(env: str) -> Table:
    """Those by algorithm of the environment's family, and over them its own; empty where there is no file of either."""
    family = "ALE" if is_atari(env) else env.partition("/")[0]
    found = [_table(name) for name in dict.fromkeys((family, env)) if name in names()]
    algorithms = dict.fromkeys(algorithm for table in found for algorithm in table)
    return {name: functools.reduce(dict.__or__, (table.get(name, {}) for table in found)) for name in algorithms}


@functools.cache
def names() -> tuple[str, ...]:
    """Environments and families that have a file."""
    return tuple(sorted(set(_names(files(__name__))) - {"any"}))


def _names(folder: Traversable, before: str = "") -> Iterator[str]:
    for file in folder.iterdir():
        if file.is_dir():
            yield from _names(file, f"{file.name}/")
        elif file.name.endswith(".toml"):
            yield before + file.name.removesuffix(".toml")


@functools.cache
def _table(name: str) -> Table:
    return _with_tuples(tomllib.loads((files(__name__) / f"{name}.toml").read_text()))


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_tuples(x) for name, x in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _count(value: Any, otherwise: int) -> int:
    """`value`, if it is a whole number; anything else is refused later, in a sentence."""
    return int(value) if isinstance(value, int | float) and value == value // 1 else otherwise
