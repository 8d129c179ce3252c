"""What a field of a configuration may be: said beside the field, as part of its type, and held against its value here."""

import functools
import math
import os
import re
import types
import typing
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch

from gpusim.errors import InputError, told

LARGEST = 2**62  # whole number, whose sums fit into 64 bits


class Range(NamedTuple):
    """Finite numbers between two bounds, which belong to it."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # whether `low` itself is too small

    def __repr__(self) -> str:
        """As the documentation has it, beside the type."""
        return self.said(0).removeprefix("be ").removeprefix("lie ")

    def holds(self, value: float) -> bool:
        return abs(value) != math.inf and self.low <= value <= self.high and not (self.above and value == self.low)

    def said(self, value: float) -> str:
        if self.high == LARGEST:
            return f"be at most {self.high}" if value > self.high else f"be at least {self.low}"
        if self.above:
            return "be positive" + ("" if self.high == math.inf else f" and at most {self.high}")
        if self.high < math.inf:
            return f"lie between {self.low} and {self.high}"
        return "be a number" if self.low == -math.inf else f"be at least {self.low}"


class OneOf(NamedTuple):
    """Words."""

    words: tuple[str, ...]

    def __repr__(self) -> str:
        return either(self.words)

    def holds(self, value: str) -> bool:
        return value in self.words

    def said(self, value: str) -> str:
        return f"be {either(self.words)}"


Count = Annotated[int, Range(1, LARGEST)]
Natural = Annotated[int, Range(0, LARGEST)]
Number = Annotated[float, Range()]
Positive = Annotated[float, Range(0, above=True)]
Rate = Annotated[float, Range(0, 10, above=True)]  # of Adam, which moves every weight by about that much
Passes = Annotated[int, Range(1, 100_000)]
Share = Annotated[float, Range(0.0, 1.0)]
Weight = Annotated[float, Range(0)]

KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "None"}


def either(words: tuple[str, ...]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def hints(config: Any) -> dict[str, Any]:
    """The types of a dataclass's fields, with what is said beside them."""
    cls: Any = type(config)
    return _hints(cls)


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def normalized(value: Any, hint: Any) -> Any:
    """`value` in Python's own types: 1e6 where a whole number is meant is 1000000, a list where a tuple is, is one."""
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, tuple):
        each = next((typing.get_args(h)[0] for h in _alternatives(hint) if typing.get_origin(h) is tuple), Any)
        return tuple(normalized(x, each) for x in value)
    kinds = [_plain(h)[0] for h in _alternatives(hint)]
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        return int(value)
    if type(value) is int and float in kinds and int not in kinds and abs(value) < 2**63:
        return float(value)
    return value


def check_fields(config: Any, but: tuple[str, ...] = ()) -> None:
    """Raises InputError where a field, other than those in `but`, is not of its type, or out of its range."""
    for name, hint in hints(config).items():
        if name not in but:
            check_field(name, getattr(config, name), hint)


def check_field(name: str, value: Any, hint: Any) -> None:
    """Raises InputError where `value` is not of the type `hint`, or out of its range."""
    kinds = list(map(_plain, _alternatives(hint)))
    for kind, limits in kinds:
        if _is(value, kind):
            for limit in limits:
                if not limit.holds(value):
                    open_end = kind is float and not math.isfinite(value) and limit.high == math.inf
                    also = " and be finite" if open_end else ""
                    raise InputError(f"{name} must {limit.said(value)}{also}, not {told(value)}.")
            if isinstance(value, tuple):
                _check_each(name, value, kind)
            return
    allowed = either(tuple(dict.fromkeys(_word(kind) for kind, _ in kinds)))
    raise InputError(f"{name} must be {allowed}, not {told(value)}.")


def _check_each(name: str, value: tuple, kind: Any) -> None:
    each = typing.get_args(kind)[0]
    try:
        for x in value:
            check_field(name, x, each)
        refused = not value
    except InputError:
        refused = True
    if refused:
        raise InputError(f"{name} must be positive {'widths' if name == 'hidden' else 'numbers'}, not {told(value)}.")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return (
        typing.get_args(hint)
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
        else (hint,)
    )


def _plain(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type, and the limits that are annotated to it."""
    if typing.get_origin(hint) is not Annotated:
        return hint, ()
    kind, *notes = typing.get_args(hint)
    return kind, tuple(n for n in notes if isinstance(n, Range | OneOf))


def _is(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple)
    if kind is bool:
        return isinstance(value, bool)
    return isinstance(value, kind) and not isinstance(value, bool)


def _word(kind: Any) -> str:
    return "several numbers" if typing.get_origin(kind) is tuple else KINDS.get(kind, str(kind))


SUFFIX = {"k": 10**3, "M": 10**6, "G": 10**9, "": 1}


def whole(text: str) -> int:
    """The whole number that `text` writes: 4096, 4_096, 1e6, 100k, 2.5M.

    Raises:
        ValueError: it writes none.
    """
    found = re.fullmatch(r"([+-]?[\d_.]+(?:[eE]\+?\d{1,2})?)([kMG]?)", text.strip())
    try:
        number = Decimal(found[1]) * SUFFIX[found[2]] if found else Decimal("nan")
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or number != int(number):
        raise ValueError(f"{text!r} is no whole number: write it as 4096, 1e6, 100k or 2M")
    return int(number)
