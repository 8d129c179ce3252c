"""Launching a kernel again without asking Triton which of its compiled forms fits.

Triton looks at every argument of every launch, and hashes every constant, to find the form it compiled for such ones: some
100 µs for kernels like these. Here a launch is known by less: the kernel, its constants and options, and of each argument
what Triton specializes on, or finer. Of a pointer that is its dtype and its place between two multiples of 16, of a whole
number whether it is 1, a multiple of 16, and how many bits it needs. What is seen for the first time, or is out of the
ordinary (hooks, debugging, tensors of several devices), goes Triton's own way.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from torch.nn import Parameter
from triton import knobs
from triton.runtime import JITFunction, driver

# What Triton specializes on was looked up in these; a later one is left its own way until somebody has looked.
VERSIONS = ("3.6.", "3.7.", "3.8.", "3.9.")
MOST = 4096  # launches known at a time
KINDS = (Tensor, Parameter, int, float, bool, type(None))  # of arguments whose facts are enough


class Known(NamedTuple):
    """A compiled form of a kernel, loaded on a device."""

    kernel: Any
    device: int
    run: Any  # the launcher
    function: int
    metadata: Any
    constants: tuple  # placeholders in their places: the launcher does not look at them
    globals: list[tuple[dict, str, Any]]  # globals that the source refers to, with their values when it was compiled


_known: dict[tuple, Known] = {}


def forget() -> None:
    """Every launch is Triton's again, as in a new process."""
    _known.clear()


def run(
    kernel: Any, grid: tuple[int, ...], args: tuple, constants: dict[str, Any], num_warps: int, fp_fusion: bool
) -> None:
    """Launches `kernel` on the device of its first tensor, in that device's current stream."""
    facts: list[Any] = [id(kernel), num_warps, fp_fusion, *constants, *constants.values()]
    addressed = _addressed(args, facts)
    key = tuple(facts)
    known = _known.get(key)
    if known is None or not _as_ever(known):
        _by_triton(key, kernel, grid, args, constants, num_warps, fp_fusion)
    elif known.device == driver.active.get_current_device():
        _launch(known, grid, addressed)
    else:
        with torch.cuda.device(known.device):
            _launch(known, grid, addressed)


def _addressed(args: tuple, facts: list[Any]) -> list[Any]:
    """The arguments, of a tensor its address; what is to be known of each is added to `facts`."""
    out: list[Any] = []
    for x in args:
        kind = type(x)
        if kind is Tensor or kind is Parameter:
            address = x.data_ptr()
            facts.append((x.dtype, address & 15, x.get_device()))
            out.append(address)
        elif x is None:
            facts.append(None)
            out.append(None)
        elif kind is int:
            facts.append((x == 1, x & 15 == 0, (x if x >= 0 else ~x).bit_length() >> 5))  # 31 bits and a sign: an int32
            out.append(x)
        elif isinstance(x, tuple):
            facts.append(len(x))
            out.append(tuple(_addressed(x, facts)))
        else:
            facts.append(kind)
            out.append(x)
    return out


def _launch(known: Known, grid: tuple[int, ...], addressed: list[Any]) -> None:
    x, y, z = (*grid, 1, 1)[:3]
    stream = driver.active.get_current_stream(known.device)
    known.run(x, y, z, stream, known.function, known.metadata, None, None, None, *addressed, *known.constants)


def _as_ever(known: Known) -> bool:
    """Whether it may be launched as it is: Triton raises where what a source refers to has changed meanwhile."""
    return _ordinary(known.kernel) and all(names.get(name) is value for names, name, value in known.globals)


def _ordinary(kernel: Any) -> bool:
    """Whether nobody wants to know of launches, or have kernels compiled otherwise."""
    asked, hooks = knobs.runtime, (knobs.runtime.launch_enter_hook, knobs.runtime.launch_exit_hook)
    return not (
        any(getattr(hook, "calls", hook) for hook in hooks)
        or kernel.pre_run_hooks
        or asked.debug
        or getattr(asked, "add_stages_inspection_hook", None)
        or knobs.compilation.instrumentation_mode
    )


def _by_triton(
    key: tuple, kernel: Any, grid: tuple[int, ...], args: tuple, constants: dict[str, Any], num_warps: int,
    fp_fusion: bool,
) -> None:  # fmt: skip
    """A launch that is not known, and is from now on, if it can be; or one of the interpreter's."""
    if not isinstance(kernel, JITFunction):
        kernel[grid](*args, **constants)
        return
    leaves = list(_leaves(args))
    devices = {x.device for x in leaves if isinstance(x, Tensor)}
    with torch.cuda.device(next((x.device for x in leaves if isinstance(x, Tensor)), None)):
        compiled = kernel[grid](*args, num_warps=num_warps, enable_fp_fusion=fp_fusion, **constants)
        device, target = driver.active.get_current_device(), driver.active.get_current_target()
    if not (
        triton.__version__.startswith(VERSIONS)
        and target.backend == "cuda"
        and hasattr(compiled, "packed_metadata")  # and not one that a hook vetoed
        and kernel.arg_names[len(args) :] == list(constants)
        and len(devices) == 1
        and all(type(x) in KINDS for x in leaves)
        and _ordinary(kernel)
    ):
        return
    if len(_known) >= MOST:
        forget()
    used = [(names, name, names.get(name)) for (name, _), (_, names) in kernel.used_global_vals.items()]
    _known[key] = Known(
        kernel, device, compiled.run, compiled.function, compiled.packed_metadata, (None,) * len(constants), used
    )


def _leaves(args: tuple) -> Iterator[Any]:
    for x in args:
        if isinstance(x, tuple):
            yield from _leaves(x)
        else:
            yield x
