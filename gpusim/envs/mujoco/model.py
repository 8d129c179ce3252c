"""A robot in a plane as a table of numbers, in the terms of MuJoCo's models, and what follows from shapes alone.

Places are pairs in the robot's plane, (x, z) of those that stand on the ground and (x, y) of those that lie on it. Angles
are in radians.
"""

import math
from typing import NamedTuple

Pair = tuple[float, float]
SOLREF = (0.02, 1.0)
SOLIMP = (0.9, 0.95, 0.001)


class Joint(NamedTuple):
    """A slide along `"x"`, `"y"` or `"z"`, or a hinge about `"+y"`, `"-y"` or `"+z"`."""

    name: str
    axis: str
    pos: Pair = (0.0, 0.0)  # of a hinge, in the body's frame [m]
    range: Pair | None = None  # limits [m or rad]
    ref: float = 0.0  # its coordinate as the model is drawn
    damping: float = 0.0
    armature: float = 0.0  # inertia of the rotor
    stiffness: float = 0.0  # of a spring that rests at 0
    margin: float = 0.0  # how far from a limit that begins to act
    solref: Pair = SOLREF
    solimp: tuple[float, float, float] = SOLIMP

    @property
    def slide(self) -> bool:
        return len(self.axis) == 1


class Capsule(NamedTuple):
    """A cylinder with round ends; a sphere, where `half` is (0, 0)."""

    middle: Pair  # in the body's frame [m]
    half: Pair  # from the middle to an end's centre
    radius: float
    friction: float = 1.0
    density: float = 1000.0  # [kg/m³]

    @property
    def length(self) -> float:
        """From one end's centre to the other's."""
        return 2.0 * math.hypot(*self.half)

    @property
    def mass(self) -> float:
        r = self.radius
        return self.density * math.pi * r * r * (self.length + 4.0 * r / 3.0)

    @property
    def inertia(self) -> Pair:
        """About its axis, and about a line across it through the middle, of its mass."""
        r, length, mass = self.radius, self.length, self.mass
        ends = mass * 4.0 * r / (4.0 * r + 3.0 * length)
        rod, ball = mass - ends, 0.4 * ends * r * r
        across = rod * (3.0 * r * r + length * length) / 12.0 + ball + ends * length * (3.0 * r + 2.0 * length) / 8.0
        return rod * r * r / 2.0 + ball, across


def capsule(pos: Pair, half: float, radius: float, angle: float = 0.0, friction: float = 1.0) -> Capsule:
    """As MuJoCo's `pos`, `size` and `axisangle="0 1 0 angle"`: at no angle it stands upright."""
    return Capsule(pos, _clean((half * math.sin(angle), half * math.cos(angle))), radius, friction)


def between(start: Pair, end: Pair, radius: float) -> Capsule:
    """As MuJoCo's `fromto`."""
    middle = (start[0] + end[0]) / 2.0, (start[1] + end[1]) / 2.0
    return Capsule(middle, ((end[0] - start[0]) / 2.0, (end[1] - start[1]) / 2.0), radius)


def _clean(pair: Pair) -> Pair:
    """Without what is rounding of nothing, which would cost operations at every step."""
    return tuple(0.0 if abs(x) < 1e-14 else x for x in pair)  # type: ignore[return-value]


class Body(NamedTuple):
    name: str
    parent: str  # the name of the body it hangs on; "": the world
    pos: Pair  # of its frame in the parent's [m]
    joints: tuple[Joint, ...]
    shapes: tuple[Capsule, ...]


class Motor(NamedTuple):
    joint: str
    gear: float
    limit: float = 1.0  # controls lie in [-limit, limit]


class Contact(NamedTuple):
    """Of capsules with the ground, the line z = 0, and with one another."""

    friction: float = 1.0  # of the ground; a contact has the greater of two
    margin: float = 0.0  # the sum of the two shapes'
    solref: Pair = SOLREF
    solimp: tuple[float, float, float] = SOLIMP
    with_itself: bool = False  # whether bodies that are not neighbours touch each other, without friction


class Robot(NamedTuple):
    plane: str  # "xz" or "xy"
    timestep: float  # [s]
    frame_skip: int  # timesteps in a step of the environment
    runge_kutta: bool  # of fourth order; else semi-implicit Euler
    sweeps: int  # Newton steps for each solution of contacts and limits
    bodies: tuple[Body, ...]  # parents first
    motors: tuple[Motor, ...]
    contact: Contact | None = None
    total_mass: float | None = None  # to which all masses are scaled [kg]
    gravity: Pair = (0.0, 0.0)  # in the plane [m/s²]
    fluid: bool = False  # whether bodies are slowed by a medium
    tip: tuple[str, Pair] | None = None  # a point of a body that the task looks at
    aim: str | None = None  # the body from whose origin the point is told; None: the world's
    felt: str | None = None  # a joint whose limit's force the task looks at

    @property
    def dt(self) -> float:
        """Seconds of a step of the environment."""
        return self.timestep * self.frame_skip

    @property
    def joints(self) -> tuple[Joint, ...]:
        return tuple(joint for body in self.bodies for joint in body.joints)


class Mass(NamedTuple):
    """Of a body."""

    mass: float  # [kg]
    centre: Pair  # in the body's frame [m]
    inertia: float  # about the plane's normal through the centre [kg·m²]


def masses(robot: Robot) -> list[Mass]:
    """Of every body, by its shapes."""
    total = sum(shape.mass for body in robot.bodies for shape in body.shapes)
    scale = 1.0 if robot.total_mass is None else robot.total_mass / total
    return [_mass(body.shapes, scale) for body in robot.bodies]


def _mass(shapes: tuple[Capsule, ...], scale: float) -> Mass:
    mass = sum(s.mass for s in shapes)
    centre = tuple(sum(s.mass * s.middle[i] for s in shapes) / mass for i in (0, 1))
    apart = [math.dist(s.middle, centre) for s in shapes]
    inertia = sum(s.inertia[1] + s.mass * d * d for s, d in zip(shapes, apart, strict=True))
    return Mass(scale * mass, centre, scale * inertia)  # type: ignore[arg-type]
