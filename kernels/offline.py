"""`compile_for(launch, target)`: what a launch would compile to on a GPU that need not be here, and what that costs."""

import io
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import SimpleNamespace
from typing import Any, NamedTuple

from gpusim.kernels.launch import Launch

TARGETS = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "gfx942": ("hip", "gfx942", 64),
}
PRECISIONS = ("bf16x3", "tf32", "bf16x6", "tf32x3", "ieee")  # of `tl.dot` on float32, from coarse to fine
NEAREST = {"tf32": ("bf16x3", "bf16x6", "ieee"), "tf32x3": ("bf16x6", "ieee")}
TENSOR_CORE = {
    "sass": r"\b[A-Z]*(?:HMMA|GMMA|IMMA|DMMA|QMMA|OMMA|UTC[A-Z]*MMA)\b",  # HGMMA and QGMMA among them
    "ptx": r"^\s*(?:@%p\d+ )?(?:mma|wgmma\.mma_async|tcgen05\.mma)\b",
    "amdgcn": r"^\s*v_s?mfmac?_",
}
INSTRUCTION = {"sass": r"^\s*/\*[0-9a-f]{4,}\*/\s+\S", "amdgcn": r"^\t(?:[vs]_|global_|flat_|buffer_|scratch_|ds_)"}


class Compiled(NamedTuple):
    """A kernel for one target; sizes in bytes, of a thread where nothing else is said."""

    target: str
    registers: int
    shared: int  # of a block
    stack: int  # local memory; that for indexed arrays (the slow path of sin) is no spill
    spill_stores: int  # on AMD what lies in memory, however often it is stored
    spill_loads: int | None  # None: AMD's compiler does not tell
    spilled: tuple[int, int] | None  # AMD's count of vector and scalar registers, of which most find room in others
    tensor_cores: int  # instructions for them in the code
    instructions: int  # in the code, executed or not
    seconds: float  # from Python source to machine code, no cache
    cpu_seconds: float  # of this process and the assembler, which other work on the machine does not lengthen
    precision: str | None  # of `tl.dot` where the launch names one; the nearest where the target lacks that
    assembly: str  # SASS or amdgcn; PTX where SASS cannot be had


def compile_for(launch: Launch, target: str) -> Compiled:
    """Compiles `launch` for a key of `TARGETS` with the types and specializations that the launcher would choose there.

    Raises:
        ValueError: the target is not known, or kernels are interpreted in this process.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import JITFunction, compute_cache_key, create_function_from_signature

    if target not in TARGETS:
        raise ValueError(f"target {target!r} is not known; use {', '.join(TARGETS)}.")
    kernel = launch.kernel
    if not isinstance(kernel, JITFunction):
        raise ValueError(f"{kernel} is no compilable kernel: TRITON_INTERPRET must not be set.")
    gpu = GPUTarget(*TARGETS[target])
    backend = make_backend(gpu)
    options = {"num_warps": launch.num_warps, "enable_fp_fusion": launch.fp_fusion, "debug": False}
    constants = allowed(launch.constants, backend.parse_options(options).allowed_dot_input_precisions)
    options |= constants
    bound, specialization, rest = create_function_from_signature(kernel.signature, kernel.params, backend)(
        *launch.args, **options
    )
    compute_cache_key({}, specialization, rest)  # as every launch does
    parsed, signature, constexprs, attrs = kernel._pack_args(backend, options, bound, specialization, rest)
    source = ASTSource(kernel, signature, constexprs, attrs)
    binary, log, times = _compile(source, gpu, parsed.__dict__)
    facts = _amd(binary) if gpu.backend == "hip" else _nvidia(binary, log, triton.knobs.nvidia)
    return Compiled(target=target, precision=constants.get("PRECISION"), **facts, **times)


def allowed(constants: dict[str, Any], possible: tuple[str, ...]) -> dict[str, Any]:
    """The constants with a PRECISION that is possible: the one asked for, or the nearest."""
    wanted = constants.get("PRECISION")
    if wanted not in PRECISIONS or wanted in possible:
        return constants
    return constants | {"PRECISION": next(p for p in NEAREST.get(wanted, ("ieee",)) if p in possible)}


def _compile(source: Any, gpu: Any, options: dict[str, Any]) -> tuple[Any, str, dict[str, Any]]:
    """The compiled kernel, what the assembler said, and the time it took; no cache is read, none is left behind."""
    import triton
    from triton import knobs

    log = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, knobs.compilation.scope(), knobs.nvidia.scope(), knobs.cache.scope():
        knobs.compilation.always_compile = True
        knobs.nvidia.dump_ptxas_log = True
        knobs.cache.dir = folder
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        with redirect_stdout(log), _as_if_on(gpu):
            binary = triton.compile(source, target=gpu, options=options)
        times = {"seconds": time.perf_counter() - start, "cpu_seconds": sum(os.times()[:4]) - cpu}
        return binary, log.getvalue(), times


@contextmanager
def _as_if_on(gpu: Any) -> Iterator[None]:
    """Kernels that ask `triton.language.target_info` where they are find themselves on `gpu`."""
    from triton.runtime import driver

    driver.set_active(SimpleNamespace(get_current_target=lambda: gpu))
    try:
        yield
    finally:
        driver.set_active(None)  # to be looked for when it is asked for


def _nvidia(binary: Any, log: str, tools: Any) -> dict[str, Any]:
    text, kind = disassemble(binary.asm["cubin"], tools), "sass"
    if text is None:
        text, kind = binary.asm["ptx"], "ptx"
    return {
        "registers": _number(r"Used (\d+) registers", log),
        "shared": binary.metadata.shared,
        "stack": _number(r"(\d+) bytes stack frame", log),
        "spill_stores": _number(r"(\d+) bytes spill stores", log),
        "spill_loads": _number(r"(\d+) bytes spill loads", log),
        "spilled": None,
        "tensor_cores": count(TENSOR_CORE[kind], text),
        "instructions": count(INSTRUCTION["sass"], text),
        "assembly": text,
    }


def _amd(binary: Any) -> dict[str, Any]:
    text = binary.asm["amdgcn"]
    vector, scalar = (_number(rf"\.{kind}gpr_spill_count:\s+(\d+)", text) for kind in "vs")
    stack = _number(r"\.private_segment_fixed_size:\s+(\d+)", text)
    return {
        "registers": _number(r"\.vgpr_count:\s+(\d+)", text),
        "shared": _number(r"\.group_segment_fixed_size:\s+(\d+)", text),
        "stack": stack,
        "spill_stores": min(4 * vector, stack),
        "spill_loads": None,
        "spilled": (vector, scalar),
        "tensor_cores": count(TENSOR_CORE["amdgcn"], text),
        "instructions": count(INSTRUCTION["amdgcn"], text),
        "assembly": text,
    }


def disassemble(cubin: bytes, tools: Any) -> str | None:
    """Its SASS, None where the disassembler is missing or does not know the architecture."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "kernel.cubin")
        with open(path, "wb") as file:
            file.write(cubin)
        try:
            command = [tools.nvdisasm.path, "-c", path]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout
        except (OSError, RuntimeError, subprocess.CalledProcessError):
            return None


def count(pattern: str, text: str) -> int:
    """In how many places the pattern is."""
    return len(re.findall(pattern, text, re.MULTILINE))


def _number(pattern: str, text: str) -> int:
    """The largest of the numbers found: a kernel comes with the functions that it calls."""
    found = [int(n) for n in re.findall(pattern, text)]
    if not found:
        raise RuntimeError(f"the compiler's report has nothing like {pattern!r}:\n{text[-2000:]}")
    return max(found)
