"""`lower(function)`: an environment's function, as it stands in its file, becomes a Triton device function.

The function is cloned with other globals: each word of `gpusim.kernels.lang` becomes its Triton twin, numbers become
`constexpr`, `NamedTuple` classes stay, helper functions are lowered in turn. What has no meaning in a kernel is refused
with the name and the line.
"""

import ast
import functools
import inspect
import textwrap
import types
from collections.abc import Callable
from typing import Any, NoReturn

from gpusim.kernels import lang

ALLOWED_BUILTINS = {"range", "len", "int", "float", "bool", "min", "max"}
REFUSED_SYNTAX: dict[type[ast.AST], str] = {
    ast.BoolOp: "`and`/`or` (join conditions with `&` and `|`)",
    ast.While: "`while`",
    ast.Lambda: "a lambda",
    ast.ListComp: "a list comprehension",
    ast.GeneratorExp: "a generator expression",
    ast.DictComp: "a dict comprehension",
    ast.Try: "`try`",
    ast.With: "`with`",
}


class LoweringError(TypeError):
    """A function uses something that no kernel can do; the message names it and its line."""


@functools.cache
def lower(function: Callable) -> Any:
    """The `@triton.jit` clone of `function`.

    Raises:
        LoweringError: the function uses a name, a method or syntax outside `gpusim.kernels.lang`, or is no plain
            function (a lambda, a closure, a callable object).
        ImportError: Triton is not installed.
    """
    import triton
    import triton.language as tl

    tree = _parse(function)
    _refuse_syntax(function, tree)
    swapped = {name: _swap(function, node, name) for name, node in _global_names(function, tree).items()}
    swapped["tl"] = tl  # which the interpreter looks for in the globals of whatever it runs
    clone = types.FunctionType(function.__code__, swapped, function.__name__, function.__defaults__)
    clone.__module__, clone.__qualname__ = function.__module__, function.__qualname__
    return triton.jit(clone)


def _parse(function: Callable) -> ast.FunctionDef:
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise LoweringError(f"{function!r} cannot be lowered to Triton: only a function made by `def` can.")
    if function.__closure__:
        names = ", ".join(function.__code__.co_freevars)
        raise LoweringError(
            f"`{function.__qualname__}` ({_place(function, 1)}) cannot be lowered to Triton: it closes over {names}; "
            "define it at the top of a module and pass what it needs as a parameter."
        )
    try:
        source = inspect.getsource(function)
    except OSError:
        raise LoweringError(
            f"`{function.__qualname__}` cannot be lowered to Triton: its source is not in a file."
        ) from None
    node = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def _refuse_syntax(function: Callable, tree: ast.FunctionDef) -> None:
    for node in ast.walk(tree):
        if type(node) in REFUSED_SYNTAX:
            _refuse(function, node, REFUSED_SYNTAX[type(node)])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            _refuse(function, node, f"`{ast.unparse(node.func)}`")


def _global_names(function: Callable, tree: ast.FunctionDef) -> dict[str, ast.Name]:
    code = function.__code__
    loads = [n for statement in tree.body for n in ast.walk(statement) if isinstance(n, ast.Name)]
    return {n.id: n for n in reversed(loads) if n.id in code.co_names and n.id not in code.co_varnames}


def _swap(function: Callable, node: ast.Name, name: str) -> Any:
    import triton.language as tl

    from gpusim.kernels import lang_triton

    if name not in function.__globals__:
        if name in ALLOWED_BUILTINS:
            return __builtins__[name] if isinstance(__builtins__, dict) else getattr(__builtins__, name)
        _refuse(function, node, f"`{name}`")
    value = function.__globals__[name]
    if isinstance(value, types.FunctionType):
        return getattr(lang_triton, value.__name__) if value.__module__ == lang.__name__ else lower(value)
    if isinstance(value, int | float):
        return tl.constexpr(value)
    if isinstance(value, type) and issubclass(value, tuple):
        return value
    _refuse(function, node, f"`{name}`")


def _refuse(function: Callable, node: ast.expr | ast.stmt | ast.AST, what: str) -> NoReturn:
    raise LoweringError(
        f"{what} at {_place(function, node.lineno)} cannot be lowered to Triton; "  # type: ignore[attr-defined]
        'write it in the words of gpusim.kernels.lang, or run this environment with backend="eager" or "compile".'
    )


def _place(function: Callable, line: int) -> str:
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno + line - 1}"
