"""`for name in range(...)` in a function's source, so written that somebody else decides how its body is run.

    for i in range(4):                  def body_0(i, x):
        y = x * i               →           y = x * i
        x = x + y                           x = x + y
    return x, y                             return (x, y)
                                        x, y = rounds_(range(4), body_0, ('x',), ('x', 'y'), ..., locals())
                                        return x, y

What a body is given are the names that it reads before it assigns them; what it gives back are those and the others that
are read outside of it.
"""

import ast
import collections
import contextlib
import inspect
import itertools
import textwrap
import types
from collections.abc import Iterator
from typing import Any

HOOK = "rounds_"
"""The name of `gpusim.kernels.rounds.rounds` in what is rewritten."""
UNTOUCHED = (
    ast.Break, ast.Continue, ast.Return, ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal, ast.Delete,
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp, ast.NamedExpr, ast.Import, ast.ImportFrom, ast.Try, ast.With, ast.Match, ast.While,
)  # fmt: skip
"""What makes a body more than assignments of names."""


def with_bodies(function: Any) -> types.CodeType:
    """The code of `function` with its loops rewritten; as it is where it has none, or its source is not at hand."""
    code = function.__code__
    if "range" not in code.co_names:
        return code
    try:
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(code))).body[0]
    except (OSError, SyntaxError):
        return code
    if not isinstance(tree, ast.FunctionDef):
        return code
    _bare(tree, code.co_firstlineno)
    if not _same(_compiled(tree, code), code):
        return code
    return _compiled(_Rewriter(tree).visit(tree), code)


def _bare(tree: ast.FunctionDef, first_line: int) -> None:
    """Takes away what is evaluated where the function is defined, and puts it where it is in its file."""
    ast.increment_lineno(tree, first_line - 1)
    tree.decorator_list, tree.returns = [], None
    tree.args.defaults, tree.args.kw_defaults = [], [None] * len(tree.args.kwonlyargs)
    for node in ast.walk(tree.args):
        if isinstance(node, ast.arg):
            node.annotation = None


def _compiled(tree: ast.FunctionDef, like: types.CodeType) -> types.CodeType:
    """Of the function alone, closing over what `like` closes over."""
    free = "; ".join(f"{name} = None" for name in like.co_freevars) or "pass"
    module = ast.parse(f"def outer(): {free}")
    outer: Any = module.body[0]
    outer.body.append(tree)
    made = compile(ast.fix_missing_locations(module), like.co_filename, "exec", dont_inherit=True)
    return _inner(_inner(made, "outer"), like.co_name)


def _inner(code: types.CodeType, name: str) -> types.CodeType:
    return next(c for c in code.co_consts if isinstance(c, types.CodeType) and c.co_name == name)


def _same(a: types.CodeType, b: types.CodeType) -> bool:
    """Whether the source is what the function was made of."""

    def facts(code: types.CodeType) -> Any:
        consts = [facts(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
        return code.co_code, code.co_names, code.co_varnames, code.co_freevars, consts

    return facts(a) == facts(b)


class _Flow(ast.NodeVisitor):
    """The names that a loop's statements read before they have surely assigned them, and those that they assign, surely or
    not; its variable is known."""

    def __init__(self, statements: list[ast.stmt], known: str):
        self.read: set[str] = set()
        self.sure, self.assigned = {known}, {known}
        self._all(statements)

    def _all(self, nodes: Any) -> None:
        for node in nodes:
            self.visit(node)

    def _perhaps(self, nodes: Any) -> None:
        sure = set(self.sure)
        self._all(nodes)
        self.sure = sure

    def _reads(self, name: str) -> None:
        if name not in self.sure:
            self.read.add(name)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._reads(node.id)
        else:
            self.sure.add(node.id)
            self.assigned.add(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._all([node.value, *node.targets])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._all([node.value, node.target] if node.value else [])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._reads(node.target.id)
        self._all([node.value, node.target])

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self._perhaps([node.target, *node.body])
        self._perhaps(node.orelse)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._perhaps(node.body)
        self._perhaps(node.orelse)


def _loads(tree: ast.AST) -> collections.Counter:
    names = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    changed = [n.target.id for n in ast.walk(tree) if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)]
    return collections.Counter(names + changed)


class _Rewriter(ast.NodeTransformer):
    def __init__(self, tree: ast.FunctionDef):
        self.loads = _loads(tree)
        self.around: set[str] = set()  # names that the loops around may read in their next round
        self.number = itertools.count()

    def visit_For(self, node: Any) -> Any:
        if not _plain(node):
            return self._left_alone(node)
        flow, inside = _Flow(node.body, node.target.id), _loads(node)
        read = {name for name in flow.assigned if self.loads[name] > inside[name]} | (flow.assigned & self.around)
        carried = sorted((flow.read & flow.assigned) | (read - flow.sure))
        names = [*carried, *sorted((read & flow.sure) - set(carried))]
        if not names:
            return self._left_alone(node)
        with self._within(set(names)):
            body = [self.visit(statement) for statement in node.body]
        return self._called(node, body, carried, names, sorted(read))

    def _left_alone(self, node: Any) -> Any:
        with self._within(set(_loads(node))):
            return self.generic_visit(node)

    visit_While = _left_alone

    @contextlib.contextmanager
    def _within(self, names: set[str]) -> Iterator[None]:
        before, self.around = self.around, self.around | names
        yield
        self.around = before

    def _called(self, node: ast.For, body: list, carried: list, names: list, read: list) -> list[ast.stmt]:
        target: Any = node.target
        name = f"body_{next(self.number)}_"
        given = ", ".join(dict.fromkeys([target.id, *carried]))
        text = (
            f"def {name}({given}):\n    return ({', '.join(names)},)\n"
            f"({', '.join(names)},) = {HOOK}(0, {name}, {tuple(carried)}, {tuple(names)}, {tuple(read)}, locals())"
        )
        definition, call = ast.parse(text).body
        for made in (definition, call):
            for part in ast.walk(made):
                ast.copy_location(part, node)
        definition.body[0:0] = [s for some in body for s in (some if isinstance(some, list) else [some])]  # type: ignore[attr-defined]
        call.value.args[0] = node.iter  # type: ignore[attr-defined]
        return [definition, call]


def _plain(node: ast.For) -> bool:
    """Whether all that the loop does is to assign names."""
    inner = [n for statement in node.body for n in ast.walk(statement)]
    stores = [
        n for n in inner if isinstance(n, ast.Name | ast.Attribute | ast.Subscript) and not isinstance(n.ctx, ast.Load)
    ]
    return (
        isinstance(node.iter, ast.Call)
        and isinstance(node.iter.func, ast.Name)
        and node.iter.func.id == "range"
        and isinstance(node.target, ast.Name)
        and not node.orelse
        and not any(isinstance(n, UNTOUCHED) for n in inner)
        and not any(isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) for n in inner)
        and all(isinstance(n, ast.Name) for n in stores)
    )
