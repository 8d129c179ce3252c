"""Run by test_relaunch.py in a process of its own, over the stub driver: which of a kernel's compiled forms is launched."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from triton.runtime.jit import JITFunction

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import stub.driver

from gpusim.kernels import relaunch
from gpusim.kernels.launch import launch

STEP = tl.constexpr(2)


class Pair(NamedTuple):
    x: object
    y: object


@triton.jit(do_not_specialize=["clock"])
def kernel(pair, more, n, clock, scale, SHIFT: tl.constexpr):
    at = tl.program_id(0) * 32 + tl.arange(0, 32)
    x = tl.load(pair.x + at, mask=at < n, other=0)
    if more is not None:
        x += tl.load(more[0] + at, mask=at < n, other=0).to(x.dtype)
    tl.store(pair.y + at, (x * scale + SHIFT * STEP + clock).to(pair.y.dtype.element_ty), mask=at < n)


def variations():
    """Arguments and constants, of which many look alike and none may be launched as another."""
    x, y, whole = torch.zeros(80), torch.zeros(80), torch.zeros(80, dtype=torch.int32)
    for pair in (Pair(x, y), Pair(x[1:], y), Pair(x, y[4:]), Pair(x[2:], y[3:]), Pair(whole, y), Pair(x.double(), y)):
        yield (pair, None, 64, 0, 0.5), 1
    for n in (1, 15, 16, 17, 32, 2**31 - 1, 2**31, 2**40 + 1, -1, -16, -(2**31), -(2**31) - 1, 2**63 - 1, True):
        yield (Pair(x, y), None, n, 0, 0.5), 1
    for clock in (1, 16, 17, 2**31, -1):
        yield (Pair(x, y), None, 64, clock, 0.5), 1
    for more in ((x,), (x[1:],), (whole,), (x, y), (x, 1), (x, 2), None):
        yield (Pair(x, y), more, 64, 0, 0.5), 1
    yield (Pair(torch.nn.Parameter(x), y), None, 64, 0, 2), 1
    yield (Pair(x, y), None, 64, 0, 1), 1
    yield (Pair(x, y), None, 64, 0, 0.5), 2


def main():
    stub.driver.start()
    asked, launched = [], []
    dispatch, start = JITFunction.run, relaunch._launch

    def run(self, *args, **kwargs):
        asked.append(dispatch(self, *args, **kwargs))
        return asked[-1]

    def again(known, grid, addressed):
        launched.append(known.run)
        start(known, grid, addressed)

    JITFunction.run, relaunch._launch = run, again

    def go(args, shift, **options):
        launch(kernel, (3,), *args, SHIFT=shift, **options)

    cases = list(variations())
    for _ in range(2):
        for args, shift in cases:
            go(args, shift)
    first = len(asked)
    wrong = []
    for args, shift in cases:
        launched.clear()
        go(args, shift)
        fits = dispatch(kernel, *args, grid=(3,), warmup=False, num_warps=4, enable_fp_fusion=True, SHIFT=shift)
        if launched != [fits.run]:
            wrong.append([str(args), shift])
    told = {"cases": len(cases), "forms": len({id(x) for x in asked}), "asked": first, "wrong": wrong}

    args, shift = cases[0]
    told["options"] = [
        _asked(asked, go, args, shift, **o) for o in ({"num_warps": 2}, {"num_warps": 2}, {"fp_fusion": False})
    ]
    seen = []
    triton.knobs.runtime.launch_enter_hook.add(seen.append)
    told["hooked"] = [_asked(asked, go, args, shift), len(seen)]
    triton.knobs.runtime.launch_enter_hook.remove(seen.append)
    told["after"] = _asked(asked, go, args, shift)
    before = stub.driver.launches()
    go(args, shift)
    told["launches"] = stub.driver.launches() - before
    global STEP
    STEP = tl.constexpr(3)
    try:
        go(args, shift)
    except RuntimeError as error:
        told["changed"] = str(error)
    print(json.dumps(told))


def _asked(asked, go, *args, **options):
    """How often Triton was asked."""
    before = len(asked)
    go(*args, **options)
    return len(asked) - before


if __name__ == "__main__":
    main()
