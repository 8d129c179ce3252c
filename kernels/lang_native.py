"""The words of `gpusim.kernels.lang` on symbols: a function that is run once on them becomes C++ of `lang_native.h`.

A `Lane` is one environment's value as an array of symbols, `[1]`, or `[1, K]` of entities, so that entities are unrolled and
broadcast as they do in NumPy. A symbol is a name in the code that its `Code` collects, line by line, each expression once.
"""

import collections
import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gpusim.kernels import lang
from gpusim.kernels.lang import BLOCKS

TYPES = {"f": "F", "i": "I", "l": "L", "w": "U", "b": "I"}
"""Of a dtype in C++: float32, int32, int64, a random word (an int64 in [0, 2**32)), bool (all bits of an I)."""
RANK = "bilwf"
KINDS = {"n": "int64_t", "d": "double"}
"""Of a number that is another in each round of a loop: an int, a float."""
NAMES = {"float32": "f", "int32": "i", "int64": "l", "bool": "b"}


NUMBER = re.compile(r"(\d+)(?:\[\d+\])?$")
"""That a name ends with."""


class Symbol(NamedTuple):
    code: "Code"
    text: str
    dtype: str
    top: int = 2**32 - 1  # of a word: the greatest it can be


class Around(NamedTuple):
    """What is kept of a block while one in it is being written."""

    lines: list[str]
    known: collections.ChainMap[tuple[str, str], Symbol]
    weight: int
    first: int


class Code:
    """Lines of C++ that are being written.

    Args:
        prefix: of the names in it.
        place: which part of the code an expression goes to, by the symbols in it; for code of one part, always 0.
    """

    def __init__(self, prefix: str, place: Callable[[str], int] = lambda text: 0, parts: int = 1):
        self.prefix, self.place = prefix, place
        self.parts: list[list[str]] = [[] for _ in range(parts)]
        self.known: collections.ChainMap[tuple[str, str], Symbol] = (
            collections.ChainMap()
        )  # of this block, of those around
        self.weight = 0  # how many expressions are computed in this block, each as often as it is
        self.count = 0
        self.around: list[Around] = []  # the blocks around this one, from the outermost on
        self.first = 0  # number of the first name in this block

    def put(self, text: str, dtype: str, top: int = 2**32 - 1) -> Symbol:
        """The symbol of an expression."""
        symbol = self.known.get((text, dtype))
        if symbol is None:
            part = self.place(text)
            symbol = Symbol(self, self.named(f"{part}_"), dtype, top)
            self.parts[part].append(f"const {(TYPES | KINDS)[dtype]} {symbol.text} = {text};")
            self.known[text, dtype] = symbol
            self.weight += 1
        return symbol

    def named(self, kind: str) -> str:
        """A name that is not taken."""
        self.count += 1
        return f"{self.prefix}{kind}{self.count - 1}"

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """What is put meanwhile is known in there alone, and lost unless somebody takes the lines and their weight."""
        before = Around(self.parts[0], self.known, self.weight, self.first)
        self.around.append(before)
        self.parts[0], self.known, self.weight, self.first = [], self.known.new_child(), 0, self.count
        try:
            yield
        finally:
            self.parts[0], self.known, self.weight, self.first = before
            self.around.pop()

    def array(self, symbols: list[Symbol]) -> str:
        """The name of an array of them, which is filled before the loops that change none of them."""
        newest = max(int(number[1]) if (number := NUMBER.search(x.text)) else 0 for x in symbols)
        blocks = [*self.around, Around(self.parts[0], self.known, self.weight, self.first)]
        lines, known, *_ = next((b for b in reversed(blocks) if newest >= b.first), blocks[0])
        dtype, texts = symbols[0].dtype, ", ".join(symbol.text for symbol in symbols)
        if (texts, dtype) not in known:
            known[texts, dtype] = Symbol(self, self.named("a"), dtype)
            lines.append(f"const {TYPES[dtype]} {known[texts, dtype].text}[] = {{{texts}}};")
        return known[texts, dtype].text


class Number:
    """An int or a float of Python that is another in each round of a loop: with numbers it does what they do.

    Whoever has to know which it is, in an index, a condition or `int()`, meets a TypeError.
    """

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, symbol: Symbol):
        self.symbol = symbol

    def __eq__(self, other: object) -> bool:
        raise TypeError("a number that changes in a loop cannot be compared")

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__

    def __bool__(self) -> bool:
        raise TypeError("a number that changes in a loop has no truth value")

    def __neg__(self) -> "Number":
        return Number(self.symbol.code.put(f"-{self.symbol.text}", self.symbol.dtype))

    __add__: Callable  # and the others, see below


def number_text(x: Any) -> str:
    """A number as C++ that computes with it as Python does."""
    if isinstance(x, Number):
        return x.symbol.text
    return f"INT64_C({int(x)})" if isinstance(x, int | np.integer) else _float_text(float(x))


def number_kind(x: Any) -> str:
    return x.symbol.dtype if isinstance(x, Number) else "n" if isinstance(x, int | np.integer) else "d"


def _float_text(x: float) -> str:
    return "NAN" if x != x else f"{'-' if x < 0 else ''}INFINITY" if np.isinf(x) else x.hex()


def _of_numbers(sign: str, turned: bool) -> Callable:
    def operation(self: Number, other: Any) -> Any:
        if not isinstance(other, Number | int | float | np.integer | np.floating):
            return NotImplemented
        a, b = (other, self) if turned else (self, other)
        kind = "d" if sign == "/" or "d" in (number_kind(a), number_kind(b)) else "n"
        return Number(
            self.symbol.code.put(f"({KINDS[kind]}){number_text(a)} {sign} ({KINDS[kind]}){number_text(b)}", kind)
        )

    return operation


for _name, _sign in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    setattr(Number, f"__{_name}__", _of_numbers(_sign, False))
    setattr(Number, f"__r{_name}__", _of_numbers(_sign, True))


def written(x: Any, dtype: str) -> str:
    """A symbol or a number, converted, as C++."""
    if isinstance(x, Symbol):
        return x.text if x.dtype == dtype else _converted(x, dtype)
    if isinstance(x, Number):
        if dtype == "b" or (dtype != "f" and x.symbol.dtype == "d"):
            raise TypeError("a number that changes in a loop is a float, or no condition")
        number = {"f": "float", "i": "int32_t", "l": "int64_t", "w": "uint32_t"}[dtype]
        return f"of<{TYPES[dtype]}>(({number}){x.symbol.text})"
    if dtype == "f":
        x = np.float32(x)
        return f"of<F>({_float_text(float(x))}{'f' if np.isfinite(x) else ''})"
    if dtype == "b":
        return f"of<I>({-int(bool(x))})"
    low, high = {"i": (-(2**31), 2**31), "l": (-(2**63), 2**63), "w": (0, 2**32)}[dtype]
    if not low <= int(x) < high:
        raise OverflowError(f"{x} does not fit beside an int{64 if dtype == 'l' else 32}")
    kind, text = {"i": ("int32_t", f"{int(x)}"), "l": ("int64_t", f"{int(x)}LL"), "w": ("uint32_t", f"{int(x)}u")}[
        dtype
    ]
    return f"of<{TYPES[dtype]}>(({kind}){text})"


def _converted(x: Symbol, dtype: str) -> str:
    if dtype == "b":
        return f"ne({x.text}, {written(0, x.dtype)})"
    text, given = x.text, x.dtype
    if given == "b":
        text, given = f"(I{{}} - {x.text})", "i"
    if given == "w" and (dtype == "i" or (dtype == "f" and x.top < 2**31)):
        text, given = f"as_i({text})", "i"
    if given == "w" and dtype == "f":
        text = f"to_l({text})"
    if dtype == "w":
        return f"to_u({text if given in 'il' else f'to_l({text})'})"
    return text if given == dtype else f"to_{dtype}({text})"


class Lane:
    """One environment's value: symbols `[1]` or `[1, K]`, or cells `[1, C]` of an image."""

    __array_ufunc__ = None  # a number of NumPy's leaves arithmetic to it

    def __init__(self, symbols: Any):
        self.symbols = symbols if isinstance(symbols, np.ndarray) else _array([symbols])

    @property
    def ndim(self) -> int:
        return self.symbols.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        return self.symbols.shape

    @property
    def first(self) -> Symbol:
        return self.symbols.flat[0]

    def reshape(self, *shape: int) -> "Lane":
        return Lane(self.symbols.reshape(*shape))

    def __getitem__(self, key: Any) -> "Lane":
        return Lane(self.symbols[key])

    def __neg__(self) -> "Lane":
        return _each(_negative)(self)

    def __invert__(self) -> "Lane":
        return _each(_inverse)(self)

    def __abs__(self) -> "Lane":
        return _each(_absolute)(self)

    __add__: Callable  # and the other operators, see OPERATORS
    __rshift__: Callable

    def __bool__(self) -> bool:
        raise TypeError("a lane has no truth value")


def _array(symbols: list) -> np.ndarray:
    """Of objects that are tuples."""
    made = np.empty(len(symbols), object)
    made[:] = symbols if len(symbols) != 1 else [None]
    for k, symbol in enumerate(symbols):
        made[k] = symbol
    return made


def _each(function: Callable) -> Callable:
    """`function` of symbols and numbers, for the lanes of which they are part."""

    def on_lanes(*args: Any) -> Lane:
        arrays = [a.symbols if isinstance(a, Lane) else _array([a]) for a in args]
        spread = np.broadcast_arrays(*arrays) if len(arrays) > 1 else arrays
        made = _array([function(*each) for each in zip(*(a.flat for a in spread), strict=True)])
        return Lane(made.reshape(spread[0].shape))

    return on_lanes


def joint(*values: Any) -> str:
    """The dtype of an operation, torch's: that of the lanes, unless a number is of a higher kind."""
    dtype = max((v.dtype for v in values if isinstance(v, Symbol)), key=RANK.index)
    numbers = [v for v in values if not isinstance(v, Symbol)]
    if any(isinstance(v, float | np.floating) or (isinstance(v, Number) and v.symbol.dtype == "d") for v in numbers):
        return "f"
    whole = any(not isinstance(v, bool | np.bool_) for v in numbers)
    return "l" if dtype == "w" or (dtype == "b" and whole) else dtype


def _code(*values: Any) -> Code:
    return next(v.code for v in values if isinstance(v, Symbol))


def _binary(sign: str) -> Callable:
    def operation(a: Any, b: Any) -> Symbol:
        if (word := _of_word(sign, a, b)) is not None:
            return word
        dtype = "f" if sign == "/" else joint(a, b)
        if dtype in IMPOSSIBLE and sign in IMPOSSIBLE[dtype]:
            raise TypeError(f"a {'condition' if dtype == 'b' else 'float'} has no {sign}")
        used = {"+": "|", "*": "&"}.get(sign, sign) if dtype == "b" else sign  # a sum of conditions is one
        if sign in SHIFTS and not (isinstance(b, int | np.integer) and 0 <= b < BITS[dtype]):
            return _code(a, b).put(f"{SHIFTS[sign]}({written(a, dtype)}, {written(b, dtype)})", dtype)
        return _code(a, b).put(f"{written(a, dtype)} {used} {written(b, dtype)}", dtype)

    return operation


SHIFTS, BITS = {"<<": "shift_left", ">>": "shift_right"}, {"i": 32, "l": 64}
IMPOSSIBLE = {"b": ("-", "<<", ">>"), "f": ("&", "|", "^", "<<", ">>")}


def _of_word(sign: str, a: Any, b: Any) -> Symbol | None:
    """What stays a word, or None."""
    if not isinstance(a, Symbol) or a.dtype != "w":
        return None
    whole = isinstance(b, int | np.integer) and 0 <= b < 2**32
    if sign == ">>" and whole:
        return a.code.put(f"{a.text} >> {written(b, 'w')}", "w", a.top >> b) if b < 32 else None
    if sign == "&" and whole:
        return a.code.put(f"{a.text} & {written(b, 'w')}", "w", min(a.top, int(b)))
    if sign in ("&", "|", "^") and isinstance(b, Symbol) and b.dtype == "w":
        return a.code.put(f"{a.text} {sign} {b.text}", "w")
    return None


def _comparison(name: str) -> Callable:
    def operation(a: Any, b: Any) -> Symbol:
        words = isinstance(a, Symbol) and a.dtype == "w" and isinstance(b, int) and 0 <= b < 2**32
        dtype = "w" if words else joint(a, b)
        if dtype == "b" and name != "ne" and name != "eq":
            dtype = "i"
        return _code(a, b).put(f"{name}({written(a, dtype)}, {written(b, dtype)})", "b")

    return operation


OPERATORS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "and": "&", "or": "|", "xor": "^", "lshift": "<<",
             "rshift": ">>"}  # fmt: skip
for _name, _sign in OPERATORS.items():
    _operation = _each(_binary(_sign))
    setattr(Lane, f"__{_name}__", _operation)
    setattr(Lane, f"__r{_name}__", lambda b, a, operation=_operation: operation(a, b))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Lane, f"__{_name}__", _each(_comparison(_name)))


def _negative(a: Symbol) -> Symbol:
    if a.dtype == "b":
        raise TypeError("a condition has no -")
    return a.code.put(f"-{a.text}", a.dtype) if a.dtype != "w" else a.code.put(f"-{written(a, 'l')}", "l")


def _inverse(a: Symbol) -> Symbol:
    if a.dtype == "f":
        raise TypeError("a float has no ~")
    return a.code.put(f"~{written(a, 'l') if a.dtype == 'w' else a.text}", "l" if a.dtype == "w" else a.dtype)


def _absolute(a: Symbol) -> Symbol:
    return a if a.dtype == "w" else a.code.put(f"absolute({a.text})", a.dtype)


def _float_word(name: str) -> Callable:
    return _each(lambda a: a.code.put(f"{name}({written(a, 'f')})", "f"))


def _rounded(name: str) -> Callable:
    return _each(lambda a: a.code.put(f"{name}({a.text})", "f") if a.dtype == "f" else a)


def _joined(name: str) -> Callable:
    def operation(a: Any, b: Any) -> Symbol:
        dtype = joint(a, b)
        if dtype == "b":
            return _code(a, b).put(f"{written(a, dtype)} {OF_CONDITIONS[name]} {written(b, dtype)}", dtype)
        return _code(a, b).put(f"{name}({written(a, dtype)}, {written(b, dtype)})", dtype)

    return _each(operation)


OF_CONDITIONS = {"minimum": "&", "maximum": "|"}


@_each
def where(condition: Symbol, a: Any, b: Any) -> Symbol:
    if condition.dtype != "b":
        raise TypeError("where takes a condition")
    numbers = not isinstance(a, Symbol) and not isinstance(b, Symbol)
    dtype = "f" if numbers else joint(a, b)
    return condition.code.put(f"where({condition.text}, {written(a, dtype)}, {written(b, dtype)})", dtype)


def _to(dtype: str) -> Callable:
    return _each(lambda a: a if a.dtype == dtype else a.code.put(written(a, dtype), dtype))


def _like(value: int, dtype: str | None = None) -> Callable:
    def constant(a: Symbol) -> Symbol:
        kind = dtype or ("l" if a.dtype == "w" else a.dtype)
        return a.code.put(written(value, kind), kind)

    return _each(constant)


def _folded(function: Callable, prepare: Callable = lambda x: x) -> Callable:
    """Of the entities of `[1, K]`, from the first on, `[1]`; of cells' entities `[1, C, K]`, `[1, C]`."""

    def reduced(x: Lane) -> Lane:
        rows = prepare(x).symbols
        flat = [
            functools.reduce(lambda a, b: function(Lane(a), Lane(b)).first, row)
            for row in rows.reshape(-1, rows.shape[-1])
        ]
        return Lane(_array(flat).reshape(rows.shape[:-1]))

    return reduced


def _counted(x: Lane) -> Lane:
    return to_int(x) if x.first.dtype == "b" else x


def _truth(x: Lane) -> Lane:
    return x if x.first.dtype == "b" else _each(_comparison("ne"))(x, 0)


_greater, _equal = _each(_comparison("gt")), _each(_comparison("eq"))


def sign(x: Lane) -> Lane:
    one = ones_like(x)
    return where(_greater(x, 0), one, where(_greater(0, x), -one, where(_equal(x, 0), zeros_like(x), x)))


def cumsum(x: Lane) -> Lane:
    rows = _counted(x).symbols.copy()
    for k in range(1, rows.shape[-1]):
        rows[..., k : k + 1] = (Lane(rows[..., k - 1 : k]) + Lane(rows[..., k : k + 1])).symbols
    return Lane(rows)


def entity(x: Lane, k: Any) -> Lane:
    if not isinstance(k, Number):
        return Lane(x.symbols[..., k])
    code = x.first.code
    names = [code.array(list(row)) for row in x.symbols.reshape(-1, x.shape[-1])]
    return Lane(_array([code.put(f"{name}[{k.symbol.text}]", x.first.dtype) for name in names]).reshape(x.shape[:-1]))


def slots(x: Lane, count: int) -> Lane:
    lang.entities(count)
    code = x.first.code
    numbers = _array([code.put(written(k, "i"), "i") for k in range(count)])
    return Lane(np.broadcast_to(numbers, (*x.shape, count)))


SEED = "of<L>((int64_t)((uint64_t)k1 << 32 | k0))"


def words(rng: Any, block: int) -> tuple[Lane, ...]:
    """As `lang.words`; four names that one call fills."""
    if not 0 <= block < BLOCKS:
        raise ValueError(f"a block is a whole number from 0 to {BLOCKS - 1}, not {block}")
    if isinstance(rng.seed, Lane) and rng.seed.first.text != SEED:
        raise TypeError("draws are of the environment's own seed, or of a number")
    code = rng.env.first.code
    place = [written(x.first if isinstance(x, Lane) else x, "w") for x in (rng.env, rng.episode, rng.step)]
    key = "k0, k1" if isinstance(rng.seed, Lane) else f"{rng.seed & 0xFFFFFFFF}u, {rng.seed >> 32}u"
    call = f"{key}, {', '.join(place)}, of<U>({rng.stream * BLOCKS + block}u)"
    if (call, "w") not in code.known:
        name = code.named("w")
        code.known[call, "w"] = Symbol(code, name, "w")
        code.weight += 1
        code.parts[0].append(f"U {name}[4]; philox({call}, {name});")
    name = code.known[call, "w"].text
    return tuple(Lane(Symbol(code, f"{name}[{k}]", "w")) for k in range(4))


class Table:
    """As `gpusim.kernels.lang.Table`: number `k` of those that a job has, of which no more is known than how wide it is."""

    def __init__(self, code: Code, k: int, like: Any):
        self.code, self.name = code, f"tables[{k}]"
        self.columns = 1 if like.ndim == 1 else int(like.shape[1])
        self.dtype = NAMES[str(like.dtype).removeprefix("torch.")]


def rows(table: Table) -> Lane:
    return Lane(table.code.put(f"of<I>((int32_t){table.name}.rows)", "i"))


def take(table: Table, row: Any, column: Any = 0) -> Lane:
    place: Any = _within(table, row, rows(table))
    if table.columns > 1:
        place = place * table.columns + _within(table, column, table.columns)
    read = f"gather_{table.dtype}({table.name}.data, {{}})"
    return _each(lambda at: table.code.put(read.format(at.text), table.dtype))(place)


def _within(table: Table, index: Any, count: Any) -> Lane:
    if not is_lane(index):
        index = Lane(table.code.put(written(int(index), "i"), "i"))
    return to_int(clip(index, 0, count - 1))


@_each
def below(word: Symbol, count: Any) -> Symbol:
    if word.dtype != "w":
        return to_int((Lane(word) * count) >> 32).first
    return word.code.put(f"as_i(below({word.text}, {written(count, 'w')}))", "i")


def _scaled(word: Lane, low: Any, high: Any) -> Lane:
    return to_float(word >> 8) * ((high - low) * 2.0**-24) + low


def uniform4(rng: Any, block: int, low: Any, high: Any) -> tuple[Lane, ...]:
    return tuple(_scaled(word, low, high) for word in words(rng, block))


def uniform(rng: Any, block: int, low: Any, high: Any) -> Lane:
    return _scaled(words(rng, block)[0], low, high)


def slot_words(rng: Any, block: int, count: int) -> Lane:
    lang.entities(count)
    drawn = [word.first for i in range(-(-count // 4)) for word in words(rng, block + i)][:count]
    return Lane(_array(drawn).reshape(1, count))


def slot_uniform(rng: Any, block: int, count: int, low: Any, high: Any) -> Lane:
    return _scaled(slot_words(rng, block, count), low, high)


def unit(word: Lane) -> Lane:
    return _scaled(word, 0.0, 1.0)


def clip(x: Lane, low: Any, high: Any) -> Lane:
    return minimum(maximum(x, low), high)


def is_lane(x: Any) -> bool:
    return isinstance(x, Lane)


absolute = abs
sin, cos, exp, log, sqrt, tanh = (_float_word(f"{name}_") for name in ("sin", "cos", "exp", "log", "sqrt", "tanh"))
atan2 = _each(lambda y, x: _code(y, x).put(f"atan2_({written(y, 'f')}, {written(x, 'f')})", "f"))
floor, ceil = _rounded("floor_"), _rounded("ceil_")
minimum, maximum = _joined("minimum"), _joined("maximum")
floor_divide, remainder = _joined("floor_divide"), _joined("remainder_")
to_float, to_int = _to("f"), _to("i")
zeros_like, ones_like, false_like = _like(0), _like(1), _like(0, "b")
any_, all_ = _folded(lambda a, b: a | b, _truth), _folded(lambda a, b: a & b, _truth)
sum_, or_ = _folded(lambda a, b: a + b, _counted), _folded(lambda a, b: a | b)
min_, max_ = _folded(minimum), _folded(maximum)
