"""The rounds of a loop on symbols: a block of C++ that is run again and again, or, of few expressions, code for each round.

The body is run once, on names that C++ assigns anew at the end of each round. Where that cannot be, as where the loop's
variable is an index or a value is of another kind from round to round, the rounds follow one another in the code.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gpusim.kernels.lang_native import KINDS, TYPES, Code, Lane, Number, Symbol, number_text, written

SHORT = 1000  # expressions, up to which the rounds are unrolled
LANES_OF = {"d": "f", "n": "il", "bool": "b"}  # what a number that comes into a loop may be a lane of in it


class Missing:
    """The value of a name that has none."""


MISSING = Missing()


class Unsteady(Exception):
    """A value is not of one kind in all rounds, or is a number that is wanted after them."""


def rounds(
    over: range, body: Callable, given: tuple[str, ...], names: tuple[str, ...], read: tuple[str, ...], scope: dict
) -> tuple:
    """The values of `names` after a loop.

    Args:
        body: of the loop's variable and of the names in `given`, with which `names` begin.
        read: those of them that are used outside of the loop.
        scope: what names stand for before it.
    """
    values = tuple(scope.get(name, MISSING) for name in names)
    code = next((made for value in scope.values() for x in _leaves(value) if (made := _code(x))), None)
    for k, i in enumerate(over):
        if code is not None and len(code.parts) == 1 and k < 2 and len(over) - k > 1:
            try:
                return _Loop(code, over[k:], body, len(given), [name in read for name in names]).of(values)
            except Exception:  # one more round follows in the code; where it fails too, it is told
                pass
        values = body(i, *values[: len(given)])
    return values


class Kind(NamedTuple):
    """What a value is in every round."""

    dtype: str
    shape: tuple[int, ...] | None  # None: of a number

    @classmethod
    def of(cls, x: Any) -> "Kind":
        if isinstance(x, Lane) and len({symbol.dtype for symbol in x.symbols.flat}) == 1:
            return cls(x.first.dtype, x.shape)
        if isinstance(x, Number):
            return cls(x.symbol.dtype, None)
        if type(x) in (bool, int, float):
            return cls({bool: "bool", int: "n", float: "d"}[type(x)], None)
        raise Unsteady

    def named(self, code: Code) -> Lane | Number:
        """Variables of C++ that hold such a value."""
        if self.shape is None:
            return Number(Symbol(code, code.named("x"), self.dtype))
        symbols = np.empty(self.shape, object)
        for place in np.ndindex(self.shape):
            symbols[place] = Symbol(code, code.named("x"), self.dtype)
        return Lane(symbols)

    def texts(self, x: Any) -> list[str]:
        """A value as C++, one for each variable."""
        if self.shape is None:
            return [number_text(x)]
        if not isinstance(x, Lane):
            return [written(x, self.dtype)] * int(np.prod(self.shape))
        return [written(symbol, self.dtype) for symbol in x.symbols.flat]

    @property
    def type(self) -> str:
        return KINDS[self.dtype] if self.shape is None else TYPES[self.dtype]


class _Slot:
    """A lane or a number that comes into a loop, perhaps as another in each round."""

    def __init__(self, before: Any):
        self.before = before
        self.kind = Kind.of(before) if isinstance(before, Lane) else None  # None: it stays what it is
        self.held: Any = before

    def enter(self, code: Code) -> Any:
        self.held = self.kind.named(code) if self.kind else self.before
        return self.held

    def unsettled(self, after: Any) -> bool:
        """Whether it has to come in as something else, so that it may go out as this."""
        if self.kind is None and (self.before is MISSING or _equal(self.before, after)):
            return False
        found, number = Kind.of(after), None if isinstance(self.before, Lane) else Kind.of(self.before)
        if found == self.kind:
            return False
        if number is None or not (
            found.dtype in LANES_OF[number.dtype] if found.shape else found == number != Kind("bool", None)
        ):
            raise Unsteady
        self.kind = found
        return True


class _Loop:
    def __init__(self, code: Code, over: range, body: Callable, given: int, read: list[bool]):
        self.code, self.over, self.body, self.given, self.read = code, over, body, given, read
        self.declared: list[str] = []
        self.assigned: list[tuple[str, str, str]] = []  # type, name and value at the end of a round

    def of(self, values: tuple) -> tuple:
        """What it makes of values."""
        entering = values[: self.given]
        slots = [_Slot(x) for value in entering for x in _leaves(value)]
        while True:
            with self.code.block():
                counter = Number(Symbol(self.code, self.code.named("n"), "n"))
                inside = iter([slot.enter(self.code) for slot in slots])
                given = [_rebuilt(x, inside) for x in entering]
                made = self.body(counter, *given)
                lines, weight = self.code.parts[0], self.code.weight
            leaving = [x for old, new in zip(entering, made, strict=False) for x in _beside(old, new)]
            if not sum(slot.unsettled(x) for slot, x in zip(slots, leaving, strict=True)):
                break
        if weight * len(self.over) <= SHORT:
            for i in self.over:
                values = self.body(i, *values[: self.given])
            return values
        held = [*given, *[MISSING] * (len(made) - self.given)]
        results = [self._after(*each) for each in zip(held, made, self.read, strict=True)]
        for slot, x in zip(slots, leaving, strict=True):
            if slot.kind:
                self._assign(slot.kind, slot.held, slot.kind.texts(slot.before), x)
        self._write(counter.symbol.text, lines, weight)
        return tuple(results)

    def _after(self, held: Any, made: Any, wanted: bool) -> Any:
        """The value of a name after the last round, with which it goes into the next, or leaves one if it goes into none."""
        values = iter([self._left(x, wanted, held is MISSING) for x in _leaves(made if held is MISSING else held)])
        return _rebuilt(made if held is MISSING else held, values)

    def _left(self, x: Any, wanted: bool, new: bool) -> Any:
        if isinstance(x, Number):
            if wanted:
                raise Unsteady
            return MISSING
        if not (new and isinstance(x, Lane)):
            return x
        kind = Kind.of(x)
        variables = kind.named(self.code)
        self._assign(kind, variables, ["{}"] * x.symbols.size, x)
        return variables

    def _assign(self, kind: Kind, variables: Any, before: list[str], after: Any) -> None:
        for name, first, then in zip(kind.texts(variables), before, kind.texts(after), strict=True):
            self.declared.append(f"{kind.type} {name} = {first};")
            self.assigned.append((kind.type, name, then))

    def _write(self, counter: str, lines: list[str], weight: int) -> None:
        over, names = self.over, {name for _, name, _ in self.assigned}
        shared = [
            (kind, name, value) for kind, name, value in self.assigned if value in names
        ]  # which change themselves
        copies = [f"const {kind} {name}_ = {value};" for kind, name, value in shared]
        stores = [f"{name} = {f'{name}_' if value in names else value};" for _, name, value in self.assigned]
        until = f"{counter} {'<' if over.step > 0 else '>'} {over.stop}"
        head = f"for (int64_t {counter} = {over.start}; {until}; {counter} += {over.step}) {{"
        self.code.parts[0] += [*self.declared, head, *(f"    {x}" for x in [*lines, *copies, *stores]), "}"]
        self.code.weight += len(over) * weight


def _equal(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int | float | str) and repr(a) == repr(b))


def _code(x: Any) -> Code | None:
    return x.first.code if isinstance(x, Lane) else x.symbol.code if isinstance(x, Number) else None


def _leaves(value: Any) -> list:
    return [x for part in value for x in _leaves(part)] if isinstance(value, tuple) else [value]


def _rebuilt(like: Any, leaves: Iterator) -> Any:
    if not isinstance(like, tuple):
        return next(leaves)
    parts = [_rebuilt(part, leaves) for part in like]
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


def _beside(old: Any, new: Any) -> list:
    """What has become of the leaves of a value."""
    if not isinstance(old, tuple):
        if isinstance(new, tuple) and old is not MISSING:
            raise Unsteady
        return [new]
    if type(old) is not type(new) or len(old) != len(new):
        raise Unsteady
    return [x for pair in zip(old, new, strict=True) for x in _beside(*pair)]
