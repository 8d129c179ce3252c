"""The motion of a robot as functions in the words of `gpusim.kernels.lang`: straight-line code, and loops around it.

`before` works out what the solver needs of a state, `sweep` is one Newton step, `after` gives joint accelerations; the loops
are the solver's, Runge-Kutta's stages, and the timesteps in a step of the environment.
"""

import hashlib
import linecache
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gpusim.envs.mujoco import planar
from gpusim.envs.mujoco.model import Robot
from gpusim.envs.mujoco.planar import Physics
from gpusim.envs.mujoco.trace import INFIX, Graph, Traced, Words, needed
from gpusim.envs.mujoco.tree import Tree
from gpusim.kernels import lang

GREATEST = 1e10  # of positions and rates; MuJoCo resets a world that is beyond
WIDTH = 90  # of an expression that is written into another


class Told(NamedTuple):
    """What a step of the environment tells beside the state."""

    sound: lang.Lane  # whether positions and rates are finite; else the state stays as it was
    dx: lang.Lane = 0.0  # how far the first of the coordinates moved that nothing depends on [m]
    dy: lang.Lane = 0.0  # and the second
    tip_x: lang.Lane = 0.0  # where the robot's tip was in the last forward computation, as MuJoCo keeps it [m]
    tip_y: lang.Lane = 0.0
    felt: lang.Lane = 0.0  # the force of the limit that the task looks at, likewise [N]


def emitted(robot: Robot, state: type) -> Callable:
    """`simulate(state, action, params) -> (state, Told)`, a step of the environment's physics.

    Args:
        state: the State's class: joint positions, then rates, in the order of the joints; then what it keeps of `Told`.
    """
    source = text(robot, state)
    file = f"<robot {hashlib.sha256(source.encode()).hexdigest()[:16]}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    scope = {name: getattr(lang, name) for name in lang.__all__} | {"State": state, "Told": Told}
    scope["__name__"] = __name__
    exec(compile(source, file, "exec"), scope)
    return scope["simulate"]


def text(robot: Robot, state: Any) -> str:
    """The source of `emitted`."""
    made = _Motion(robot)
    parts = [*made.solver(), made.step_of_time(), made.step_of_environment(state._fields)]
    return "\n\n".join(parts) + "\n"


class _Motion:
    """One robot's, traced."""

    def __init__(self, robot: Robot):
        self.robot, self.tree = robot, Tree(robot)
        self.count = len(robot.joints)
        graph = self.graph = Graph()
        q, v = ([graph.name(f"{k}{j}") for j in range(self.count)] for k in "qv")
        u = [graph.name(f"u{i}") for i in range(len(robot.motors))]
        p = Physics(*(graph.name(f"p.{name}", number=True) for name in Physics._fields))
        words: Any = Words(graph)
        system = planar.system(self.tree, words, q, v, u, p)
        self.first = len(graph.nodes)  # of what depends on accelerations
        order = sorted(system.force)
        a = {j: graph.name(f"a{j}") for j in order}
        self.swept = list(planar.sweep(self.tree, words, system, a).values())
        self.accelerations = planar.settled(self.tree, system, a, p)
        self.notes: dict[str, Any] = {}
        if robot.tip:
            self.notes |= dict(zip(("tip_x", "tip_y"), planar.tip(self.tree, system.moving, q), strict=True))
        if robot.felt:
            self.notes["felt"] = planar.felt(self.tree, words, system, a)
        everything = needed([*self.swept, *self.accelerations, *self.notes.values()], set())
        used = {x.id for n in everything for x in _inputs(n)}
        self.free = [j for j in range(self.count) if q[j].id not in used]  # nothing depends on where it is
        self.bound = [j for j in range(self.count) if j not in self.free]
        self.moving = [f"q{j}" for j in self.bound] + [f"v{j}" for j in range(self.count)]
        self.names = {n.id: n.args[0] for n in graph.nodes if n.op in ("name", "number")}

    def solver(self) -> list[str]:
        given = {n.id for n in self.graph.nodes[: self.first] if not n.scalar}
        accelerations = [f"a{j}" for j in range(self.count)]
        known = {n.id for n in self.graph.nodes if n.op == "name" and n.args[0] in accelerations}
        outputs = [*self.accelerations, *self.notes.values()]
        sweep, after = (needed(x, given | known) for x in (self.swept, outputs))
        carried = {x.id for n in (*sweep, *after) for x in _inputs(n) if x.id in given}
        carried |= {x.id for x in outputs if isinstance(x, Traced) and x.id in given}
        kept = [self.graph.nodes[i] for i in sorted(carried)]
        names = dict(self.names)
        controls = [f"u{i}" for i in range(len(self.robot.motors))]
        before = _written(needed(kept, set()), kept, names)
        k = [names[x.id] for x in kept]
        heads = [f"{_many(self.moving)} = y", f"{_many(controls)} = u"]
        inside = [f"{_many(k)} = k", f"{_many(accelerations)} = a"]
        parts = [_function("before(y, u, p)", [*heads, *before, f"return {_many(k)}"])]
        for name, nodes, values in (("sweep", sweep, self.swept), ("after", after, outputs)):
            local = dict(names)
            lines = _written(nodes, values, local)
            parts.append(
                _function(f"{name}(k, a, p)", [*inside, *lines, f"return {_many(_value(x, local) for x in values)}"])
            )
        n = self.count
        found = [f"b{j}" for j in range(n)]
        loop = [
            "k = before(y, u, p)",
            f"for _ in range({self.robot.sweeps}):",
            "    a = sweep(k, a, p)",
            f"{_many([*found, *self.notes])} = after(k, a, p)",
            f"return ({_many(found)}), a, ({_many(self.notes)})" if self.notes else f"return ({_many(found)}), a",
        ]
        return [*parts, _function("accelerations(y, u, a, p)", loop)]

    def step_of_time(self) -> str:
        """`substep(y, u, a, p)`: the state after a timestep, accelerations, how far free coordinates moved, notes."""
        n, dt, note = self.count, self.robot.timestep, ", note" if self.notes else ""
        ys, found, rates = _many(self.moving), _many(f"b{j}" for j in range(n)), _many(f"v{j}" for j in range(n))
        if not self.robot.runge_kutta:
            lines = [f"b, a{note} = accelerations(y, u, a, p)", f"{ys} = y", f"{found} = b"]
            lines += [f"v{j} = v{j} + {dt!r} * b{j}" for j in range(n)]
            lines += [f"q{j} = q{j} + {dt!r} * v{j}" for j in self.bound]
            gone = [f"{dt!r} * v{j}" for j in self.free]
            return _function("substep(y, u, a, p)", [*lines, f"return ({ys}), a{_more(gone)}{note}"])
        moved = [f"q{j} + h * r{j}" for j in self.bound] + [f"v{j} + h * b{j}" for j in range(n)]
        helpers = [
            _function("rates(y)", [f"{ys} = y", f"return {rates}"]),
            _function(
                "moved(y, r, b, h)",
                [f"{ys} = y", f"{_many(f'r{j}' for j in range(n))} = r", f"{found} = b", f"return {_many(moved)}"],
            ),
            _function(
                "added(x, y, w)",
                [
                    *(f"{_many(f'{k}{j}' for j in range(n))} = {k}" for k in "xy"),
                    f"return {_many(f'x{j} + w * y{j}' for j in range(n))}",
                ],
            ),
        ]
        zeros = f"({_many(['z'] * n)})"
        gone = [f"{dt / 6.0!r} * d[{j}]" for j in self.free]
        lines = [
            f"z = zeros_like(y[{len(self.moving) - 1}])",
            f"d = {zeros}",
            f"c = {zeros}",
            "e = y",
            *([f"note = ({_many(['z'] * len(self.notes))})"] if self.notes else []),
            "for i in range(4):",
            f"    b, a{note} = accelerations(e, u, a, p)",
            "    r = rates(e)",
            "    w = 1.0 + 0.5 * i * (3 - i)",
            f"    h = {dt!r} * (0.5 + 0.25 * i * (i - 1))",
            "    d = added(d, r, w)",
            "    c = added(c, b, w)",
            "    e = moved(y, r, b, h)",
            f"return moved(y, d, c, {dt / 6.0!r}), a{_more(gone)}{note}",
        ]
        return "\n\n".join([*helpers, _function("substep(y, u, a, p)", lines)])

    def step_of_environment(self, fields: tuple[str, ...]) -> str:
        """`simulate(s, action, p)`."""
        n, robot = self.count, self.robot
        field = {f"q{j}": fields[j] for j in range(n)} | {f"v{j}": fields[n + j] for j in range(n)}
        one = len(robot.motors) == 1
        clipped = [
            f"clip({'action' if one else f'action[{i}]'}, {-m.limit!r}, {m.limit!r})"
            for i, m in enumerate(robot.motors)
        ]
        gone = ["dx", "dy"][: len(self.free)]
        step = [f"g{k}" for k in gone]
        ends = [f"{k} = {k} + {g}" for k, g in zip(gone, step, strict=True)]
        new = {f"q{j}": f"s.{field[f'q{j}']} + {k}" for j, k in zip(self.free, gone, strict=True)}
        new |= {y: y for y in self.moving} | {k: f"note[{i}]" for i, k in enumerate(self.notes)}
        values = [new[f"q{j}"] for j in range(n)] + [new[f"v{j}"] for j in range(n)] + [new[f] for f in fields[2 * n :]]
        told = [f"{k}=where(sound, {k}, 0.0)" for k in gone]
        told += [f"{k}=where(sound, note[{i}], 0.0)" for i, k in enumerate(self.notes)]
        lines = [
            f"y = ({_many(f's.{field[y]}' for y in self.moving)})",
            f"u = ({_many(clipped)})",
            f"z = zeros_like(s.{fields[0]})",
            f"a = ({_many(['z'] * n)})",
            *(f"{k} = z" for k in gone),
            *([f"note = ({_many(['z'] * len(self.notes))})"] if self.notes else []),
            f"for _ in range({robot.frame_skip}):",
            f"    y, a{_more(step)}{', note' if self.notes else ''} = substep(y, u, a, p)",
            *(f"    {line}" for line in ends),
            f"{_many(self.moving)} = y",
            f"size = {' + '.join(f'absolute({y})' for y in self.moving)}",
            f"sound = size < {GREATEST!r}",
            f"new = State({', '.join(f'where(sound, {x}, s.{f})' for f, x in zip(fields, values, strict=True))})",
            f"return new, Told({', '.join(['sound', *told])})",
        ]
        return _function("simulate(s, action, p)", lines)


def _function(head: str, lines: Iterable[str]) -> str:
    return f"def {head}:\n" + "".join(f"    {line}\n" for line in lines)


def _many(names: Iterable[str]) -> str:
    """As the members of a tuple, one alone too."""
    listed = list(names)
    return f"{listed[0]}," if len(listed) == 1 else ", ".join(listed)


def _more(values: list[str]) -> str:
    return "".join(f", {x}" for x in values)


def _inputs(node: Traced) -> list[Traced]:
    return [x for x in node.args if isinstance(x, Traced)]


def _value(x: Any, names: dict[int, str]) -> str:
    return names[x.id] if isinstance(x, Traced) else repr(float(x))


def _written(nodes: list[Traced], outputs: list[Any], names: dict[int, str]) -> list[str]:
    """Statements that compute the nodes, whose names are added to `names`; what is used once, and what is made of parameters
    alone, stands inside what uses it."""
    uses: dict[int, int] = {}
    for x in [x for n in nodes for x in _inputs(n)] + [x for x in outputs for _ in (0, 1) if isinstance(x, Traced)]:
        uses[x.id] = uses.get(x.id, 0) + 1
    lines = []
    for node in nodes:
        args = [_value(x, names) for x in node.args]
        whole = _expression(node.op, args)
        short = uses[node.id] == 1 and len(whole) < WIDTH and node.op not in ("where", "div")
        if node.scalar or short:
            names[node.id] = f"({whole})" if node.op in INFIX or node.op == "neg" else whole
        else:
            names[node.id] = f"t{node.id}"
            lines.append(f"t{node.id} = {whole}")
    return lines


def _expression(op: str, args: list[str]) -> str:
    if op in INFIX:
        return f"{args[0]} {INFIX[op]} {args[1]}"
    return f"-{args[0]}" if op == "neg" else f"{op}({', '.join(args)})"
