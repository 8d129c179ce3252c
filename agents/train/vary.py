"""What a setting is varied over, as it is written: `1e-4..1e-2`, `log:1e-4..1e-2`, `16,32,64`."""

import math
import re
from typing import NamedTuple

from gpusim.agents.train.ranges import whole
from gpusim.errors import InputError

SPAN = re.compile(r"(log:)?([^.]\S*?|\.\d\S*?)\.\.(\S+)")
FORMS = "a span a..b, a span by its logarithm log:a..b, or several values a,b,c"


class Span(NamedTuple):
    """Numbers from `low` to `high`, both included; whole ones where both are written so."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)


class Choice(NamedTuple):
    """One of several values, as the command line would be given them."""

    values: tuple[str, ...]


def read(name: str, text: str) -> Span | Choice:
    """What `name` is varied over.

    Raises:
        InputError: that is not one of the forms, or leaves nothing to choose.
    """
    if match := SPAN.fullmatch(text):
        return _span(name, text, *match.groups())
    values = tuple(value.strip() for value in text.split(","))
    if len(set(values)) < 2 or not all(values):
        raise InputError(f"{name} cannot be varied over {text!r}: give {FORMS}.")
    return Choice(values)


def _span(name: str, text: str, log: str | None, *ends: str) -> Span:
    try:
        low, high = map(_number, ends)
    except ValueError:
        raise InputError(f"{name} cannot be varied over {text!r}: its ends must be numbers.") from None
    if not low < high:
        raise InputError(f"{name} cannot be varied over {text!r}: the first number must be the smaller one.")
    if log and low <= 0:
        raise InputError(f"{name} cannot be varied over {text!r}: a logarithm needs numbers above 0.")
    return Span(low, high, bool(log))


def _number(text: str) -> float:
    """Raises ValueError."""
    try:
        if "." not in text and "e-" not in text.lower():
            return whole(text)
    except ValueError:
        pass
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
