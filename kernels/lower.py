"""`lower(function)`: an environment's function, as it stands in its file, becomes a Triton device function.

The function is cloned with other globals: each word of `gpusim.kernels.lang` becomes its Triton twin, numbers become
`constexpr`, `NamedTuple` classes stay, helper functions are lowered in turn; so it is with what it closes over. Of a lambda
the `def` is written that it stands for. What has no meaning in a kernel is refused with the name and the line.
"""

import ast
import builtins
import functools
import hashlib
import inspect
import linecache
import textwrap
import types
import weakref
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

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


F = TypeVar("F", bound=Callable)
WORDS = {name for name in lang.__all__ if isinstance(getattr(lang, name), types.FunctionType)}


class LoweringError(TypeError):
    """A function uses something that no kernel can do; the message names it and its line."""


def by_function(function: F) -> F:
    """As `functools.cache`, of a function of one function; the result goes when that goes."""
    made: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    @functools.wraps(function)
    def once(of: Callable) -> Any:
        try:
            return made[of]
        except (KeyError, TypeError):  # what is no function may not be referred to weakly, and is refused
            result = function(of)
        made[of] = result
        return result

    return once  # type: ignore[return-value]


@by_function
def lower(function: Callable) -> Any:
    """The `@triton.jit` clone of `function`.

    Raises:
        LoweringError: the function uses a name, a method or syntax outside `gpusim.kernels.lang`, or is no function made
            by `def` or `lambda` (a method, a callable object).
        ImportError: Triton is not installed.
    """
    import triton
    import triton.language as tl

    swapped = {name: _twin(value) for name, value in check(function).items()}
    swapped["tl"] = tl  # the interpreter looks for `tl` in the globals of each function that it runs
    named = _defined(function) if _is_lambda(function) else function
    cells = tuple(types.CellType(swapped.get(name)) for name in named.__code__.co_freevars)
    clone = types.FunctionType(named.__code__, swapped, named.__name__, function.__defaults__, cells)
    clone.__kwdefaults__ = function.__kwdefaults__
    clone.__module__, clone.__qualname__ = function.__module__, function.__qualname__
    kernel = triton.jit(clone)
    if hasattr(kernel, "_unsafe_update_src"):  # not in the interpreter, which runs the function itself
        kernel._unsafe_update_src(_without_annotations(kernel.src))
        kernel.__qualname__ += f".{kernel.cache_key[:16]}"  # Triton tells a kernel's functions apart by this name
    return kernel


def _is_lambda(function: Callable) -> bool:
    return function.__name__ == "<lambda>"


def _defined(function: Callable) -> Callable:
    """A lambda made anew by `def`, with a source that `inspect` finds, as Triton reads that."""
    source = ast.unparse(_parse(function)) + "\n"
    file = f"<lambda {hashlib.sha256(source.encode()).hexdigest()[:16]} at {_place(function, 1)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    made: dict[str, Any] = {}
    exec(compile(source, file, "exec"), made)
    return made["lambda_"]


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


@by_function
def check(function: Callable) -> dict[str, Any]:
    """What the global names in `function` stand for, when it keeps to the vocabulary.

    Raises:
        LoweringError: it, or a function it calls, does not.
    """
    tree = _parse(function)
    _refuse_syntax(function, tree)
    try:
        return {name: _meaning(function, node, name) for name, node in _global_names(function, tree).items()}
    except RecursionError:
        raise LoweringError(f"`{function.__qualname__}` cannot be lowered to Triton: it calls itself.") from None


@by_function
def operations(function: Callable) -> int:
    """How many operations and words a function is made of, with all that it calls, its loops over whole numbers unrolled.

    Raises:
        LoweringError: it does not keep to the vocabulary.
    """
    meanings = check(function)

    def count(node: ast.AST) -> int:
        if isinstance(node, ast.For):
            return _rounds(node) * sum(map(count, node.body))
        own = int(isinstance(node, ast.BinOp | ast.UnaryOp | ast.Compare | ast.Call))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = meanings.get(node.func.id)
            if isinstance(called, types.FunctionType) and called.__module__ != lang.__name__:
                own = operations(called)
        return own + sum(map(count, ast.iter_child_nodes(node)))

    return sum(map(count, _parse(function).body))


def _rounds(loop: ast.For) -> int:
    """How often, where that is written out; else 1."""
    try:
        return len(range(*(int(ast.literal_eval(bound)) for bound in loop.iter.args)))  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        return 1


def _parse(function: Callable) -> ast.FunctionDef:
    if not isinstance(function, types.FunctionType):
        raise LoweringError(f"{function!r} cannot be lowered to Triton: only a function made by `def` or `lambda` can.")
    try:
        if _is_lambda(function):
            return _parse_lambda(function)
        source = inspect.getsource(function)
    except (OSError, SyntaxError):
        raise LoweringError(
            f"`{function.__qualname__}` cannot be lowered to Triton: its source is not in a file."
        ) from None
    node = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def _parse_lambda(function: Any) -> ast.FunctionDef:
    """The `def` that a lambda stands for, found in its file by where its instructions were written."""
    code, lines = function.__code__, inspect.findsource(function)[0]
    places = [(line, column) for line, _, column, end in code.co_positions() if end]

    def written_as(node: ast.AST) -> bool:
        if not isinstance(node, ast.Lambda) or node.lineno != code.co_firstlineno:
            return False
        body: Any = node.body
        first, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
        return all(first <= place < end for place in places)

    found: list[Any] = [node for node in ast.walk(ast.parse("".join(lines))) if written_as(node)]
    if not found or (len(found) > 1 and not places):
        raise OSError("the source has changed, or it is not known where on the line")
    node = found[-1]  # of nested ones the innermost
    body = ast.Return(node.body, lineno=node.body.lineno, col_offset=0)
    tree = ast.FunctionDef("lambda_", node.args, [body], [], lineno=node.lineno, col_offset=0)
    ast.increment_lineno(tree, 1 - node.lineno)
    return tree


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
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            _refuse(function, node, f"the change of `{ast.unparse(node)}`")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            _refuse(function, node, f"`{ast.unparse(node.func)}`")


def _names(tree: ast.AST) -> bool:
    """Whether it is more than arithmetic of literal numbers."""
    return any(isinstance(node, ast.Name) for node in ast.walk(tree))


def _global_names(function: Callable, tree: ast.FunctionDef) -> dict[str, ast.Name]:
    code = function.__code__
    loads = [n for statement in tree.body for n in ast.walk(statement) if isinstance(n, ast.Name)]
    outer = {*code.co_names, *code.co_freevars} - {*code.co_varnames}
    return {n.id: n for n in reversed(loads) if n.id in outer}


def _meaning(function: Any, node: ast.Name, name: str) -> Any:
    scope = function.__globals__ | _closed_over(function)
    if name not in scope and name in ALLOWED_BUILTINS:
        return getattr(builtins, name)
    value = scope.get(name)
    if isinstance(value, types.FunctionType):
        if value.__module__ != lang.__name__:
            check(value)
        elif value.__name__ not in WORDS:
            _refuse(function, node, f"`{name}`")
        return value
    if isinstance(value, int | float) or (isinstance(value, type) and issubclass(value, tuple)):
        return value
    _refuse(function, node, f"`{name}`" if value is None else f"`{name}` (of type {type(value).__name__})")


def _closed_over(function: Any) -> dict[str, Any]:
    """By name; None where nothing has been assigned yet."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents if cell != types.CellType() else None for name, cell in cells}


def _twin(value: Any) -> Any:
    import triton.language as tl

    from gpusim.kernels import lang_triton

    if isinstance(value, types.FunctionType):
        return getattr(lang_triton, value.__name__) if value.__module__ == lang.__name__ else lower(value)
    return tl.constexpr(value) if isinstance(value, int | float) else value


def _refuse(function: Callable, node: Any, what: str) -> NoReturn:
    raise LoweringError(
        f"{what} at {_place(function, node.lineno)} cannot be lowered to Triton or C++; "
        'write it in the words of gpusim.kernels.lang, or run this environment with backend="eager" (on a GPU, "compile").'
    )


def _place(function: Any, line: int) -> str:
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno + line - 1}"
