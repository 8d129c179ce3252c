"""`lower(function)`: an environment's function, as it stands in its file, becomes a Triton device function.

The function is cloned with other globals: each word of `gpusim.kernels.lang` becomes its Triton twin, numbers become
`constexpr`, `NamedTuple` classes stay, helper functions are lowered in turn. What has no meaning in a kernel is refused
with the name and the line.
"""

import ast
import builtins
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
    ast.Import: "an import",
    ast.ImportFrom: "an import",
}
REFUSED_OPERATORS: dict[type[ast.AST], str] = {  # on lanes they are something else in Triton, or nothing
    ast.FloorDiv: "`//` (write `floor_divide`)",
    ast.Mod: "`%` (write `remainder`)",
    ast.Pow: "`**` (multiply, or use `exp` and `log`)",
    ast.MatMult: "`@`",
}


WORDS = {n for n, v in vars(lang).items() if isinstance(v, types.FunctionType) and not n.startswith("_")} - {
    "philox",
    "is_lane",
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

    swapped = {name: _twin(value) for name, value in check(function).items()}
    swapped["tl"] = tl  # which the interpreter looks for in the globals of whatever it runs
    clone = types.FunctionType(function.__code__, swapped, function.__name__, function.__defaults__)
    clone.__kwdefaults__ = function.__kwdefaults__
    clone.__module__, clone.__qualname__ = function.__module__, function.__qualname__
    kernel = triton.jit(clone)
    if hasattr(kernel, "_unsafe_update_src"):  # not in the interpreter, which runs the function itself
        kernel._unsafe_update_src(_without_annotations(kernel.src))
    return kernel


def _without_annotations(source: str) -> str:
    """The same lines and columns with blanks for annotations, in which Triton looks for its own types."""
    text = bytearray(source, "utf-8")
    lines = [0, *(i + 1 for i, byte in enumerate(text) if byte == ord("\n"))]

    def blank(first: int, node: ast.expr) -> None:
        for i in range(first, lines[node.end_lineno - 1] + node.end_col_offset):  # type: ignore[operator]
            text[i] = text[i] if text[i] == ord("\n") else ord(" ")

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg) and node.annotation:
            blank(lines[node.lineno - 1] + node.col_offset + len(node.arg.encode()), node.annotation)
        if isinstance(node, ast.AnnAssign):
            blank(lines[node.target.end_lineno - 1] + node.target.end_col_offset, node.annotation)  # type: ignore[operator]
        if isinstance(node, ast.FunctionDef) and node.returns:
            blank(text.rindex(b"->", 0, lines[node.returns.lineno - 1] + node.returns.col_offset), node.returns)
    return text.decode()


@functools.cache
def check(function: Callable) -> dict[str, Any]:
    """What the global names in `function` stand for, when it keeps to the vocabulary.

    Raises:
        LoweringError: it, or a function it calls, does not.
    """
    tree = _parse(function)
    _refuse_syntax(function, tree)
    return {name: _meaning(function, node, name) for name, node in _global_names(function, tree).items()}


def _parse(function: Callable) -> ast.FunctionDef:
    if not isinstance(function, types.FunctionType):
        raise LoweringError(f"{function!r} cannot be lowered to Triton: only a function made by `def` can.")
    if function.__name__ == "<lambda>":
        raise LoweringError(
            f"a lambda ({_place(function, 1)}) cannot be lowered to Triton: only a function made by `def` can."
        )
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
        if isinstance(node, ast.FunctionDef) and node is not tree:
            _refuse(function, node, f"the inner function `{node.name}`")
        if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in REFUSED_OPERATORS and _names(node):
            _refuse(function, node, REFUSED_OPERATORS[type(node.op)])
        if isinstance(node, ast.Compare) and len(node.ops) > 1:
            _refuse(function, node, f"the chain `{ast.unparse(node)}` (join two comparisons with `&`)")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            _refuse(function, node, f"`{ast.unparse(node.func)}`")


def _names(tree: ast.AST) -> bool:
    """Whether it is more than arithmetic of literal numbers."""
    return any(isinstance(node, ast.Name) for node in ast.walk(tree))


def _global_names(function: Callable, tree: ast.FunctionDef) -> dict[str, ast.Name]:
    code = function.__code__
    loads = [n for statement in tree.body for n in ast.walk(statement) if isinstance(n, ast.Name)]
    return {n.id: n for n in reversed(loads) if n.id in code.co_names and n.id not in code.co_varnames}


def _meaning(function: Callable, node: ast.Name, name: str) -> Any:
    if name not in function.__globals__ and name in ALLOWED_BUILTINS:
        return getattr(builtins, name)
    value = function.__globals__.get(name)
    if isinstance(value, types.FunctionType):
        if value.__module__ != lang.__name__:
            check(value)
        elif value.__name__ not in WORDS:
            _refuse(function, node, f"`{name}`")
        return value
    if isinstance(value, int | float) or (isinstance(value, type) and issubclass(value, tuple)):
        return value
    _refuse(function, node, f"`{name}`")


def _twin(value: Any) -> Any:
    import triton.language as tl

    from gpusim.kernels import lang_triton

    if isinstance(value, types.FunctionType):
        return getattr(lang_triton, value.__name__) if value.__module__ == lang.__name__ else lower(value)
    return tl.constexpr(value) if isinstance(value, int | float) else value


def _refuse(function: Callable, node: Any, what: str) -> NoReturn:
    raise LoweringError(
        f"{what} at {_place(function, node.lineno)} cannot be lowered to Triton; "
        'write it in the words of gpusim.kernels.lang, or run this environment with backend="eager" or "compile".'
    )


def _place(function: Any, line: int) -> str:
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno + line - 1}"
