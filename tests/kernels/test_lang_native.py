"""The vocabulary as C++ against torch: by vectors of every width there is, and by single numbers."""

import ctypes
import inspect
import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from gpusim.kernels import lang, lang_native
from gpusim.kernels.cpp import FLAGS, compiler, loaded
from gpusim.kernels.lang import (
    Rng,
    absolute,
    atan2,
    below,
    cos,
    exp,
    floor_divide,
    log,
    max_,
    maximum,
    min_,
    minimum,
    remainder,
    sign,
    sin,
    sqrt,
    tanh,
    to_float,
    where,
    words,
)  # fmt: skip
from gpusim.kernels.lang_native import SEED, TYPES, Code, Lane, Symbol, written
from gpusim.kernels.respell import respelled
from gpusim.tree import tree_map
from tests.kernels.vocabulary import WORDS, Two, bits, entities, floats, nan_choices, reductions

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")
HEADER = Path(lang_native.__file__).with_suffix(".h").read_text()
NUMBERS = {"f": "float", "i": "int32_t", "l": "int64_t", "w": "uint32_t", "b": "int32_t"}
DTYPES = {"f": torch.float32, "i": torch.int32, "l": torch.int64, "b": torch.bool}
SHORT = {torch.float32: "f", torch.int32: "i", torch.int64: "l"}
HERE = "native" if platform.machine() == "x86_64" else None
WAYS = {  # flags beside the usual ones, and whether lanes are single numbers
    "vectors": ((), False),
    "numbers": ((), True),
    **({"narrow": (("-DNARROW",), False), "plain": (("-march=x86-64",), False)} if HERE else {}),
}
each_way = pytest.mark.parametrize("way", WAYS)


def by_native(function, lanes, way="vectors"):
    """What `function` gives of lanes `[N]` or `[N, K]`, a tuple of them or one, each with the dtype that it has in C++."""
    flags, single = WAYS[way]
    given = [lanes] if isinstance(lanes, torch.Tensor) else list(lanes)
    code, columns = Code("v"), []
    symbols = [_lane(code, x, columns) for x in given]
    made = respelled(function)(symbols[0] if isinstance(lanes, torch.Tensor) else type(lanes)(*symbols))
    made = made if isinstance(made, tuple) else (made,)
    results = [[*x.symbols.flat] for x in made]
    found = [x for row in results for x in row]
    lines = [*code.parts[0], *(_store(k, x) for k, x in enumerate(found))]
    names = "".join(f"using {t} = {NUMBERS[d]};" for d, t in TYPES.items() if d != "b") if single else ""
    body = "\n".join(lines)
    loop = f"for (int64_t i = 0; i < n; i += {1 if single else 'V'}) {{ {names}\n{body} }}"
    source = f'{HEADER}\nextern "C" void run(void** in, void** out, int64_t n) {{ {loop} }}\n'
    run = loaded(source, function.__name__, (*FLAGS, *flags)).run
    n, room = len(given[0]), -(-len(given[0]) // 16) * 16
    ins = [np.concatenate([x.numpy(), np.zeros(room - n, x.numpy().dtype)]) for x in columns]
    outs = [np.zeros(room, {"f": "f4", "l": "i8"}.get(_kind(x), "i4")) for x in found]
    pointers = [(ctypes.c_void_p * len(some))(*(x.ctypes.data for x in some)) for some in (ins, outs)]
    run(*pointers, ctypes.c_int64(n))
    tensors = iter(torch.from_numpy(x[:n]).to(DTYPES[_kind(s)]) for x, s in zip(outs, found, strict=True))
    rows = [[next(tensors) for _ in row] for row in results]
    return [row[0] if x.ndim == 1 else torch.stack(row, -1) for row, x in zip(rows, made, strict=True)]


def _lane(code, x, columns):
    some = np.empty((1, *x.shape[1:]), object)
    for k, column in enumerate(x.reshape(len(x), -1).unbind(1)):
        dtype = SHORT[x.dtype]
        text = f"all_of<{TYPES[dtype]}>(({NUMBERS[dtype]}*)in[{len(columns)}] + i)"
        some.reshape(-1)[k] = code.put(text, dtype)
        columns.append(column.contiguous())
    return Lane(some)


def _kind(symbol):
    return "l" if symbol.dtype == "w" else symbol.dtype


def _store(k, symbol):
    text = written(symbol, _kind(symbol))
    return f"{{ const auto x = {text}; memcpy(({NUMBERS[_kind(symbol)]}*)out[{k}] + i, &x, sizeof x); }}"


HEADER += (
    "\ntemplate <class X, class T> INLINE X all_of(const T* from) { X x; memcpy(&x, from, sizeof x); return x; }\n"
)


def ulps(got, want):
    """How many steps of float32 they are apart, at most."""
    spacing = np.spacing(np.abs(want).astype(np.float32)).astype(np.float64)
    return float(np.max(np.abs(got.astype(np.float64) - want) / spacing))


@each_way
@pytest.mark.parametrize(("function", "inputs"), WORDS, ids=lambda f: getattr(f, "__name__", ""))
def test_a_word_is_what_it_is_on_tensors(function, inputs, way):
    lanes = inputs(53)
    ours, theirs = by_native(function, lanes, way), function(lanes)
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), k
        torch.testing.assert_close(a, b, rtol=3e-7, atol=1e-12, equal_nan=True, msg=lambda m, k=k: f"number {k}: {m}")


@each_way
def test_reductions_and_nan(way):
    for function, lanes in ((reductions, entities()), (bits, entities().int())):
        for a, b in zip(by_native(function, lanes, way), function(lanes), strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
    x, y = floats(24)
    x[::3], y[::4] = torch.nan, torch.nan
    for a, b in zip(by_native(nan_choices, Two(x, y), way), nan_choices((x, y)), strict=True):
        assert torch.equal(a.isnan(), b.isnan())
        assert torch.equal(a.nan_to_num(), b.nan_to_num())


def at_the_edges_of_ints(v):
    i, j = v[0], v[1]
    long = i + (i != i) * 1
    a, b, _, _ = words(Rng(5, long & 1023, long & 7, 0, 3), 0)
    return (
        i << j, i >> j, 1 << j, i << 40, i >> 35, i << -1, i >> -1, long << j, long >> j, long >> 64,
        minimum(i > 0, j > 0), maximum(i > 0, j > 0), below(a ^ 5, 9), below(a ^ b, 9),
        to_float(a), to_float(a & 0xFFFFFFF0), to_float(a >> 1),
        floor_divide(i, j), remainder(i, j), floor_divide(long, j), remainder(long, j), absolute(i),
    )  # fmt: skip


def at_the_edges_of_entities(x):
    return min_(x > 0), max_(x > 0), x[:, 1]


def at_the_edges_of_floats(v):
    x, y = v[0], v[1]
    turn = atan2(x, y)
    return (
        remainder(x, y), floor_divide(x, y), remainder(x, 1.0), floor_divide(x, 1.0), remainder(x, -0.1),
        turn, 1.0 / turn, atan2(x, -0.0), 1.0 / atan2(x, 1.0), atan2(x, -np.inf), tanh(x), 1.0 / tanh(x), sign(x),
        1.0 / sign(x),
    )  # fmt: skip


ODD_INTS = [0, 1, -1, 5, -7, 31, 32, 33, 63, 64, -32, 2**31 - 1, -(2**31)]
ODD_FLOATS = [
    0.0,
    -0.0,
    2.5e38,
    2e38,
    1.0,
    -1.0,
    2.5,
    -2.5,
    1e-30,
    -1e-30,
    1e30,
    -3e9,
    np.inf,
    -np.inf,
    np.nan,
    4194304.5,
    -0.99999994,
]


def each_with_each(numbers, dtype):
    return Two(*(x.flatten() for x in torch.meshgrid(*[torch.tensor(numbers, dtype=dtype)] * 2, indexing="ij")))


@each_way
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_at_the_edges_it_is_what_arrays_give(way):
    """Shifts by more than there are bits, the least of conditions, draws of what is no word, divisions by 0, by -1, by ∞."""
    for function, lanes in (
        (at_the_edges_of_ints, each_with_each(ODD_INTS, torch.int32)),
        (at_the_edges_of_floats, each_with_each(ODD_FLOATS, torch.float32)),
        (at_the_edges_of_entities, entities().int()),
    ):
        arrays = tree_map(torch.Tensor.numpy, lanes)
        for k, (a, b) in enumerate(zip(by_native(function, lanes, way), function(arrays), strict=True)):
            torch.testing.assert_close(a, torch.from_numpy(b), equal_nan=True, msg=lambda m, k=k: f"number {k}: {m}")


def everything(v):
    x = v[0]
    return sin(x), cos(x), exp(x), log(x), sqrt(x), tanh(x), atan2(x, v[1])


@each_way
def test_elementary_functions_are_near(way):
    """To 2 units in the last place over their range, beside float64; at its ends they give what torch gives."""
    generator = torch.Generator().manual_seed(0)
    near, far = (
        (torch.randn(20000, generator=generator) * 30).clamp(-80, 85),
        torch.randn(20000, generator=generator) * 1e5,
    )
    positive = torch.exp(torch.randn(20000, generator=generator) * 20)
    for x, kinds in (
        (near, (0, 1, 2, 5, 6)), (far, (0, 1, 5, 6)), (positive, (3, 4, 6)), (1 + near / 1e4, (3,)), (near / 100, (5, 6))
    ):  # fmt: skip
        ours = by_native(everything, Two(x, near), way)
        exact = everything((x.double(), near.double()))
        for k in kinds:
            assert ulps(ours[k].numpy(), exact[k].numpy()) < (2.1 if k < 5 else 3.0), (k, way)
    ends = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 88.8, -104.5, -100.0, 1e-40, -1.0, 3e38, 1e9])
    for a, b in zip(by_native(everything, Two(ends, ends), way), everything((ends, ends)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-44, equal_nan=True)


def test_another_seed_has_no_meaning_in_c():
    """The environment's own is a name in the code around; a number may stand in its place."""
    code = Code("v")
    index, seed = Lane(Symbol(code, "x", "w")), Lane(Symbol(code, SEED, "l"))
    assert "philox(k0, k1," in drawn_code(Rng(seed, index, 0, 0, 0), code)
    assert "philox(7u, 1u," in drawn_code(Rng(2**32 + 7, index, 0, 0, 0), code)
    with pytest.raises(TypeError, match="own seed"):
        lang_native.words(Rng(seed + 1, index, 0, 0, 0), 0)


def drawn_code(rng, code):
    lang_native.words(rng, 0)
    return "".join(code.parts[0])


def test_a_number_of_numpy_leaves_arithmetic_to_lanes():
    lane = Lane(Symbol(Code("v"), "x", "i"))
    for made in (np.float64(2.0) * lane, np.float32(2.0) + lane, np.float64(2.0) - lane):
        assert isinstance(made, Lane)
        assert made.first.dtype == "f"


def test_every_word_has_a_twin():
    for name in lang.__all__:
        if inspect.isfunction(word := getattr(lang, name)):
            twin = getattr(lang_native, name)
            assert twin is not word
            assert callable(twin), name


def test_each_expression_is_computed_once():
    code = Code("v")
    x = Lane(Symbol(code, "x", "f"))
    assert (x * 2.0 + 1.0).first.text == (x * 2.0 + 1.0).first.text
    assert len(code.parts[0]) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda v: -(v[0] > 0), lambda v: (v[0] > 0) - (v[1] > 0), lambda v: v[0] & 1, lambda v: ~v[0],
        lambda v: where(v[0], 1.0, 0.0), lambda v: v[1] + 1 if v[0] > 0 else v[1],
    ],
)  # fmt: skip
def test_what_torch_refuses_has_no_meaning_in_c(wrong):
    code = Code("v")
    with pytest.raises(TypeError):
        respelled(wrong)((Lane(Symbol(code, "x", "f")), Lane(Symbol(code, "y", "f"))))
