"""Trees: tensors, numbers and whatever else, in NamedTuples, tuples, lists and dicts."""

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")
R = TypeVar("R", bound=tuple)  # a NamedTuple


def tree_map(function: Callable, tree: T, *others: Any, kind: type = Tensor) -> T:
    """`function` on the leaves of that kind in trees of one form; any other leaf stays."""
    if isinstance(tree, kind):
        return function(tree, *others)
    if isinstance(tree, tuple | list):
        branches: Any
        if others:
            branches = [tree_map(function, *each, kind=kind) for each in zip(tree, *others, strict=True)]
        else:
            branches = [tree_map(function, x, kind=kind) for x in tree]
        return branches if isinstance(tree, list) else _tuple_like(tree, branches)
    if isinstance(tree, dict):
        fields: Any = {key: tree_map(function, x, *(o[key] for o in others), kind=kind) for key, x in tree.items()}
        return fields
    return tree


def _tuple_like(tree: tuple, branches: list) -> Any:
    return type(tree)(*branches) if hasattr(tree, "_fields") else tuple(branches)


def tensors(tree: object) -> list[Tensor]:
    """Those in a tree, in its order."""
    if isinstance(tree, Tensor):
        return [tree]
    branches = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple | list) else ()
    return [x for branch in branches for x in tensors(branch)]


def plain(tree: object) -> Any:
    """NamedTuples become dicts, those in their fields too."""
    return {name: plain(x) for name, x in tree._asdict().items()} if hasattr(tree, "_asdict") else tree


def alike(a: object, b: object) -> bool:
    """Whether two trees of tuples differ in nothing but what their tensors hold."""
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(alike, a, b))
    return isinstance(b, Tensor) if isinstance(a, Tensor) else a == b


# Of a NamedTuple, field by field. Both are written so that Dynamo of torch 2.11, which knows no `_replace` or `_make` of a
# tuple that is made in what it compiles, can follow them.


def each_field(function: Callable, first: R, *others: Any) -> R:
    """A record as the first, of `function` of the records' fields."""
    kind: Any = type(first)
    return kind(*map(function, first, *others))


def changed(record: R, **fields: Any) -> R:
    """`record._replace(**fields)`."""
    names: Any = type(record)
    return names(**dict(zip(names._fields, record, strict=True)) | fields)


# For trees of one form that come again and again: a walk takes as long as a step, functions written for the form do not.


def reader(tree: Any) -> Callable[[Any], tuple[list[Tensor], tuple]]:
    """The function that gives, of a tree like this one, its tensors, and all else in a tuple, each after its type."""
    found, rest = [], []

    def visit(x: Any, at: str) -> None:
        if isinstance(x, Tensor):
            found.append(at)
        elif isinstance(x, tuple | list | dict):
            for key, each in x.items() if isinstance(x, dict) else enumerate(x):
                visit(each, f"{at}[{key!r}]")
        else:
            rest.append(f"type({at}), {at}, ")

    visit(tree, "tree")
    return eval(f"lambda tree: ([{', '.join(found)}], ({''.join(rest)}))")


def writer(tree: Any) -> Callable[[Any], Any]:
    """The function that makes a tree like this one, with the tensors that it is given in place of its own."""
    constants: list[Any] = []
    number = itertools.count()

    def constant(x: Any) -> str:
        constants.append(x)
        return f"constants[{len(constants) - 1}]"

    def visit(x: Any) -> str:
        if isinstance(x, Tensor):
            return f"tensors[{next(number)}]"
        if isinstance(x, dict):
            return "{" + "".join(f"{key!r}: {visit(each)}, " for key, each in x.items()) + "}"
        if isinstance(x, tuple | list):
            branches = "".join(f"{visit(each)}, " for each in x)
            record = constant(type(x)) if hasattr(x, "_fields") else ""
            return f"[{branches}]" if isinstance(x, list) else f"{record}({branches})"
        return constant(x)

    return eval(f"lambda tensors: {visit(tree)}", {"constants": constants})
