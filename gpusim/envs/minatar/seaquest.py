"""MinAtar/Seaquest: shoot fish and submarines, gather divers, and come up for air in time, with a diver aboard.

Reward 1 for an enemy, and for surfacing with six divers up to 10, by the oxygen left. The episode ends when an enemy or its
bullet meets the player, when there is no oxygen, and on surfacing without a diver. Enemies come, and move, faster each
time the player surfaces. Channels: front and back of the player's submarine, friendly bullet, trail (the cell behind each
enemy and diver), enemy bullet, fish, enemy submarine, oxygen gauge, diver gauge, diver. Same game as MinAtar 1.0.15
(Young & Tian, 2019), see `gpusim.envs.minatar.shared`.

How many of each there can be: the player fires every fifth step at most and its bullet flies nine, two; divers come every
thirtieth step and stay 59, two. Enemies are bits, one word for each trait and one bit for each place on their way:
3 * (cells to go) + (steps until the next move, 2 at most). So ten cells are thirty places, enemies come at place 29, a turn
shifts the word by one, and what falls off has left; with g cells to go one is in column 9 - g, or g if it goes to the left.
What is more than two steps is a trait too, `late`, and whoever has some stays. No two are ever at one place. While
they wait more than two steps, the next comes 15 steps later or more, and follows 9 steps behind at least however often
they become faster, so that it never shares a cell; later they wait two steps each, one comes at a step, and three share a
cell, the oldest with the shortest wait. Enemies in one row go one way. A submarine shoots every 11th step, its beat, which
is a trait as well. Enemy bullets all move at every step, and two in one cell and one direction are as good as one: bits.
"""

from dataclasses import replace
from typing import NamedTuple

from gymnasium.spaces import Discrete

from gpusim.env import Env
from gpusim.envs.minatar.shared import (
    DOWN,
    FIRE,
    LEFT,
    RIGHT,
    UP,
    board,
    down_to_zero,
    moved,
    sticky,
)
from gpusim.kernels.lang import (
    Lane,
    Rng,
    below,
    floor,
    floor_divide,
    maximum,
    minimum,
    remainder,
    to_float,
    to_int,
    where,
    words,
)

OXYGEN = 200
SPAWN_SPEED, DIVER_SPAWN_SPEED = 20, 30  # steps between two arrivals
MOVE_SPEED, LEAST_MOVE_SPEED, DIVER_MOVE_SPEED = 5, 2, 5  # steps between two moves
COOL_DOWN = 5  # steps between two shots of the player
AIR = 3277  # 10 / OXYGEN * 2**16, rounded up: exact for so few
NOWHERE = 13  # the column of what is not there
BEATS = 11  # steps from one shot of a submarine to the next
ENTRY = 2**29  # the place where enemies come
DUE = 0o1111111111  # the places from which they move on at their next turn, one of each cell


class State(NamedTuple):
    """int32. Of enemies and their bullets bits are set, see `Traits` and `Rows`."""

    x: Lane  # column of the player
    y: Lane  # its row, 0 to 8; 0 is the surface
    dx: Lane  # 1: it looks to the right, -1: to the left
    oxygen: Lane
    aboard: Lane  # divers
    surfaced: Lane  # 1: it is at the surface since it came up, or since the beginning
    old: Lane  # the older friendly bullet, see `entity`
    new: Lane  # the other, fired last
    first: Lane  # the diver who came first
    second: Lane  # the other
    fish: Lane
    subs: Lane
    right: Lane
    row_1: Lane
    row_2: Lane
    row_4: Lane
    beat_1: Lane
    beat_2: Lane
    beat_4: Lane
    beat_8: Lane
    late_1: Lane
    late_2: Lane
    right_top: Lane  # enemy bullets to the right, in rows 1 to 3
    right_middle: Lane  # 4 to 6
    right_bottom: Lane  # 7 to 9
    left_top: Lane  # and to the left
    left_middle: Lane
    left_bottom: Lane
    clock: Lane  # beat, 0 to 10, + 16 * shot timer + 128 * diver timer
    spawn_timer: Lane
    spawn_speed: Lane
    move_speed: Lane
    ramp_index: Lane  # how often it has become harder
    last_action: Lane


class Params(NamedTuple):
    sticky: Lane = 0.1  # probability that the last action is repeated
    ramping: Lane = 1  # 0: it does not become harder


class Sub(NamedTuple):
    """The player's submarine."""

    x: Lane
    y: Lane
    dx: Lane


class Entity(NamedTuple):
    """A friendly bullet or a diver."""

    x: Lane  # NOWHERE: none
    y: Lane
    dx: Lane
    wait: Lane  # steps until a diver moves


class Swarm(NamedTuple):
    """The places of fish and of submarines."""

    fish: Lane
    subs: Lane


class Traits(NamedTuple):
    """Of the enemy at each place, what is the same or counts down until it leaves; bits where nobody is mean nothing."""

    right: Lane  # whether it goes to the right
    row_1: Lane  # bits of its row less 1
    row_2: Lane
    row_4: Lane
    beat_1: Lane  # bits of the beat at which it shoots, if a submarine
    beat_2: Lane
    beat_4: Lane
    beat_8: Lane
    late_1: Lane  # bits of how many steps it waits beyond the two of its place
    late_2: Lane


class Rows(NamedTuple):
    """Rows 1 to 9 as bits, 3 * (cells to go) + row - 1 - 3 * (which of the three)."""

    top: Lane
    middle: Lane
    bottom: Lane


def init(rng: Rng, p: Params) -> State:
    zero = to_int(rng.env * 0)
    return State(
        zero + 5, zero, zero - 1, zero + OXYGEN, zero, zero + 1,
        zero + NOWHERE, zero + NOWHERE, zero + NOWHERE, zero + NOWHERE,
        zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
        zero, zero, zero, zero, zero, zero,
        zero + 128 * DIVER_SPAWN_SPEED, zero + SPAWN_SPEED, zero + SPAWN_SPEED, zero + MOVE_SPEED, zero, zero,
    )  # fmt: skip


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    a, b, c, d = words(rng, 0)
    action = sticky(a, p.sticky, s.last_action, action)
    beat, shot_timer, diver_timer = s.clock & 15, (s.clock >> 4) & 7, s.clock >> 7
    fires = (action == FIRE) & (shot_timer == 0)
    foes, traits = arrived(s, beat, below(b, 16), below(c, 3))
    first, second = divers(s, diver_timer == 0, below(d, 16))
    old, new = shots(s, fires)
    dx = where(action == LEFT, -1, where(action == RIGHT, 1, s.dx))
    sub = Sub(moved(s.x, action, LEFT, RIGHT, 0, 9), moved(s.y, action, UP, DOWN, 0, 8), dx)
    new, foes, hit_by_new = struck(new, foes, traits)
    old, foes, hit_by_old = struck(old, foes, traits)
    second, aboard = swum(second, sub, s.aboard)
    first, aboard = swum(first, sub, aboard)
    met = (foes.fish | foes.subs) & at(traits, sub.x, sub.y)
    foes, traits, moving = advanced(foes, traits, s.move_speed)
    touching = (foes.fish | foes.subs) & at(traits, sub.x, sub.y)
    right, left = bombs(s, foes.subs & shooting(traits, beat), traits)
    met = met | touching | bombed(right, left, sub)
    right, left = flown_on(right), flown_on(left)
    met = met | bombed(right, left, sub)
    old, foes, ran_1 = taken(old, foes, moving & ~touching & at(traits, old.x, old.y))
    new, foes, ran_2 = taken(new, foes, moving & ~touching & (foes.fish | foes.subs) & at(traits, new.x, new.y))
    rises = (sub.y == 0) & (s.surfaced == 0)
    up = rises & (aboard != 0)
    full = up & (aboard == 6)
    harder = up & ((s.spawn_speed > 1) | (s.move_speed > LEAST_MOVE_SPEED)) & (p.ramping > 0)
    faster = harder & (s.move_speed > LEAST_MOVE_SPEED) & ((s.ramp_index & 1) == 1)
    after = State(
        sub.x, sub.y, sub.dx,
        where(up, OXYGEN, s.oxygen - to_int(sub.y > 0)),
        where(full, -1, aboard - to_int(up)),
        where(sub.y == 0, s.surfaced | to_int(up), 0),
        packed(old), packed(new), packed(first), packed(second),
        foes.fish, foes.subs, traits.right, traits.row_1, traits.row_2, traits.row_4,
        traits.beat_1, traits.beat_2, traits.beat_4, traits.beat_8, traits.late_1, traits.late_2,
        right.top, right.middle, right.bottom, left.top, left.middle, left.bottom,
        where(beat == BEATS - 1, 0, beat + 1)
        | (down_to_zero(where(fires, COOL_DOWN, shot_timer)) << 4)
        | (down_to_zero(where(diver_timer == 0, DIVER_SPAWN_SPEED, diver_timer)) << 7),
        down_to_zero(where(s.spawn_timer == 0, s.spawn_speed, s.spawn_timer)),
        s.spawn_speed - to_int(harder & (s.spawn_speed > 1)),
        s.move_speed - to_int(faster),
        s.ramp_index + to_int(harder),
        action,
    )  # fmt: skip
    hits = hit_by_new + hit_by_old + ran_1 + ran_2
    reward = to_float(hits) + where(full, floor(to_float(s.oxygen) * (10 / OXYGEN)), 0.0)
    ended = (met != 0) | (s.oxygen <= 0) | (rises & (aboard == 0))
    return after, reward, ended


def arrived(s: State, now: Lane, where_from: Lane, third: Lane) -> tuple[Swarm, Traits]:
    """The enemies, with another when one is due, unless others in its row go the other way."""
    row, right = where_from >> 1, -(where_from & 1)
    t = Traits(
        s.right, s.row_1, s.row_2, s.row_4, s.beat_1, s.beat_2, s.beat_4, s.beat_8, s.late_1, s.late_2
    )  # fmt: skip
    against = (s.fish | s.subs) & in_row(t.row_1, t.row_2, t.row_4, row) & (s.right ^ right)
    come = where((s.spawn_timer == 0) & (against == 0), 0 * row + ENTRY, 0)
    fish, beat, late = where(third == 0, 0, come), where(now == 0, BEATS, now) - 1, s.move_speed - 2
    traits = Traits(
        t.right | (come & right),
        t.row_1 | (come & -(row & 1)), t.row_2 | (come & -((row >> 1) & 1)), t.row_4 | (come & -(row >> 2)),
        t.beat_1 | (come & -(beat & 1)), t.beat_2 | (come & -((beat >> 1) & 1)),
        t.beat_4 | (come & -((beat >> 2) & 1)), t.beat_8 | (come & -(beat >> 3)),
        t.late_1 | (come & -(late & 1)), t.late_2 | (come & -(late >> 1)),
    )  # fmt: skip
    return Swarm(s.fish | fish, s.subs | (come & ~fish)), traits


def in_row(row_1: Lane, row_2: Lane, row_4: Lane, row: Lane) -> Lane:
    """The places whose enemy, if there is one, is in row `row + 1`, by those traits."""
    return ~((row_1 ^ -(row & 1)) | (row_2 ^ -((row >> 1) & 1)) | (row_4 ^ -((row >> 2) & 1)))


def at(t: Traits, x: Lane, y: Lane) -> Lane:
    """The places whose enemy, if there is one, is in a cell; `x` may be NOWHERE."""
    column = minimum(x, 9)
    here = (t.right & rightward(column, 0)) | (~t.right & leftward(column, 0))
    return where((x <= 9) & (y >= 1), here & in_row(t.row_1, t.row_2, t.row_4, y - 1), 0)


def rightward(column: Lane, behind: Lane) -> Lane:
    """The places from which one that goes to the right is in a column or, `behind` being 1, has it behind itself."""
    return ((0 * column + 7) << 27) >> (3 * (column + behind))


def leftward(column: Lane, behind: Lane) -> Lane:
    return ((0 * column + 7) << (3 * column)) >> (3 * behind)


def packed(e: Entity) -> Lane:
    """A whole entity, its column and row in the lowest eight bits."""
    return e.x | (e.y << 4) | (to_int(e.dx > 0) << 8) | (e.wait << 9)


def entity(code: Lane) -> Entity:
    return Entity(code & 15, (code >> 4) & 15, looking(code), code >> 9)


def looking(code: Lane) -> Lane:
    """`dx`."""
    return ((code >> 7) & 2) - 1


def divers(s: State, come: Lane, where_from: Lane) -> tuple[Entity, Entity]:
    """The divers, with another when one is due; then the first of the two before has left."""
    dx = 2 * (where_from & 1) - 1
    another = Entity(where(dx > 0, 0 * dx, 9), (where_from >> 1) + 1, dx, 0 * dx + DIVER_MOVE_SPEED)
    return entity(where(come, s.second, s.first)), entity(where(come, packed(another), s.second))


def shots(s: State, fires: Lane) -> tuple[Entity, Entity]:
    """The friendly bullets, each a cell on, with another where the player fires; then the older one has left."""
    fired = packed(Entity(s.x, s.y, s.dx, 0 * s.x))
    return flown(entity(where(fires, s.new, s.old))), flown(entity(where(fires, fired, s.new)))


def flown(shot: Entity) -> Entity:
    return Entity(inside(shot.x + shot.dx), shot.y, shot.dx, shot.wait)


def inside(x: Lane) -> Lane:
    return where((x < 0) | (x > 9), NOWHERE, x)


def struck(shot: Entity, foes: Swarm, traits: Traits) -> tuple[Entity, Swarm, Lane]:
    """A bullet takes one enemy of its cell with it: a fish rather than a submarine, and the oldest of them."""
    here = at(traits, shot.x, shot.y)
    first = where((foes.fish & here) != 0, foes.fish & here, foes.subs & here)
    return taken(shot, foes, first & -first)


def taken(shot: Entity, foes: Swarm, which: Lane) -> tuple[Entity, Swarm, Lane]:
    """Both sides without the bullet and its target, where there is one, and 1 there."""
    hit = which != 0
    left = Entity(where(hit, NOWHERE, shot.x), shot.y, shot.dx, shot.wait)
    return left, Swarm(foes.fish & ~which, foes.subs & ~which), to_int(hit)


def swum(diver: Entity, sub: Sub, aboard: Lane) -> tuple[Entity, Lane]:
    """A diver who meets the player, before or after his move, comes aboard while there is room."""
    x = where(diver.wait == 0, inside(diver.x + diver.dx), diver.x)
    met = (diver.y == sub.y) & (aboard < 6) & ((diver.x == sub.x) | (x == sub.x))
    wait = where(diver.wait == 0, DIVER_MOVE_SPEED, diver.wait - 1)
    return Entity(where(met, NOWHERE, x), diver.y, diver.dx, wait), aboard + to_int(met)


def advanced(foes: Swarm, t: Traits, speed: Lane) -> tuple[Swarm, Traits, Lane]:
    """The enemies after their turn, and the places to which some have moved."""
    there, late = foes.fish | foes.subs, t.late_1 | t.late_2
    stay, go = there & late, there & ~late
    moving, wait = (go & DUE) >> 1, speed - 2
    traits = Traits(
        shifted(t.right, stay, go), shifted(t.row_1, stay, go), shifted(t.row_2, stay, go), shifted(t.row_4, stay, go),
        shifted(t.beat_1, stay, go), shifted(t.beat_2, stay, go), shifted(t.beat_4, stay, go), shifted(t.beat_8, stay, go),
        (stay & ~t.late_1) | (moving & -(wait & 1)), (stay & t.late_1 & t.late_2) | (moving & -(wait >> 1)),
    )  # fmt: skip
    return Swarm(shifted(foes.fish, stay, go), shifted(foes.subs, stay, go)), traits, moving


def shifted(trait: Lane, stay: Lane, go: Lane) -> Lane:
    return (trait & stay) | ((trait & go) >> 1)


def shooting(t: Traits, beat: Lane) -> Lane:
    """The places whose enemy shoots now, if it is a submarine."""
    low = (t.beat_1 ^ -(beat & 1)) | (t.beat_2 ^ -((beat >> 1) & 1))
    return ~(low | (t.beat_4 ^ -((beat >> 2) & 1)) | (t.beat_8 ^ -(beat >> 3)))


def bombs(s: State, which: Lane, t: Traits) -> tuple[Rows, Rows]:
    """The enemy bullets to the right and to the left, with those of the submarines that shoot now."""
    right, left = rows(t, which & t.right), rows(t, which & ~t.right)
    return (
        Rows(s.right_top | right.top, s.right_middle | right.middle, s.right_bottom | right.bottom),
        Rows(s.left_top | left.top, s.left_middle | left.middle, s.left_bottom | left.bottom),
    )


def rows(t: Traits, which: Lane) -> Rows:
    """The cells of some enemies."""
    return Rows(
        cells(t, which, 0) | (cells(t, which, 1) << 1) | (cells(t, which, 2) << 2),
        cells(t, which, 3) | (cells(t, which, 4) << 1) | (cells(t, which, 5) << 2),
        cells(t, which, 6) | (cells(t, which, 7) << 1),
    )


def cells(t: Traits, which: Lane, row: Lane) -> Lane:
    """Those of a row, as the lowest of three bits for each."""
    here = which & in_row(t.row_1, t.row_2, t.row_4, row)
    return (here | (here >> 1) | (here >> 2)) & DUE


def word_of(r: Rows, y: Lane) -> Lane:
    return where(y <= 3, r.top, where(y >= 7, r.bottom, r.middle))


def bombed(right: Rows, left: Rows, sub: Sub) -> Lane:
    """Not 0 where the player meets an enemy bullet."""
    here = (word_of(right, sub.y) & rightward(sub.x, 0)) | (word_of(left, sub.y) & leftward(sub.x, 0))
    return where(sub.y >= 1, here & of_row(sub.y), 0)


def of_row(y: Lane) -> Lane:
    """The bits of a row in its word."""
    return (0 * y + DUE) << maximum(y - 1 - 3 * (to_int(y >= 4) + to_int(y >= 7)), 0)


def flown_on(r: Rows) -> Rows:
    return Rows(r.top >> 3, r.middle >> 3, r.bottom >> 3)


def observe(s: State, cell: Lane, p: Params) -> Lane:
    place, channel = floor_divide(cell, 10), remainder(cell, 10)
    row, column = floor_divide(place, 10), remainder(place, 10)
    bomb, behind = channel == 4, to_int(channel == 3)
    these = where(bomb, word_of(Rows(s.right_top, s.right_middle, s.right_bottom), row), s.right)
    these = these & rightward(column, behind)
    left = where(bomb, word_of(Rows(s.left_top, s.left_middle, s.left_bottom), row), ~s.right)
    these = these | (left & leftward(column, behind))
    these = these & where(bomb, of_row(row), in_row(s.row_1, s.row_2, s.row_4, row - 1))
    these = these & where(channel == 5, s.fish, where(channel == 6, s.subs, where(bomb, -1, s.fish | s.subs)))
    seen = (these != 0) & (row >= 1) & (row <= 8)
    here, first, second = column + 16 * row, s.first & 255, s.second & 255
    trail = (here == first - looking(s.first)) | (here == second - looking(s.second))
    seen = seen | ((channel == 3) & trail)
    seen = where(channel == 9, (here == first) | (here == second), seen)
    seen = where(channel == 2, (here == (s.old & 255)) | (here == (s.new & 255)), seen)
    air = column < (maximum(s.oxygen, 0) * AIR) >> 16
    seen = where(channel == 7, (row == 9) & air, seen)
    seen = where(channel == 8, (row == 9) & (column >= 9 - s.aboard) & (column < 9), seen)
    return where(channel < 2, (row == s.y) & (column == s.x - where(channel == 1, s.dx, 0)), seen)


SEAQUEST = Env(
    id="MinAtar/Seaquest-v1",
    init=init,
    step=step,
    observe=observe,
    params=Params(),
    observation_space=board(10),
    action_space=Discrete(6),  # all do something
    max_episode_steps=None,
)
SEAQUEST_ALL_ACTIONS = replace(SEAQUEST, id="MinAtar/Seaquest-v0")
