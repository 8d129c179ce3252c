"""What a function does while it runs, beside what it gives: writes, draws, and looks at values."""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gpusim.kernels.lang import DrawnRng, Rng, TriedTable, words
from gpusim.tree import tensors

WRITES = "writes into what it was given: make a new lane, x = x + dx, where x += dx changes the old one"
REACHES = "reaches into the memory of what it was given ({}), and could write there: make a copy of it first, x.clone()"
DRAWS = "draws by torch: draw from rng, as in uniform(rng, 0, 0.0, 1.0)"
JOINS = "makes environments depend on one another ({} of all lanes): a reduction runs over entities, the last axis"
DRAWING = {
    "bernoulli", "bernoulli_", "cauchy_", "dropout", "exponential_", "geometric_", "log_normal_", "multinomial", "normal",
    "normal_", "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random_", "randperm",
    "uniform_",
}  # fmt: skip
LOOKS = "looks at the values of lanes ({}), for which a GPU would stop: {}"
WHERE = "write where(condition, a, b), and join conditions by `&`, `|` and `~`"
WORDS = "write it in the words of gpusim.kernels.lang, as sin(x), not math.sin(x)"
LOOKING = dict.fromkeys(
    [
        "__bool__",
        "allclose",
        "argwhere",
        "equal",
        "is_nonzero",
        "masked_select",
        "nonzero",
        "unique",
        "unique_consecutive",
    ],
    WHERE,
) | dict.fromkeys(["__array__", "__float__", "__index__", "__int__", "item", "numpy", "tolist"], WORDS)

MEMORY = {"__dlpack__", "storage", "untyped_storage"}


class Forbidden(Exception):
    """No function of an environment may do this; the message says what it does, and what to write."""


def watched(function: Callable, *args: Any, joins: bool = False) -> Any:
    """What `function` gives; `joins` says whether it may make one value of the lanes of all environments.

    Raises:
        Forbidden: it does what no function of an environment may.
    """
    given = tensors(args)
    before, state = list(map(_held, given)), torch.random.get_rng_state()
    shared = [x.values for fields in args if isinstance(fields, tuple) for x in fields if isinstance(x, TriedTable)]
    watch = Watch(given, joins, shared)
    with watch:
        result = function(*(DrawnRng(*x, words=_Words(x, watch)) if isinstance(x, Rng) else x for x in args))
    if watch.problem:  # the function went on
        raise watch.problem
    if list(map(_held, given)) != before:
        raise Forbidden(WRITES)
    if not torch.equal(state, torch.random.get_rng_state()):
        torch.random.set_rng_state(state)
        raise Forbidden(DRAWS)
    return result


class Watch(TorchFunctionMode):
    """Within it every function of torch is looked at before it runs.

    Args:
        given: the tensors that the function was given.
        joins: whether what joins the lanes of all environments is let be.
        shared: those of `given` that are no lanes.
    """

    def __init__(self, given: list[Tensor], joins: bool, shared: list[Tensor]):
        super().__init__()
        self.given = given
        self.lanes = set() if joins else set(map(id, given)) - set(map(id, shared))  # and what was made of them
        self.done: list[tuple[Any, Any]] = []  # arguments and results: a freed tensor's memory would be used again
        self.problem: Forbidden | None = None
        self.off = False

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.off:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if problem := self._problem(name, args, kwargs):
            self._forbid(problem)
        result = func(*args, **kwargs)
        self.done.append(((args, kwargs), result))
        if lanes := [x for x in tensors((args, kwargs)) if id(x) in self.lanes]:
            results = tensors(result)
            self.lanes |= set(map(id, results))
            if not name.startswith("new_") and any(x.ndim for x in lanes) and any(x.ndim == 0 for x in results):
                self._forbid(JOINS.format(name.strip("_")))
        return result

    def _forbid(self, problem: str) -> NoReturn:
        self.problem = self.problem or Forbidden(problem)
        raise self.problem

    def _problem(self, name: str, args: tuple, kwargs: dict) -> str | None:
        if name in DRAWING:
            return DRAWS
        if name in LOOKING:
            return LOOKS.format(name.strip("_"), LOOKING[name])
        if (name == "where" and len(args) == 1) or (name == "__getitem__" and _chooses(args[1])):
            return LOOKS.format("an index that is a condition", WHERE)
        if name in MEMORY and args and _memory(args[0]) in map(_memory, self.given):
            return REACHES.format(name.strip("_"))
        target = kwargs.get("out")
        if target is None and (name in ("__setitem__", "__set__") or (name[-1:] == "_" != name[-2:-1])):
            target = args[0] if args else None
        for place in map(_memory, tensors(target)):
            if place in map(_memory, self.given):
                return WRITES
            if place and place not in self._made():
                return "writes to a tensor outside of it: what changes is kept in the State"
        return None

    def _made(self) -> set[int]:
        """Where the tensors lie that the function made itself."""
        made: set[int] = set()
        for arguments, results in self.done:
            others = set(map(_memory, tensors(arguments))) - made
            made |= set(map(_memory, tensors(results))) - others  # a view lies where something else does
        return made


class _Words(dict):
    """The words of a generator by block, which are drawn by other means than torch's."""

    def __init__(self, rng: Rng, watch: Watch):
        self.rng, self.watch = rng, watch

    def __missing__(self, block: int) -> tuple[Tensor, ...]:
        self.watch.off = True
        try:
            self[block] = tuple(word.to(torch.int32) for word in words(self.rng, block))
        finally:
            self.watch.off = False
        return self[block]


def _chooses(index: Any) -> bool:
    """Whether an index picks by a condition, so that the shape depends on values."""
    return any(x.dtype in (torch.bool, torch.uint8) for x in tensors(index))


def _held(x: Tensor) -> tuple:
    """All that a write changes, whichever way it goes: of one by another library torch counts no version."""
    values = x.detach()
    dense = values.layout is torch.strided and not values.is_nested
    return x._version, x.requires_grad, x.dtype, x.shape, values.numpy(force=True).tobytes() if dense else b""


def _memory(x: Tensor) -> int:
    return x.untyped_storage().data_ptr() if x.layout is torch.strided else 0
