"""Lanes that record what is done to them: constants are folded, and what is computed twice is recorded once."""

from typing import Any

from gpusim.envs.mujoco.planar import nothing

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "gt": ">"}


class Graph:
    """What was recorded, in an order in which it can be computed."""

    def __init__(self) -> None:
        self.nodes: list[Traced] = []
        self.known: dict[tuple, Traced] = {}

    def node(self, op: str, *args: Any) -> "Traced":
        """The value of an operation; a `"name"` stands for itself."""
        key = (op, *(a.id if isinstance(a, Traced) else (a,) for a in args))
        if key not in self.known:
            self.known[key] = Traced(self, len(self.nodes), op, args)
            self.nodes.append(self.known[key])
        return self.known[key]

    def name(self, text: str, number: bool = False) -> "Traced":
        """An input; `number`: one that may be a number where others are lanes."""
        return self.node("number" if number else "name", text)


class Traced:
    """A value that will be computed. It is added to, multiplied and compared as a lane is."""

    __slots__ = ("args", "graph", "id", "op", "scalar")
    scalar: bool  # whether it is made of parameters alone, which may be numbers

    def __init__(self, graph: Graph, id: int, op: str, args: tuple):
        self.graph, self.id, self.op, self.args = graph, id, op, args
        made = op in INFIX or op == "neg"
        self.scalar = op == "number" or (made and all(a.scalar for a in args if isinstance(a, Traced)))

    def __neg__(self) -> Any:
        return self.args[0] if self.op == "neg" else self.graph.node("neg", self)

    def __add__(self, other: Any) -> Any:
        if nothing(other):
            return self
        if self.op == "neg":
            return other - self.args[0]
        if isinstance(other, Traced):
            if other.op == "neg":
                return self - other.args[0]
            if other.id < self.id:
                return self.graph.node("add", other, self)
        return self.graph.node("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if not isinstance(other, Traced):
            return self + -other
        if other.op == "neg":
            return self + other.args[0]
        return 0.0 if other is self else self.graph.node("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        if self.op == "neg":
            return self.args[0] + other
        return -self if nothing(other) else self.graph.node("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        if self.op == "neg":
            return -(self.args[0] * other)
        if not isinstance(other, Traced):
            return self._by_number(other)
        if other.op == "neg":
            return -(self * other.args[0])
        first, second = (other, self) if other.id < self.id else (self, other)
        return self.graph.node("mul", first, second)

    __rmul__ = __mul__

    def _by_number(self, other: float) -> Any:
        if other in (0.0, 1.0, -1.0):
            return 0.0 if other == 0.0 else self if other == 1.0 else -self
        if self.op == "mul" and not isinstance(self.args[1], Traced):
            return self.args[0] * (self.args[1] * other)
        return self.graph.node("mul", self, other)

    def __truediv__(self, other: Any) -> Any:
        return self.graph.node("div", self, other) if isinstance(other, Traced) else self * (1.0 / other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.graph.node("div", other, self)

    def __lt__(self, other: Any) -> Any:
        return self.graph.node("lt", self, other)

    def __gt__(self, other: Any) -> Any:
        return self.graph.node("gt", self, other)


class Words:
    """Those of the vocabulary that the equations use, recorded."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def __getattr__(self, word: str) -> Any:
        return lambda *args: self.graph.node(word, *args)


def needed(outputs: list[Any], given: set[int]) -> list[Traced]:
    """What has to be computed for the outputs, in order, where the nodes `given` are there already."""
    found: dict[int, Traced] = {}
    todo = [x for x in outputs if isinstance(x, Traced)]
    while todo:
        x = todo.pop()
        if x.id not in given and x.id not in found and x.op not in ("name", "number"):
            found[x.id] = x
            todo += [a for a in x.args if isinstance(a, Traced)]
    return [found[i] for i in sorted(found)]
