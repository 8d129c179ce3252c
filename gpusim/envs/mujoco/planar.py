"""The motion of a planar tree as MuJoCo 4 computes it, one lane per quantity: the specification, in Python's plain loops.

Lanes are NumPy arrays, or `gpusim.envs.mujoco.trace.Traced`, of which code is made. A vector is a pair of lanes in the plane
(u, v), and turns by (c u − s v, s u + c v); what belongs to a joint is kept by its number. The equations, and how near they
come to MuJoCo, are in docs/robots.md.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from gpusim.envs.mujoco.tree import Drag, Limit, Point, Segment, Spring, Touch, Tree

Lane = Any
Vector = tuple[Lane, Lane]


class Physics(NamedTuple):
    """What may differ among worlds: numbers or lanes. Those that end in `scale` multiply what the model says."""

    gravity: Lane = 9.81  # downwards [m/s²]
    friction_scale: Lane = 1.0
    damping_scale: Lane = 1.0  # of joints
    gear_scale: Lane = 1.0  # of motors
    mass_scale: Lane = 1.0  # of masses and inertias; MuJoCo's weights of constraints stay as they were
    density: Lane = 0.0  # of the medium [kg/m³]
    viscosity: Lane = 0.0  # [kg/(m·s)]


class Moving(NamedTuple):
    """Where a tree's hinges point and how they turn."""

    cos: dict[int, Lane]
    sin: dict[int, Lane]
    rate: dict[int, Lane]  # of the absolute angle
    link: dict[int, Vector]  # from the parent's anchor to this one's, turned
    moment: dict[int, Vector]  # turned


class Rows(NamedTuple):
    """The constraints of one solution: a row x of accelerations pushes with weight·x where x < 0."""

    points: list["Contact"]
    limits: list["Stop"]
    touches: list["Press"]


class Contact(NamedTuple):
    """A point on the ground: rows n + t, n − t and twice n of the pyramid, of normal and scaled tangential acceleration."""

    hinge: int
    arm: Vector  # from the hinge's anchor
    weight: Lane
    friction: Lane
    normal: Lane  # reference of n
    side: Lane  # and of t


class Stop(NamedTuple):
    joint: int
    low: Lane  # whether it is the lower limit
    weight: Lane
    reference: Lane


class Press(NamedTuple):
    """Two capsules of the robot on each other: one row, with its coefficients over absolute angles."""

    row: dict[int, Lane]
    weight: Lane
    reference: Lane


class System(NamedTuple):
    """M·a = F, and the constraints."""

    moving: Moving
    matrix: dict[tuple[int, int], Lane]  # of every joint with itself and those above it
    force: dict[int, Lane]
    rows: Rows


def system(t: Tree, o: Any, q: Sequence[Lane], v: Sequence[Lane], controls: Sequence[Lane], p: Physics) -> System:
    """What the solver needs of a state, joint coordinates `q` and rates `v`, and of clipped controls; `o` has the words."""
    moving = kinematics(t, o, q, v)
    matrix, force = masses(t, moving, p)
    torques(t, q, v, controls, p, force)
    if t.drags:
        drag(t, o, moving, v, p, force)
    for j in t.hinges:
        if t.joints[j].armature:
            add_inertia(t, matrix, j, t.joints[j].armature)
    return System(moving, matrix, force, constraints(t, o, q, v, moving, p))


def kinematics(t: Tree, o: Any, q: Sequence[Lane], v: Sequence[Lane]) -> Moving:
    angle: dict[int, Lane] = {}
    made = Moving({}, {}, {}, {}, {})
    for h in t.hinges:
        up, ref = t.parent[h], t.joints[h].ref
        turned, rate = (q[h] - ref if ref else q[h]), v[h]
        if t.turn[h] < 0:
            turned, rate = -turned, -rate
        angle[h] = turned if up is None else angle[up] + turned
        made.rate[h] = rate if up is None else made.rate[up] + rate
        made.cos[h], made.sin[h] = o.cos(angle[h]), o.sin(angle[h])
        made.link[h] = t.link[h] if up is None else turn(made, up, t.link[h])
        made.moment[h] = turn(made, h, t.moment[h])
    return made


def turn(m: Moving, hinge: int, a: tuple[float, float]) -> Vector:
    """A vector of numbers in the hinge's frame, as it stands."""
    c, s = m.cos[hinge], m.sin[hinge]
    return c * a[0] - s * a[1], s * a[0] + c * a[1]


def masses(t: Tree, m: Moving, p: Physics) -> tuple[dict[tuple[int, int], Lane], dict[int, Lane]]:
    """The mass matrix, and the forces of gravity and of turning."""
    scale, g = p.mass_scale, (t.robot.gravity[0], -p.gravity if t.robot.gravity[1] else 0.0)
    matrix: dict[tuple[int, int], Lane] = {}
    force: dict[int, Lane] = {}
    for s in t.slides:
        matrix |= {(s, r): 0.0 for r in t.above[s]} | {(s, s): t.moved[s] * scale + t.joints[s].armature}
        force[s] = t.moved[s] * dot(t.axis[s], g)
    square = {h: m.rate[h] * m.rate[h] for h in t.hinges}
    for h in t.hinges:
        matrix[h, h] = t.inertia[h] * scale
        force[h] = cross(m.moment[h], g)
    for h in t.hinges:
        u = m.moment[h]
        for s in t.under[h]:
            matrix[h, s] = scale * dot(t.axis[s], perp(u))
            force[s] = force[s] + square[h] * dot(t.axis[s], u)
        for a, e in ancestors(t, m, h):
            matrix[h, a] = scale * dot(e, u)
            x = cross(e, u)
            force[a] = force[a] + square[h] * x
            force[h] = force[h] - square[a] * x
    return matrix, {j: scale * x for j, x in force.items()}


def ancestors(t: Tree, m: Moving, h: int) -> list[tuple[int, Vector]]:
    """The hinges that this one hangs on, each with the link that leads from it towards this one."""
    found, child, a = [], h, t.parent[h]
    while a is not None:
        found.append((a, m.link[child]))
        child, a = a, t.parent[a]
    return found


def torques(t: Tree, q: Any, v: Any, controls: Any, p: Physics, force: dict[int, Lane]) -> None:
    """Adds those of dampers, springs and motors."""
    torque: dict[int, Lane] = {}
    for j, joint in enumerate(t.joints):
        if joint.damping:
            torque[j] = -(joint.damping * p.damping_scale) * v[j]
        if joint.stiffness:
            torque[j] = torque.get(j, 0.0) - joint.stiffness * q[j]
    for (j, gear), control in zip(t.motors, controls, strict=True):
        torque[j] = torque.get(j, 0.0) + (gear * p.gear_scale) * control
    for j, x in torque.items():
        add_force(t, force, j, x)


def add_force(t: Tree, force: dict[int, Lane], j: int, x: Lane) -> None:
    """Adds a force along a slide, or a torque between a hinge's body and its parent."""
    if j in t.axis:
        force[j] = force[j] + x
        return
    x = x if t.turn[j] > 0 else -x
    force[j] = force[j] + x
    if (up := t.parent[j]) is not None:
        force[up] = force[up] - x


def add_inertia(t: Tree, matrix: dict[tuple[int, int], Lane], j: int, x: Lane) -> None:
    """Adds what resists a joint's own acceleration."""
    matrix[j, j] = matrix[j, j] + x
    if (up := t.parent.get(j)) is not None:
        matrix[up, up] = matrix[up, up] + x
        matrix[j, up] = matrix[j, up] - x


def drag(t: Tree, o: Any, m: Moving, v: Any, p: Physics, force: dict[int, Lane]) -> None:
    """Adds the medium's resistance, by MuJoCo's inertia boxes."""
    anchors = point_rates(t, m, v, m.rate)
    pushed: dict[int, list[Vector]] = {h: [] for h in t.hinges}
    for d in t.drags:
        f, torque = resistance(o, m, d, anchors[d.hinge], p)
        force[d.hinge] = force[d.hinge] + torque + cross(turn(m, d.hinge, d.centre), f)
        pushed[d.hinge].append(f)
    pass_down(t, m, pushed, force)


def resistance(o: Any, m: Moving, d: Drag, anchor: Vector, p: Physics) -> tuple[Vector, Lane]:
    """Force at the body's centre, and torque."""
    a, b, w = d.edges
    mean, rate = (a + b + w) / 3.0, m.rate[d.hinge]
    along, across, arm = (turn(m, d.hinge, x) for x in (d.along, d.across, d.centre))
    speed = plus(anchor, times(rate, perp(arm)))
    slow = p.viscosity * (3.0 * math.pi * mean)
    x, y = dot(speed, along), dot(speed, across)
    fx = -x * (slow + (p.density * (0.5 * b * w)) * o.absolute(x))
    fy = -y * (slow + (p.density * (0.5 * a * w)) * o.absolute(y))
    stiff, thick = p.viscosity * (math.pi * mean**3), p.density * (w * (a**4 + b**4) / 64.0)
    return plus(times(fx, along), times(fy, across)), -rate * (stiff + thick * o.absolute(rate))


def pass_down(t: Tree, m: Moving, pushed: dict[int, list[Vector]], force: dict[int, Lane]) -> None:
    """Adds forces at bodies, given at the anchors of their hinges, to all that carries them."""
    for h in reversed(t.hinges):
        if not pushed[h]:
            continue
        f, up = total(pushed[h]), t.parent[h]
        if up is not None:
            force[up] = force[up] + cross(m.link[h], f)
            pushed[up].append(f)
        for s in () if up is not None else t.under[h]:
            force[s] = force[s] + dot(t.axis[s], f)


def point_rates(t: Tree, m: Moving, slides: Any, rate: dict[int, Lane]) -> dict[int, Vector]:
    """How the anchors move with rates of slides and absolute angles; of accelerations, without what turning adds."""
    found: dict[int, Vector] = {}
    for h in t.hinges:
        up = t.parent[h]
        if up is None:
            found[h] = total([times(slides[s], t.axis[s]) for s in t.under[h]] or [(0.0, 0.0)])
        else:
            found[h] = plus(found[up], times(rate[up], perp(m.link[h])))
    return found


def places(t: Tree, m: Moving, q: Any) -> dict[int, Vector]:
    """The hinges' anchors in the world; with `q` None from the root's, exact wherever the robot is."""
    found: dict[int, Vector] = {}
    for h in t.hinges:
        up = t.parent[h]
        if up is not None:
            found[h] = plus(found[up], m.link[h])
        elif q is None:
            found[h] = (0.0, 0.0)
        else:
            found[h] = total([t.link[h], *(times(q[s] - t.joints[s].ref, t.axis[s]) for s in t.under[h])])
    return found


def constraints(t: Tree, o: Any, q: Any, v: Any, m: Moving, p: Physics) -> Rows:
    if not (t.points or t.touches):
        return Rows([], [_stop(o, x, q, v) for x in t.limits], [])
    anchors, rates, near = places(t, m, q), point_rates(t, m, v, m.rate), places(t, m, None)
    contact: Any = t.robot.contact
    spring = t.spring(contact.solref, contact.solimp)
    return Rows(
        [_contact(o, m, x, anchors[x.hinge], rates[x.hinge], contact.margin, spring, p) for x in t.points],
        [_stop(o, x, q, v) for x in t.limits],
        [_press(t, o, m, x, near, contact.margin, spring) for x in t.touches],
    )


def pull(o: Any, spring: Spring, inside: Lane, weight: Lane) -> tuple[Lane, Lane]:
    """The weight of a row and the acceleration that it asks for beside damping; `inside` is the depth, 0 at the margin."""
    if spring.low == spring.high:
        strength = spring.low / ((1.0 - spring.low) * weight)
        return o.where(inside > 0.0, strength, 0.0), (spring.stiffness * spring.low) * inside
    x = o.minimum(inside * (1.0 / spring.width), 1.0)
    rest = 1.0 - x
    y = o.where(x < 0.5, 2.0 * x * x, 1.0 - 2.0 * rest * rest)
    impedance = spring.low + y * (spring.high - spring.low)
    strength = impedance / ((1.0 - impedance) * weight)
    return o.where(inside > 0.0, strength, 0.0), spring.stiffness * impedance * inside


def _contact(
    o: Any, m: Moving, x: Point, anchor: Vector, rate: Vector, margin: float, spring: Spring, p: Physics
) -> Contact:
    """Along the pyramid's edges in the plane, n ± t; its other two, out of it, are one row of twice the weight."""
    place = turn(m, x.hinge, x.place)
    distance = anchor[1] + place[1] - x.radius
    arm = place[0], place[1] - x.radius - 0.5 * distance
    friction = p.friction_scale * x.friction
    squared = friction * friction
    weight, push = pull(o, spring, margin - distance, 2.0 * squared * (1.0 + squared) * x.weight)
    turned = m.rate[x.hinge]
    up, along = rate[1] + turned * arm[0], rate[0] - turned * arm[1]
    return Contact(x.hinge, arm, weight, friction, push - spring.damping * up, (-spring.damping * friction) * along)


def _stop(o: Any, x: Limit, q: Any, v: Any) -> Stop:
    """Of the nearer limit: the joint cannot be at both."""
    low = q[x.joint] < 0.5 * (x.low + x.high)
    distance = o.where(low, q[x.joint] - x.low, x.high - q[x.joint])
    weight, push = pull(o, x.spring, x.margin - distance, x.weight)
    return Stop(x.joint, low, weight, push - x.spring.damping * o.where(low, v[x.joint], -v[x.joint]))


def _press(t: Tree, o: Any, m: Moving, x: Touch, near: dict[int, Vector], margin: float, spring: Spring) -> Press:
    (middle_a, along_a), (middle_b, along_b) = (_where(m, s, near) for s in (x.one, x.other))
    a, b = x.one, x.other
    ta, tb = _nearest(o, minus(middle_a, middle_b), along_a, along_b, a.half, b.half)
    pa, pb = plus(middle_a, times(ta, along_a)), plus(middle_b, times(tb, along_b))
    gap = minus(pb, pa)
    length = o.sqrt(o.maximum(dot(gap, gap), 1e-20))
    normal = gap[0] / length, gap[1] / length
    distance = length - a.radius - b.radius
    arm_a = plus(minus(pa, near[a.hinge]), times(a.radius + 0.5 * distance, normal))
    arm_b = minus(minus(pb, near[b.hinge]), times(b.radius + 0.5 * distance, normal))
    row = _row(t, m, b.hinge, arm_b, normal), _row(t, m, a.hinge, arm_a, normal)
    apart = {h: c for h, c in row[0].items() if h not in row[1]}
    apart |= {h: -c for h, c in row[1].items() if h not in row[0]}
    both = {a.hinge, b.hinge} & row[0].keys() & row[1].keys()  # what else carries both moves neither against the other
    apart |= {h: row[0][h] - row[1][h] for h in both}
    weight, push = pull(o, spring, margin - distance, x.weight)
    speed = sum_of([c * m.rate[h] for h, c in apart.items()])
    return Press(apart, weight, push - spring.damping * speed)


def _where(m: Moving, s: Segment, near: dict[int, Vector]) -> tuple[Vector, Vector]:
    return plus(near[s.hinge], turn(m, s.hinge, s.middle)), turn(m, s.hinge, s.along)


def _nearest(o: Any, apart: Vector, u: Vector, w: Vector, half_a: float, half_b: float) -> tuple[Lane, Lane]:
    """How far along each the nearest points are; of segments in a plane that do not cross, one is an end."""
    both, along_a, along_b = dot(u, w), dot(apart, u), dot(apart, w)

    def kept(x: Lane, half: float) -> Lane:
        return o.minimum(o.maximum(x, -half), half)

    ends = [(side * half_a, kept(side * half_a * both + along_b, half_b)) for side in (1.0, -1.0)]
    ends += [(kept(side * half_b * both - along_a, half_a), side * half_b) for side in (1.0, -1.0)]
    best: Any = None
    for a, b in ends:
        gap = minus(plus(apart, times(a, u)), times(b, w))
        found = dot(gap, gap), a, b
        if best is None:
            best = found
        else:
            closer = found[0] < best[0]
            best = tuple(o.where(closer, x, y) for x, y in zip(found, best, strict=True))
    return best[1], best[2]


def _row(t: Tree, m: Moving, hinge: int, arm: Vector, normal: Vector) -> dict[int, Lane]:
    """How a point of a body moves along the normal with the absolute angles that carry it."""
    return {hinge: cross(arm, normal)} | {a: cross(e, normal) for a, e in ancestors(t, m, hinge)}


def sweep(t: Tree, o: Any, s: System, a: dict[int, Lane]) -> dict[int, Lane]:
    """One full Newton step towards the accelerations that satisfy all; solver coordinates."""
    gradient, matrix = product(s.matrix, a), dict(s.matrix)
    gradient = {j: gradient[j] - s.force[j] for j in gradient}
    _contacts(t, o, s, a, gradient, matrix)
    for stop in s.rows.limits:
        x = o.where(stop.low, joint(t, a, stop.joint), -joint(t, a, stop.joint)) - stop.reference
        d = o.where(x < 0.0, stop.weight, 0.0)
        f = d * x
        if stop.joint in t.axis:
            matrix[stop.joint, stop.joint] = matrix[stop.joint, stop.joint] + d
        else:
            add_inertia(t, matrix, stop.joint, d)
        add_force(t, gradient, stop.joint, o.where(stop.low, f, -f))
    for press in s.rows.touches:
        x = sum_of([c * a[h] for h, c in press.row.items()]) - press.reference
        d = o.where(x < 0.0, press.weight, 0.0)
        hinges = [h for h in t.hinges if h in press.row]
        for i, h in enumerate(hinges):
            f = d * press.row[h]
            gradient[h] = gradient[h] + f * x
            for k in hinges[: i + 1]:
                matrix[h, k] = matrix[h, k] + f * press.row[k]
    step = solved(t, matrix, gradient)
    return {j: a[j] - step[j] for j in a}


def _contacts(t: Tree, o: Any, s: System, a: Any, gradient: dict[int, Lane], matrix: dict) -> None:
    """Adds the ground's: to the gradient, and to the matrix as composites, leaves first."""
    m, rates = s.moving, point_rates(t, s.moving, a, a) if s.rows.points else {}
    stiff: dict[int, list[tuple[Lane, Lane, Lane]]] = {h: [] for h in t.hinges}
    lever: dict[int, list[Vector]] = {h: [] for h in t.hinges}
    back: dict[int, list[Vector]] = {h: [] for h in t.hinges}
    for c in s.rows.points:
        h, arm = c.hinge, c.arm
        n = rates[h][1] + a[h] * arm[0] - c.normal
        across = c.friction * (rates[h][0] - a[h] * arm[1]) - c.side
        plus_, minus_ = n + across, n - across
        d_plus, d_minus = o.where(plus_ < 0.0, c.weight, 0.0), o.where(minus_ < 0.0, c.weight, 0.0)
        d_out = o.where(n < 0.0, 2.0 * c.weight, 0.0)
        both, odd = d_plus + d_minus, c.friction * (d_plus - d_minus)
        k = (c.friction * c.friction) * both, odd, both + d_out
        f_plus, f_minus = d_plus * plus_, d_minus * minus_
        f = c.friction * (f_plus - f_minus), f_plus + f_minus + d_out * n
        gradient[h] = gradient[h] + cross(arm, f)
        back[h].append(f)
        push = bent(k, perp(arm))
        matrix[h, h] = matrix[h, h] + dot(push, perp(arm))
        stiff[h].append(k)
        lever[h].append(push)
    pass_down(t, m, back, gradient)
    for h in reversed(t.hinges):
        if not stiff[h]:
            continue
        k, push, up = sums(stiff[h]), total(lever[h]), t.parent[h]
        for b, e in ancestors(t, m, h):
            matrix[h, b] = matrix[h, b] + dot(push, perp(e))
        for r in t.under[h]:
            matrix[h, r] = matrix[h, r] + dot(t.axis[r], push)
        if up is not None:
            e = perp(m.link[h])
            ke = bent(k, e)
            matrix[up, up] = matrix[up, up] + dot(ke, e)
            stiff[up].append(k)
            lever[up].append(ke)
        for r in () if up is not None else t.under[h]:
            for q in [q for q in t.under[h] if q <= r]:
                matrix[r, q] = matrix[r, q] + dot(t.axis[q], bent(k, t.axis[r]))


def joint(t: Tree, a: Any, j: int) -> Lane:
    """A joint's own acceleration, of those in solver coordinates."""
    if j in t.axis:
        return a[j]
    up = t.parent[j]
    x = a[j] if up is None else a[j] - a[up]
    return x if t.turn[j] > 0 else -x


def settled(t: Tree, s: System, a: dict[int, Lane], p: Physics) -> list[Lane]:
    """Joint accelerations; of semi-implicit Euler with joints' damping at the end of the timestep."""
    found = [joint(t, a, j) for j in range(len(t.joints))]
    damped = [(j, x.damping) for j, x in enumerate(t.joints) if x.damping]
    if t.robot.runge_kutta or not damped:
        return found
    matrix, force = dict(s.matrix), dict.fromkeys(a, 0.0)
    for j, damping in damped:
        held = (t.robot.timestep * damping) * p.damping_scale
        add_inertia(t, matrix, j, held)
        add_force(t, force, j, held * found[j])
    less = solved(t, matrix, force)
    return [x - joint(t, less, j) for j, x in enumerate(found)]


def product(matrix: dict[tuple[int, int], Lane], x: dict[int, Lane]) -> dict[int, Lane]:
    made = {j: matrix[j, j] * x[j] for j in x}
    for (i, j), entry in matrix.items():
        if i != j and not nothing(entry):
            made[i] = made[i] + entry * x[j]
            made[j] = made[j] + entry * x[i]
    return made


def solved(t: Tree, matrix: dict[tuple[int, int], Lane], b: dict[int, Lane]) -> dict[int, Lane]:
    """matrix⁻¹ b by LᵀDL, leaves first, which fills in nothing."""
    low, inverse, x = dict(matrix), {}, dict(b)
    order = t.slides + t.hinges
    for i in reversed(order):
        inverse[i] = 1.0 / low[i, i]
        part = {a: low[i, a] * inverse[i] for a in t.above[i] if not nothing(low[i, a])}
        for a in part:
            for c in part:
                if c in t.above[a] or c == a:
                    low[a, c] = low[a, c] - part[a] * low[i, c]
        for a, entry in part.items():
            low[i, a] = entry
            x[a] = x[a] - entry * x[i]
    for i in order:
        x[i] = x[i] * inverse[i]
        for a in t.above[i]:
            if not nothing(low[i, a]):
                x[i] = x[i] - low[i, a] * x[a]
    return x


def tip(t: Tree, m: Moving, q: Any) -> Vector:
    """Where the point is that the task looks at."""
    assert t.robot.tip is not None
    name, place = t.robot.tip
    body = t.names[name]
    there = body.offset[0] + place[0], body.offset[1] + place[1]
    found = plus(places(t, m, q)[body.hinge], turn(m, body.hinge, there))
    return found if t.robot.aim is None else minus(found, slid(t, t.names[t.robot.aim], q))


def slid(t: Tree, body: Any, q: Any) -> Vector:
    """Where the origin of a body is that no hinge carries."""
    return total([body.offset, *(times(q[s] - t.joints[s].ref, t.axis[s]) for s in body.slides)])


def felt(t: Tree, o: Any, s: System, a: dict[int, Lane]) -> Lane:
    """The force of the limit that the task looks at."""
    (stop,) = (x for x in s.rows.limits if t.joints[x.joint].name == t.robot.felt)
    x = o.where(stop.low, joint(t, a, stop.joint), -joint(t, a, stop.joint)) - stop.reference
    f = o.where(x < 0.0, -stop.weight * x, 0.0)
    return o.where(stop.low, f, -f)


def nothing(x: Any) -> bool:
    return isinstance(x, float) and x == 0.0


def sum_of(terms: list[Lane]) -> Lane:
    first, *rest = terms
    for x in rest:
        first = first + x
    return first


def sums(rows: Any) -> Any:
    return tuple(sum_of(list(column)) for column in zip(*rows, strict=True))


def total(vectors: list[Vector]) -> Vector:
    return sums(vectors)


def bent(k: tuple[Lane, Lane, Lane], a: Vector) -> Vector:
    """The symmetric matrix ((k0, k1), (k1, k2)) times a."""
    return k[0] * a[0] + k[1] * a[1], k[1] * a[0] + k[2] * a[1]


def plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1]


def minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1]


def times(x: Lane, a: Vector) -> Vector:
    return x * a[0], x * a[1]


def dot(a: Vector, b: Vector) -> Lane:
    return a[0] * b[0] + a[1] * b[1]


def cross(a: Vector, b: Vector) -> Lane:
    return a[0] * b[1] - a[1] * b[0]


def perp(a: Vector) -> Vector:
    """Turned by a quarter."""
    return -a[1], a[0]
