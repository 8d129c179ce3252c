"""`respelled(function)`: a function with other words, so that what it did on arrays, it does on symbols."""

import types
from collections.abc import Callable
from typing import Any

from gpusim.kernels import lang, lang_native
from gpusim.kernels.loops import HOOK, with_bodies
from gpusim.kernels.rounds import rounds


def respelled(function: Callable, known: dict | None = None) -> Callable:
    """A function and those it calls with the words of `lang_native` for `lang`'s."""
    known = {} if known is None else known
    if function.__module__ == lang.__name__:
        return getattr(lang_native, function.__name__)
    if function not in known:
        given: Any = function
        code = with_bodies(given)
        cells = {name: types.CellType() for name in code.co_freevars}
        clone: Any = types.FunctionType(code, {HOOK: rounds}, given.__name__, given.__defaults__, tuple(cells.values()))
        clone.__kwdefaults__ = given.__kwdefaults__
        known[function] = clone

        def twin(value: Any) -> Any:
            return respelled(value, known) if _speaks(value) else value

        clone.__globals__.update(
            {name: twin(given.__globals__[name]) for name in _names(given.__code__, given.__globals__)}
        )
        clone.__globals__["__builtins__"] = given.__globals__.get("__builtins__", __builtins__)
        for name, before in zip(given.__code__.co_freevars, given.__closure__ or (), strict=True):
            cells[name].cell_contents = twin(before.cell_contents)
    return known[function]


def _names(code: types.CodeType, scope: dict) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return {name for name in code.co_names if name in scope}.union(*(_names(c, scope) for c in inner))


def _speaks(value: Any) -> bool:
    """Whether it is a function in Python that may use the vocabulary."""
    return isinstance(value, types.FunctionType) and value.__module__.split(".")[0] not in ("numpy", "torch")
