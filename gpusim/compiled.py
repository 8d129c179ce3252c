"""`Compiled`: a function of trees of tensors as few loops, by TorchInductor.

On a GPU it is `torch.compile`. On the CPU Inductor is called without Dynamo, which at every call makes sure that nothing the
function read has changed: at a few thousand environments that takes half as long as the step.
"""

import re
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpusim.errors import InputError
from gpusim.tree import reader, writer

OPTIONS = {"max_fusion_size": 4096, "cpp.min_chunk_size": 2**13}
KEPT = 16  # versions of one function: a sweep over a number would keep one for each value


class Made(NamedTuple):
    """What the function became for some inputs."""

    read: Callable[[tuple], tuple[list[Tensor], tuple]]  # of its arguments: the tensors, and the rest with its types
    rest: tuple
    dtypes: list[torch.dtype]
    shapes: list[torch.Size]
    threads: int  # in which Inductor compiles
    run: Callable[[list[Tensor]], Any]  # raises AssertionError before a loop would read other sizes or strides
    fill: Callable[[Any], Any]  # tensors in their places in what the function returns


class Compiled:
    """A pure function, compiled when it is first called; numbers among its arguments are constants of the code.

    The first sizes that it meets are compiled in; once it meets others, those that differ are left open. The versions that
    were used last are kept, `KEPT` of them.

    Args:
        function: of trees (tuples, lists, dicts) of tensors and numbers, to such a tree; all tensors, of all calls, are on
            the CPU or all on GPUs. Whatever else it reads is read once. It must not branch on values or sizes of tensors.
        options: Inductor's.

    Raises:
        InputError: at the first call: the function looks at a tensor's values.
    """

    def __init__(self, function: Callable, **options: Any):
        self.function, self.options = function, OPTIONS | options
        self.made: list[Made] = []  # the last one used comes first
        self.by_dynamo: Callable | None = None

    def __call__(self, *args: Any) -> Any:
        if self.by_dynamo:
            return self.by_dynamo(*args)
        threads = torch.get_num_threads()
        for i, made in enumerate(self.made):
            try:
                tensors, rest = made.read(args)
                if made.rest != rest or made.dtypes != [x.dtype for x in tensors] or made.threads != threads:
                    continue
                out = made.run(tensors)
            except (AssertionError, AttributeError, LookupError, TypeError):
                continue  # it was made for other inputs
            if i:
                self.made.insert(0, self.made.pop(i))
            return made.fill(out)
        return self._first(args)

    def _first(self, args: tuple) -> Any:
        read = reader(args)
        tensors, rest = read(args)
        if tensors[0].device.type != "cpu":
            self.by_dynamo = _by_dynamo(self.function, self.options)
            return self.by_dynamo(*args)
        dtypes, shapes = ([getattr(x, what) for x in tensors] for what in ("dtype", "shape"))
        alike = [m.shapes for m in self.made if [*map(len, m.shapes)] == [*map(len, shapes)]]
        run, fill = _compiled(self.function, self.options, args, tensors, alike)
        self.made.insert(0, Made(read, rest, dtypes, shapes, torch.get_num_threads(), run, fill))
        del self.made[KEPT:]
        return fill(run(tensors))


def _compiled(function: Callable, options: dict, args: tuple, tensors: list[Tensor], before: list) -> tuple[Any, Any]:
    """`run` and `fill` of `Made`; `before` holds the shapes of earlier inputs."""
    from torch._dispatch.python import enable_python_dispatcher
    from torch._guards import TracingContext, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.decomposition import select_decomp_table
    from torch._subclasses import FakeTensorMode
    from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode, ShapeEnv

    place, fill = writer(args), None

    def flat(*inputs: Tensor) -> list[Tensor]:
        nonlocal fill
        result = function(*place(inputs))
        fill = writer(result)
        return reader(result)(result)[0]

    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    with torch.no_grad():
        fakes = [_fake(mode, i, x, [shapes[i] for shapes in before]) for i, x in enumerate(tensors)]
        try:
            with mode, enable_python_dispatcher():
                graph = make_fx(flat, decomposition_table=select_decomp_table())(*fakes)
        except (DataDependentOutputException, DynamicOutputShapeException, GuardOnDataDependentSymNode) as error:
            raise InputError(
                f"what looks at a tensor's values ({error}) cannot be compiled: use gpusim.kernels.lang.where, "
                'or backend="eager".'
            ) from error
        with tracing(TracingContext(mode)), config.patch(options | {"size_asserts": True}):  # whose cache asks for it
            return compile_fx_inner(graph, fakes, is_inference=True), fill


def _fake(mode: Any, number: int, x: Tensor, before: list[torch.Size]) -> Tensor:
    """A stand-in for `x`; sizes above 1 are left open where earlier inputs had others."""
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic, StatelessSymbolicContext

    others = zip(*before, strict=True) if before else [()] * x.ndim
    sizes = [
        DimDynamic.DUCK if size > 1 and any(size != o > 1 for o in other) else DimDynamic.STATIC
        for size, other in zip(x.shape, others, strict=True)
    ]
    context: Any = StatelessSymbolicContext(dynamic_sizes=sizes)
    own = x.detach()  # one tensor that is given twice is two
    return mode.from_tensor(own, symbolic_context=context, source=ConstantSource(f"input_{number}"))


def _by_dynamo(function: Callable, options: dict) -> Callable:
    """Whole or not at all (`fullgraph`). The code object is the function's own, as Dynamo's cache hangs on that."""
    code = function.__code__.replace()
    own = types.FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)

    def of_arguments(guards: Any) -> list[bool]:
        """A look at every constant would take longer than the step."""
        return [not (g.is_global or re.split(r"[.\[]", g.name)[0] in code.co_freevars) for g in guards]

    return torch.compile(own, fullgraph=True, options=options | {"guard_filter_fn": of_arguments})
