"""What a launch compiles to is known without a GPU: types, specializations, registers, spills, tensor-core instructions."""

import re
from typing import NamedTuple

import pytest
import torch

from gpusim.kernels.launch import Launch, recording

triton = pytest.importorskip("triton")
import triton.language as tl  # noqa: E402

from gpusim.kernels import offline  # noqa: E402
from gpusim.kernels.launch import launch  # noqa: E402
from gpusim.kernels.mlp_triton import tanh  # noqa: E402

each_target = pytest.mark.parametrize("target", offline.TARGETS)


class Pair(NamedTuple):
    first: object
    second: object


@triton.jit
def pair_kernel(pair, nothing, flag, n, one, scale, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.static_assert(nothing is None)
    both = Pair(tl.load(pair.first + at, mask=at < n), tl.load(pair.second[0] + at, mask=at < n))
    value = tl.where(tl.load(flag + at, mask=at < n) != 0, both.first * scale, both.second * one)
    tl.store(pair.first + at, value, mask=at < n)


@triton.jit
def product_kernel(x, y, PRECISION: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(y + at, tl.dot(tl.load(x + at), tl.load(x + at), input_precision=PRECISION))


@triton.jit
def hungry_kernel(x, N: tl.constexpr):
    """Wants more registers than there are: a tile of N floats for every thread."""
    at = tl.arange(0, 32)[:, None] * N + tl.arange(0, N)[None, :]
    tile = tl.load(x + at)
    total = tl.sum(tile, 1)
    for _ in range(2):
        tile = tile * total[:, None] + tl.exp(tile)
        total += tl.sum(tile, 1)
    tl.store(x + at, tile * total[:, None])


def pair_launch() -> Launch:
    x, flag = torch.zeros(300), torch.zeros(300, dtype=torch.bool)
    with recording() as launches:
        launch(pair_kernel, (3,), Pair(x, (x, x)), None, flag, 300, 1, 0.5, num_warps=2, BLOCK=128)
    assert len(launches) == 1
    return launches[0]


def product(precision: str, n: int = 64) -> Launch:
    x = torch.zeros(n, n)
    return Launch(product_kernel, (1,), (x, x.clone()), {"PRECISION": precision, "N": n}, 4)


@each_target
def test_tuples_flags_numbers_and_nothing_compile_for(target):
    found = offline.compile_for(pair_launch(), target)
    assert found.target == target
    assert 4 <= found.registers < 64
    assert (found.stack, found.spill_stores, found.tensor_cores, found.precision) == (0, 0, 0, None)
    assert found.spill_loads == (None if target == "gfx942" else 0)
    assert 10 < found.instructions < 1000
    assert found.seconds > 0
    assert found.cpu_seconds > 0


@triton.jit
def class_kernel(x, KIND: tl.constexpr):
    tl.store(x, KIND(1.0, 2.0)[0])


def test_a_constant_that_no_launch_would_take_is_refused():
    """Triton stumbles over a class with fields as it looks a kernel up, which only a GPU's launch and this do."""
    with recording() as launches:
        launch(class_kernel, (1,), torch.zeros(1), KIND=Pair)
    with pytest.raises(TypeError, match="not iterable"):
        offline.compile_for(launches[0], "sm_90")


def test_nothing_is_left_in_the_cache(tmp_path):
    with triton.knobs.cache.scope():
        triton.knobs.cache.dir = str(tmp_path)
        first, second = (offline.compile_for(pair_launch(), "sm_90") for _ in range(2))
    assert not list(tmp_path.iterdir())
    assert first._replace(seconds=0.0, cpu_seconds=0.0) == second._replace(seconds=0.0, cpu_seconds=0.0)


@each_target
def test_products_use_the_tensor_cores(target):
    found = offline.compile_for(product("tf32"), target)
    assert found.tensor_cores > 0
    assert found.precision == "tf32"


def test_three_passes_are_three_times_the_instructions():
    one, three = (offline.compile_for(product(p), "sm_80").tensor_cores for p in ("tf32", "tf32x3"))
    assert three == 3 * one


def test_a_precision_that_the_target_lacks_is_replaced_by_the_nearest():
    found = offline.compile_for(product("tf32x3"), "gfx942")
    assert found.precision == "bf16x6"
    assert found.tensor_cores > 0
    assert offline.allowed({"PRECISION": "tf32", "N": 1}, ("bf16x3", "ieee")) == {"PRECISION": "bf16x3", "N": 1}
    assert offline.allowed({"PRECISION": "tf32x3"}, ("ieee",)) == {"PRECISION": "ieee"}
    assert offline.allowed({"PRECISION": "bf16"}, ("ieee",)) == {
        "PRECISION": "bf16"
    }  # no word of `tl.dot`: the kernel's own


def hungry(target: str, size: int) -> offline.Compiled:
    return offline.compile_for(Launch(hungry_kernel, (1,), (torch.zeros(32 * size),), {"N": size}, 1), target)


def test_spills_are_seen():
    found = hungry("sm_90", 256)
    assert found.spill_stores > 100
    assert found.spill_loads > 100
    assert found.stack >= 100
    assert found.spilled is None


def test_what_amd_spills_into_other_registers_is_not_in_memory():
    found = hungry("gfx942", 256)
    assert found.spilled[0] > 0
    assert (found.stack, found.spill_stores) == (0, 0)


def test_fusion_of_products_and_sums_is_as_the_launch_says():
    x = torch.zeros(300)
    parts = Pair(x, (x, x))
    code = {}
    for fused in (True, False):
        with recording() as launches:
            launch(fma_kernel, (1,), parts, fp_fusion=fused, BLOCK=128)
        code[fused] = offline.compile_for(launches[0], "sm_90").assembly
    assert "FFMA" in code[True]
    assert "FFMA" not in code[False]


@triton.jit
def fma_kernel(pair, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(pair.first + at, tl.load(pair.first + at) * tl.load(pair.second[0] + at) + tl.load(pair.second[1] + at))


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="target 'sm_1' is not known; use sm_80, sm_90, sm_100, gfx942"):
        offline.compile_for(pair_launch(), "sm_1")


def test_without_a_disassembler_it_is_none():
    class Tools:
        class nvdisasm:
            path = "/no/such/program"

    assert offline.disassemble(b"", Tools) is None
    wgmma = "\twgmma.mma_async.sync.aligned.m64n8k8.f32\n\t@%p1 mma.sync.aligned\n"
    assert offline.count(offline.TENSOR_CORE["ptx"], wgmma) == 2


@triton.jit
def tanh_kernel(x, out, PRECISION: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(out + at, tanh(tl.load(x + at), PRECISION))


@pytest.mark.parametrize(
    ("precision", "units"), [("bf16", {"TANH"}), ("tf32", {"EX2", "RCP"}), ("tf32x3", {"EX2", "RCP"})]
)
def test_tanh_is_of_special_function_units_where_there_are_some(precision, units):
    """And without guards; elsewhere the kernel asks for no such thing."""
    x = torch.zeros(32)
    call = Launch(tanh_kernel, (1,), (x, x), {"PRECISION": precision, "N": 32}, 1)
    found = offline.compile_for(call, "sm_90").assembly
    assert set(re.findall(r"MUFU\.(\w+)", found)) == units
    assert "FSETP" not in found
    assert "v_exp_f32" in offline.compile_for(call, "gfx942").assembly
