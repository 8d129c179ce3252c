"""The C++ of an environment's steps: the engine, run once on symbols.

What a step does, its accounting included, is `gpusim.engine.advance` and `fresh`, as they stand; only how the steps of a
tile follow one another is C++ that was written by hand, `loop.h`.
"""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode

from gpusim import book, engine
from gpusim.book import Book, Tally
from gpusim.engine import Carry, Mode
from gpusim.env import Env
from gpusim.kernels import lang_native
from gpusim.kernels.distributions import LOG_STD_RANGE
from gpusim.kernels.lang import BLOCKS, STREAM_ACTION
from gpusim.kernels.lang_native import SEED, TYPES, Code, Lane, Symbol, Table, written
from gpusim.kernels.respell import respelled
from gpusim.sim.cpu.tiles import KEPT, Field, Layout
from gpusim.tables import joined

HEADERS = (
    Path(lang_native.__file__).with_suffix(".h"),
    *(Path(__file__).with_name(name) for name in ("job.h", "policy.h", "loop.h")),
)
NUMBERS = {"f": "float", "i": "int32_t", "l": "int64_t", "b": "int32_t", "w": "uint32_t"}


def source(env: Env, mode: Mode, params: Any, of: Layout, state: type, kind: str) -> str:
    """The C++ of `run`, which takes a `Job` of `job.h`.

    Args:
        params: with their numbers; what is a lane may be anything.
        state: the class of the environment's State.
        kind: what it can do: "count" episodes with random actions, "tell" of steps, or "act" by a policy in it.

    Raises:
        Exception: the environment does what has no meaning in C++, whichever way that fails.
    """
    spoken = _Spoken(env, mode, params, of, state)
    flat, tells = len(env.observation_space.shape) == 1, kind != "count"
    parts = [
        *(path.read_text(encoding="utf-8") for path in HEADERS),
        "namespace {  // another library has an Env of its own",
        "struct Env {",
        _tile(of),
        _constants(env, mode, kind),
        _function(
            "Out step(Tile& s, const Table* tables, int i, const Action (*action)[G], Sums& sums, uint32_t k0, uint32_t k1)",
            spoken.step(),
        ),
        _function(
            "void begin(Tile& s, const Table* tables, int lane, uint32_t k0, uint32_t k1)", _SCALARS + spoken.begin()
        ),
        _function(
            "void observe(const Tile& s, const Table* tables, int i, F* o)", spoken.observe() if flat and tells else []
        ),
        *([] if flat or not tells else [spoken.columns()]),
        _function(
            "void picture(const Tile& s, const Table* tables, int lane, Cell* to)",
            [] if flat or not tells else spoken.picture(),
        ),
        "};",
        "}",
        'extern "C" void run(Job* job) { run_tiles<Env>(*job); }\n',
    ]
    return "\n".join(parts)


_SCALARS = ["using F = float; using I = int32_t; using U = uint32_t; using L = int64_t;"]


def _function(head: str, lines: list[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"INLINE {head} {{\n{body}}}"


def _tile(of: Layout) -> str:
    arrays = [f"    {TYPES[f.dtype]} {f.name}[{f.slots}][G];\n" for f in (*of.state, *of.params)]
    arrays += [f"    {TYPES[dtype]} {name}[G];\n" for name, dtype in KEPT.items()]
    return f"struct Tile {{\n{''.join(arrays)}}};"


def _constants(env: Env, mode: Mode, kind: str) -> str:
    space: Any = env.action_space
    shape, discrete = env.observation_space.shape, isinstance(space, Discrete)
    cells = 0 if len(shape) == 1 else int(np.prod(shape))
    cell = {"float32": "float"}.get(np.dtype(env.observation_space.dtype).name, "uint8_t")
    entries = 1 if discrete else int(np.prod(space.shape))
    if discrete:
        drawn = f"return as_i(below(word, of<U>({int(space.n)}u)));"
    else:
        with np.errstate(over="ignore"):  # of bounds so wide, nothing is drawn
            low, span = (", ".join(written(x, "f")[6:-1] for x in xs) for xs in (space.low, space.high - space.low))
        drawn = (
            f"constexpr float low[] = {{{low}}}, span[] = {{{span}}}; "
            "return low[j] + span[j] * (to_f(as_i(word >> 8)) * 0x1p-24f);"
        )
    same = mode.rules.autoreset is AutoresetMode.SAME_STEP
    return (
        f"using Action = {'I' if discrete else 'F'}; using ActionNumber = {'int32_t' if discrete else 'float'};\n"
        f"using Cell = {cell};\n"
        f"static constexpr int ACTIONS = {entries}, OBS = {0 if cells else shape[0]}, CELLS = {cells};\n"
        f"static constexpr bool SAME_STEP = {_truth(same)}, DISCRETE = {_truth(discrete)};\n"
        f"static constexpr bool TELLS = {_truth(kind != 'count')}, ACTS = {_truth(kind == 'act')};\n"
        f"static constexpr float LOG_STD[] = {{{', '.join(f'{x:.1f}f' for x in LOG_STD_RANGE)}}};\n"
        f"static constexpr uint32_t ACTION_BLOCK = {STREAM_ACTION * BLOCKS};\n"
        f"INLINE Action random_action(U word, int j) {{ {drawn} }}"
    )


def _truth(x: bool) -> str:
    return "true" if x else "false"


class _Spoken:
    """The functions of an environment and the engine, spelled in symbols."""

    def __init__(self, env: Env, mode: Mode, params: Any, of: Layout, state: type):
        known: dict = {}
        self.mode, self.params, self.of, self.state, self.known = mode, params, of, state, known
        self.env: Any = SimpleNamespace(
            init=respelled(env.init, known), step=respelled(env.step, known), observe=respelled(env.observe, known),
            action_space=env.action_space, observation_space=env.observation_space, with_tables=self.with_tables,
        )  # fmt: skip
        self.tables = env.tables
        self.code = Code("")  # that is being written

    def engine(self, function: Callable) -> Callable:
        return respelled(function, self.known)

    def with_tables(self, params: Any) -> Any:
        """As `gpusim.Env.with_tables`, in the code that is being written."""
        if self.tables is None:
            return params
        spoken = [Table(self.code, k, x) for k, x in enumerate(self.tables)]
        return joined(type(params), type(self.tables))(*params, *spoken)

    def inputs(self, code: Code, read: Callable[[Field, int], str], beside: bool = False) -> tuple[Any, Any]:
        """State and parameters, of memory that `read` names; `beside`: with room for cells."""
        self.code = code

        def lane(field: Field) -> Lane:
            some = np.empty((1, field.slots), object)
            for k in range(field.slots):
                some[0, k] = code.put(read(field, k), field.dtype)
            lane = Lane(some if field.width else some[:, 0])
            return lane[:, None] if beside else lane

        params = self.params._replace(**{f.name[2:]: lane(f) for f in self.of.params})
        return self.state(*(lane(f) for f in self.of.state)), params

    def step(self) -> list[str]:
        code = Code("v")
        state, params = self.inputs(code, _vector)
        kept = {name: Lane(code.put(f"s.{name}[i]", dtype)) for name, dtype in KEPT.items()}
        discrete = isinstance(self.env.action_space, Discrete)
        entries = 1 if discrete else int(np.prod(self.env.action_space.shape))
        action = tuple(Lane(code.put(f"action[{j}][i]", "i" if discrete else "f")) for j in range(entries))
        seed = Lane(Symbol(code, SEED, "l"))
        books = Book(*(kept[name] for name in ("elapsed", "total", "terminated", "truncated")))
        carry = Carry(state, params, books, kept["episode"], seed)
        before = Tally(*(Lane(code.put(f"sums.{name}[i]", "f")) for name in ("episodes", "returns", "lengths")))
        act = action[0] if entries == 1 else action
        after, out = self.engine(engine.advance)(self.env, self.mode, carry, act, kept["index"])
        tally = self.engine(book.count)(before, out)
        told = (out.reward, out.terminated, out.truncated, out.reset, out.valid, out.episode_return, out.episode_length)
        values = [written(True, "b") if x is None else _one(x, d) for x, d in zip(told, "fbbbbff", strict=True)]
        stores = self.stored(after.state, _vector)
        stores += [f"s.{n}[i] = {_one(x, KEPT[n])};" for n, x in zip(tuple(KEPT)[:4], after.book, strict=True)]
        stores += [
            f"sums.{n}[i] = {_one(x, 'f')};" for n, x in zip(("episodes", "returns", "lengths"), tally, strict=True)
        ]
        return [*code.parts[0], f"const Out out = {{{', '.join(values)}}};", *stores, "return out;"]

    def stored(self, state: Any, place: Callable[[Field, int], str]) -> list[str]:
        lines = []
        for field, lane in zip(self.of.state, state, strict=True):
            symbols = np.broadcast_to(lane.symbols, (1, field.width) if field.width else (1,)).flat
            lines += [f"{place(field, k)} = {written(x, field.dtype)};" for k, x in enumerate(symbols)]
        return lines

    def begin(self) -> list[str]:
        code = Code("b")
        _, params = self.inputs(code, _number)
        index, episode = (Lane(code.put(f"at<const uint32_t>(s.{name}, lane)", "w")) for name in ("index", "episode"))
        seed = Lane(Symbol(code, SEED, "l"))
        state, params = self.engine(engine.fresh)(self.env, self.mode, params, seed, index, episode)
        drawn = [name for name, _, _ in self.mode.random_params]
        chosen = [f"at<float>(s.p_{name}, lane) = {_one(getattr(params, name), 'f')};" for name in drawn]
        return [*code.parts[0], *self.stored(state, _place), *chosen]

    def observe(self) -> list[str]:
        code = Code("o")
        state, params = self.inputs(code, _vector)
        seen = self.env.observe(state, self.with_tables(params))
        return [*code.parts[0], *(f"o[{k}] = {_one(x, 'f')};" for k, x in enumerate(seen))]

    def seen(self) -> tuple[Code, Lane]:
        """Of an image: what depends on the environment alone (part 1), on the cell alone (2) and on both (3)."""
        code = Code("q", _kind, 4)
        state, params = self.inputs(code, lambda f, k: f"of<{TYPES[f.dtype]}>({_number(f, k)})", beside=True)
        cell = Lane(Symbol(code, "q2_cell", "i"))[:, None]
        return code, self.env.observe(state, cell, self.with_tables(params))

    def columns(self) -> str:
        """What depends on the cell alone, for all of them, worked out once."""
        code = self.seen()[0]
        names = {"q2_cell": "I", **_names(code.parts[2])}
        lines = [
            "I q2_cell;",
            "for (int k = 0; k < V; k++) q2_cell[k] = n * V + k;",
            *code.parts[0],
            *code.parts[2],
            *(f"this->{name}[n] = {name};" for name in names),
        ]
        body = "".join(f"        {line}\n" for line in lines)
        return (
            "struct Columns {\n"
            "    static constexpr int N = (CELLS + V - 1) / V;\n"
            f"{''.join(f'    {kind} {name}[N];' for name, kind in names.items())}\n"
            f"    Columns() {{ for (int n = 0; n < N; n++) {{\n{body}    }} }}\n}};"
        )

    def picture(self) -> list[str]:
        code, seen = self.seen()
        name = np.dtype(self.env.observation_space.dtype).name
        put = {
            "bool": f"put_flags(to + first, {_one(seen, 'b')}, CELLS - first);",
            "float32": f"put(to + first, {_one(seen, 'f')}, CELLS - first);",
        }.get(name, f"put(to + first, __builtin_convertvector({_one(seen, 'i')}, B), CELLS - first);")
        return [
            "static const Columns columns;",
            *code.parts[0],
            *code.parts[1],
            "for (int first = 0; first < CELLS; first += V) {",
            "    const I q2_cell = columns.q2_cell[first / V];",
            *(f"    const {kind} {name} = columns.{name}[first / V];" for name, kind in _names(code.parts[2]).items()),
            *(f"    {line}" for line in [*code.parts[3], put]),
            "}",
        ]


def _names(lines: list[str]) -> dict[str, str]:
    """Of what the lines declare, each with its type."""
    return {name: kind for _, kind, name, *_ in map(str.split, lines)}


def _one(lane: Any, dtype: str) -> str:
    return written(lane.first if isinstance(lane, Lane) else lane, dtype)


def _vector(field: Field, k: int) -> str:
    return f"s.{field.name}[{k}][i]"


def _number(field: Field, k: int) -> str:
    return f"at<const {NUMBERS[field.dtype]}>(s.{field.name}[{k}], lane)"


def _place(field: Field, k: int) -> str:
    return f"at<{NUMBERS[field.dtype]}>(s.{field.name}[{k}], lane)"


def _kind(text: str) -> int:
    """What an expression depends on, told by the names in it: 1 the environment, 2 the cell, 3 both."""
    kinds = {int(k) for k in re.findall(r"\bq(\d)_", text)} | ({1} if "at<" in text or "tables[" in text else set())
    return 3 if {1, 2} <= kinds else max(kinds, default=0)
