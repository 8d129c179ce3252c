"""Where an environment's function gives a number, the function that gives a lane, for every backend alike.

It is written in the words of `gpusim.kernels.lang` around the author's, so it is lowered as that is.
"""

import hashlib
import linecache
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from gpusim.kernels import lang

WORDS = ("false_like", "slots", "sum_", "to_float", "to_int", "zeros_like")
DTYPES = {bool: torch.bool, int: torch.int32, float: torch.float32}  # of the lane that a number becomes


class Field(NamedTuple):
    """What a field of a State is."""

    dtype: torch.dtype
    width: int  # entities; 0: a lane


class Numbers(NamedTuple):
    """Where a definition gives numbers: what they are to become."""

    init: dict[str, Field]  # fields of the State, by name
    step: dict[str, Field]
    reward: bool
    terminated: bool
    observe: tuple[int, ...]  # entries of the observation
    picture: torch.dtype | None  # of an image whose cells do not cover all environments and cells


def filled(env: Any, state: Any, fields: dict[str, Field], numbers: Numbers) -> dict[str, Callable]:
    """The functions of `env`, by name, that differ; `state` is its State's class."""
    first = min(fields, key=lambda name: fields[name].width)
    like = f"sum_(state.{first})" if fields[first].width else f"state.{first}"
    changed = {}
    if numbers.init:
        lanes = {name: _begun(f"new.{name}", field) for name, field in numbers.init.items()}
        changed["init"] = filled_init(env.init, state, lanes)
    if numbers.step or numbers.reward or numbers.terminated:
        act = "action" if not env.action_space.shape or env.action_space.shape == (1,) else "action[0]"
        rewarded = f"to_float(zeros_like({act})) + reward" if numbers.reward else "reward"
        over = f"false_like({act}) != terminated" if numbers.terminated else "terminated"
        lanes = {name: _like(f"state.{name}", f"new.{name}", field) for name, field in numbers.step.items()}
        changed["step"] = filled_step(env.step, state, lanes, rewarded, over)
    if numbers.observe:
        entries = ", ".join(
            f"to_float(zeros_like({like})) + seen[{i}]" if i in numbers.observe else f"seen[{i}]"
            for i in range(env.observation_space.shape[0])
        )
        changed["observe"] = filled_observe(env.observe, "state, params", f"{entries},")
    if numbers.picture:
        cells = {
            torch.bool: f"(false_like({like}) & (cell < 0)) != seen",
            torch.float32: f"to_float(zeros_like({like})) * to_float(cell) + seen",
        }.get(numbers.picture, f"to_int(zeros_like({like})) * cell + seen")
        changed["observe"] = filled_observe(env.observe, "state, cell, params", cells)
    return changed


def _begun(value: str, field: Field) -> str:
    like = "rng.episode" if field.dtype == torch.int64 else "rng.env"
    if field.width:
        like = f"(slots(rng.env, {field.width}) + zeros_like({like})[:, None])"
    return _like(like if field.dtype in (torch.bool, torch.int64) else f"{_cast(field)}({like})", value, field)


def _cast(field: Field) -> str:
    return "to_float" if field.dtype == torch.float32 else "to_int"


def _like(lane: str, value: str, field: Field) -> str:
    return f"false_like({lane}) != {value}" if field.dtype == torch.bool else f"zeros_like({lane}) + {value}"


def filled_init(given: Callable, state: Any, lanes: dict[str, str]) -> Callable:
    body = f"    new = given(rng, params)\n    return {_state(state, lanes)}\n"
    return _written(filled_init, f"def init(rng, params):\n{body}", given, state, lanes)


def filled_step(given: Callable, state: Any, lanes: dict[str, str], reward: str, terminated: str) -> Callable:
    body = (
        "    new, reward, terminated = given(state, action, rng, params)\n"
        f"    return {_state(state, lanes)}, {reward}, {terminated}\n"
    )
    source = f"def step(state, action, rng, params):\n{body}"
    return _written(filled_step, source, given, state, lanes, reward, terminated)


def filled_observe(given: Callable, arguments: str, seen: str) -> Callable:
    body = f"    seen = given({arguments})\n    return {seen}\n"
    return _written(filled_observe, f"def observe({arguments}):\n{body}", given, arguments, seen)


def _state(state: Any, lanes: dict[str, str]) -> str:
    if not lanes:
        return "new"
    return f"State({', '.join(lanes.get(name, f'new.{name}') for name in state._fields)})"


def _written(maker: Callable, source: str, given: Callable, *args: Any) -> Callable:
    """The function of that source, which `inspect` finds, as Triton reads that."""
    file = f"<lanes {hashlib.sha256(source.encode()).hexdigest()[:16]}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    scope = {name: getattr(lang, name) for name in WORDS}
    scope |= {"given": given, "State": args[0], "__name__": __name__}
    exec(compile(source, file, "exec"), scope)
    function: Any = scope[source[4 : source.index("(")]]
    function.recipe = (maker, (given, *args))
    function.unshaped = getattr(given, "unshaped", given)
    return function


class Recipe(NamedTuple):
    """How a function was made of others: pickled in its place, as it has no name in a module."""

    maker: Callable
    args: tuple

    def follow(self) -> Callable:
        return self.maker(*(x.follow() if isinstance(x, Recipe) else x for x in self.args))


class Later:
    """An attribute that may be set to a `Recipe`: who reads it gets what that makes, which is made once."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            raise AttributeError(self.name)  # as of an attribute that a class only announces
        value = vars(owner)[self.name]
        if isinstance(value, Recipe):
            value = vars(owner)[self.name] = value.follow()
        return value

    def __set__(self, owner: Any, value: Any) -> None:
        vars(owner)[self.name] = value


def recipe(value: Any) -> Any:
    """The `Recipe` of a function that has one; anything else as it is."""
    made = getattr(value, "recipe", None)
    return Recipe(made[0], tuple(map(recipe, made[1]))) if made else value
