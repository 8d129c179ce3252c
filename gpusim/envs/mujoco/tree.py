"""`Tree`: the constants of a planar robot's equations, worked out once from its table.

Degrees of freedom are numbered as the joints are. Their solver coordinates are slides as they stand and, for every hinge,
the absolute angle of the body that it turns: so the couplings of masses need no Coriolis matrix.
"""

import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gpusim.envs.mujoco.model import Body, Capsule, Joint, Mass, Pair, Robot, masses

LEAST, MOST = 1e-4, 0.9999  # between which MuJoCo keeps an impedance


class Spring(NamedTuple):
    """How hard a constraint pushes back: MuJoCo's solref and solimp."""

    stiffness: float  # k of the reference acceleration −b·v − k·imp·d
    damping: float  # b
    low: float  # impedance where it begins to act
    high: float  # and `width` further in
    width: float


class Limit(NamedTuple):
    joint: int
    low: float
    high: float
    margin: float
    weight: float  # the joint's inverse inertia
    spring: Spring


class Point(NamedTuple):
    """An end of a capsule that may touch the ground."""

    hinge: int
    place: Pair  # in the hinge's frame
    radius: float
    friction: float
    weight: float  # the body's inverse mass


class Segment(NamedTuple):
    """A capsule in the frame of its hinge."""

    hinge: int
    middle: Pair
    along: Pair  # of length 1
    half: float
    radius: float


class Touch(NamedTuple):
    """Two capsules of one robot that may touch."""

    one: Segment
    other: Segment
    weight: float


class Drag(NamedTuple):
    """A body in a medium, as a box of the same inertia: edges along it, across it and along the plane's normal."""

    hinge: int
    centre: Pair
    along: Pair
    across: Pair
    edges: tuple[float, float, float]


class Tree:
    """What the equations of `gpusim.envs.mujoco.planar` read; all numbers are Python's.

    Attributes:
        slides, hinges: the joints of each kind, parents first.
        axis: of every slide, a pair.
        turn: of every hinge 1 or -1, whether its angle grows from the plane's first axis to the second.
        parent: of every hinge the one that its body hangs on, or None.
        link: of every hinge its anchor, in its parent's frame from its parent's anchor (without one, in the world).
        under: of every hinge the slides that carry it.
        above: of every joint those whose coordinates move what it moves: the sparsity of the mass matrix.
        moved: of every slide the mass that it carries.
        moment, inertia: of every hinge the first moment of its whole subtree, children at their anchors, and the second.
    """

    def __init__(self, robot: Robot):
        self.robot = robot
        self.joints: tuple[Joint, ...] = robot.joints
        self.slides: list[int] = []
        self.hinges: list[int] = []
        self.axis: dict[int, Pair] = {}
        self.turn: dict[int, int] = {}
        self.parent: dict[int, int | None] = {}
        self.link: dict[int, Pair] = {}
        self.under: dict[int, tuple[int, ...]] = {}
        self.above: dict[int, list[int]] = {}
        self.bodies: list[Any] = [
            _Body(None, (0.0, 0.0), (), Mass(0.0, (0.0, 0.0), 0.0), Body("", "", (0.0, 0.0), (), ()))
        ]
        names = {"": self.bodies[0]}
        for body, mass in zip(robot.bodies, masses(robot), strict=True):
            names[body.name] = self._placed(body, names[body.parent], mass)
            self.bodies.append(names[body.name])
        self.names: dict[str, Any] = names
        self._composites()

    def _placed(self, body: Body, parent: Any, mass: Mass) -> "_Body":
        hinge, slides = parent.hinge, list(parent.slides)
        offset = _plus(parent.offset, body.pos)
        for joint in body.joints:
            j = self.joints.index(joint)
            if joint.slide:
                assert hinge is None, "slides come before hinges"
                self.axis[j] = ((1.0, 0.0), (0.0, 1.0))[self.robot.plane.index(joint.axis)]
                self.above[j] = list(slides)
                slides.append(j)
                self.slides.append(j)
            else:
                self.turn[j] = -1 if joint.axis == "+y" else 1
                self.parent[j], self.link[j] = hinge, _plus(offset, joint.pos)
                self.under[j] = tuple(slides)
                self.above[j] = slides + self._chain(hinge)[::-1]
                hinge, offset = j, (-joint.pos[0], -joint.pos[1])
                self.hinges.append(j)
        return _Body(hinge, offset, tuple(slides), mass, body)

    def _chain(self, hinge: int | None) -> list[int]:
        """A hinge and those it hangs on, itself first."""
        return [] if hinge is None else [hinge, *self._chain(self.parent[hinge])]

    def _composites(self) -> None:
        self.moved = dict.fromkeys(self.slides, 0.0)
        whole, self.inertia = dict.fromkeys(self.hinges, 0.0), dict.fromkeys(self.hinges, 0.0)
        self.moment: dict[int, Pair] = dict.fromkeys(self.hinges, (0.0, 0.0))
        for body in self.bodies[1:]:
            mass, centre = body.mass.mass, _plus(body.offset, body.mass.centre)
            for s in body.slides:
                self.moved[s] += mass
            if (h := body.hinge) is not None:
                whole[h] += mass
                self.moment[h] = _plus(self.moment[h], _times(mass, centre))
                self.inertia[h] += body.mass.inertia + mass * _dot(centre, centre)
        for h in reversed(self.hinges):
            if (p := self.parent[h]) is not None:
                d = self.link[h]
                whole[p] += whole[h]
                self.moment[p] = _plus(self.moment[p], _times(whole[h], d))
                self.inertia[p] += whole[h] * _dot(d, d)
        self.moment = {h: _clean(x) for h, x in self.moment.items()}
        self.link = {h: _clean(x) for h, x in self.link.items()}

    def spring(self, solref: Pair, solimp: tuple[float, float, float]) -> Spring:
        low, high = (min(max(x, LEAST), MOST) for x in solimp[:2])
        time = max(solref[0], 2.0 * self.robot.timestep)
        return Spring(1.0 / (high * high * time * time * solref[1] ** 2), 2.0 / (high * time), low, high, solimp[2])

    @cached_property
    def limits(self) -> list[Limit]:
        return [
            Limit(j, *x.range, x.margin, self.weights[0][j], self.spring(x.solref, x.solimp))
            for j, x in enumerate(self.joints)
            if x.range is not None
        ]

    @cached_property
    def points(self) -> list[Point]:
        """The ends of all capsules, where there is a ground."""
        found, contact = [], self.robot.contact
        for body, weight in zip(self.bodies, self.weights[1], strict=True):
            for shape in body.shapes if contact else ():
                middle = _plus(body.offset, shape.middle)
                for side in (1.0, -1.0):
                    place = _plus(middle, _times(side, shape.half))
                    friction = max(shape.friction, contact.friction)  # type: ignore[union-attr]
                    found.append(Point(body.hinge, place, shape.radius, friction, weight))
        return found

    @cached_property
    def touches(self) -> list[Touch]:
        """Pairs of capsules of different bodies, none of which hangs on the other."""
        contact, bodies = self.robot.contact, list(enumerate(self.bodies))[1:]
        if not (contact and contact.with_itself):
            return []
        return [
            Touch(_segment(a, x), _segment(b, y), self.weights[1][i] + self.weights[1][k])
            for i, a in bodies
            for k, b in bodies[i:]
            if a.body.name != b.body.parent and b.body.name != a.body.parent
            for x in a.shapes
            for y in b.shapes
        ]

    @cached_property
    def drags(self) -> list[Drag]:
        found = []
        for body in self.bodies[1:] if self.robot.fluid else ():
            (shape,) = body.shapes
            about, across = shape.inertia
            long = _edge(2.0 * across - about, shape.mass)
            wide = _edge(about, shape.mass)
            along = _times(2.0 / shape.length, shape.half)
            centre = _plus(body.offset, shape.middle)
            found.append(Drag(body.hinge, centre, along, (-along[1], along[0]), (long, wide, wide)))
        return found

    @cached_property
    def motors(self) -> list[tuple[int, float]]:
        """Of every motor its joint and gear."""
        names = [joint.name for joint in self.joints]
        return [(names.index(motor.joint), motor.gear) for motor in self.robot.motors]

    @cached_property
    def weights(self) -> tuple[list[float], list[float]]:
        """MuJoCo's `invweight0` of every joint, and of every body's translation, the world's first, undisturbed."""
        inverse = np.linalg.inv(self._mass_matrix())
        jacobians = [self._jacobian(body) for body in self.bodies]
        bodies = [float(np.trace(x @ inverse @ x.T)) / 3.0 for x in jacobians]  # of three dimensions
        return np.diag(inverse).tolist(), bodies

    def _mass_matrix(self) -> np.ndarray:
        """In joint coordinates."""
        matrix = np.diag([joint.armature for joint in self.joints])
        for body in self.bodies[1:]:
            x, turns = self._jacobian(body), self._turns(body)
            matrix = matrix + body.mass.mass * x.T @ x + body.mass.inertia * np.outer(turns, turns)
        return matrix

    def _turns(self, body: Any) -> np.ndarray:
        turns = np.zeros(len(self.joints))
        for h in self._chain(body.hinge):
            turns[h] = self.turn[h]
        return turns

    def _jacobian(self, body: Any) -> np.ndarray:
        """`[2, joints]`: how the body's centre of mass moves with every joint, nothing being turned."""
        jacobian = np.zeros((2, len(self.joints)))
        for s in body.slides:
            jacobian[:, s] = self.axis[s]
        arm = _plus(body.offset, body.mass.centre)
        for h in self._chain(body.hinge):
            jacobian[:, h] = self.turn[h] * -arm[1], self.turn[h] * arm[0]
            arm = _plus(arm, self.link[h])
        return jacobian


class _Body(NamedTuple):
    """A body in the frame of its hinge."""

    hinge: int | None
    offset: Pair  # the origin of its own frame there
    slides: tuple[int, ...]
    mass: Mass
    body: Body

    @property
    def shapes(self) -> tuple[Capsule, ...]:
        return self.body.shapes


def _segment(body: Any, shape: Capsule) -> Segment:
    half = shape.length / 2.0
    middle, along = _plus(body.offset, shape.middle), _clean(_times(1.0 / half, shape.half))
    return Segment(body.hinge, middle, along, half, shape.radius)


def _edge(inertia: float, mass: float) -> float:
    return math.sqrt(max(1e-15, inertia) / mass * 6.0)


def _plus(a: Pair, b: Pair) -> Pair:
    return a[0] + b[0], a[1] + b[1]


def _times(x: float, a: Pair) -> Pair:
    return x * a[0], x * a[1]


def _dot(a: Pair, b: Pair) -> float:
    return a[0] * b[0] + a[1] * b[1]


def _clean(a: Pair) -> Pair:
    """Without what is rounding of nothing, which would cost operations at every step."""
    return tuple(0.0 if abs(x) < 1e-14 else x for x in a)  # type: ignore[return-value]
