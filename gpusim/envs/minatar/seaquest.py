"""MinAtar/Seaquest: shoot fish and submarines, gather divers, and come up for air in time, with a diver aboard.

Reward 1 for an enemy, and for surfacing with six divers up to 10, by the oxygen left. The episode ends when an enemy or its
bullet meets the player, when there is no oxygen, and on surfacing without a diver. Enemies come, and move, faster each
time the player surfaces. Channels: front and back of the player's submarine, friendly bullet, trail (the cell behind each
enemy and diver), enemy bullet, fish, enemy submarine, oxygen gauge, diver gauge, diver. Same game as MinAtar 1.0.15
(Young & Tian, 2019), see `gpusim.envs.minatar.shared`.

How many of each there can be: the player fires every fifth step at most and its bullet flies nine, two; divers come every
thirtieth step and stay 59, two; enemies stay 60 steps at most while one comes every 14th step or later, and 30 when one
comes at every step, so 32 are enough. Enemies in one row go one way. Those in one cell came to it at different times, so
that of them the oldest has the shortest wait; and a wait is never caught up with, so no two of a kind move onto one cell
at once. Enemy bullets all move at every step, and two in one cell and one direction are as good as one: they are bits.
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
    free_before,
    moved,
    sticky,
)
from gpusim.kernels.lang import (
    Lane,
    Rng,
    any_,
    below,
    clip,
    floor_divide,
    maximum,
    min_,
    ones_like,
    or_,
    remainder,
    slots,
    to_float,
    to_int,
    where,
    words,
)

OXYGEN = 200
SPAWN_SPEED, DIVER_SPAWN_SPEED = 20, 30  # steps between two arrivals
MOVE_SPEED, LEAST_MOVE_SPEED, DIVER_MOVE_SPEED = 5, 2, 5  # steps between two moves
COOL_DOWN, ENEMY_SHOT_INTERVAL = 5, 10  # steps between two shots
FOES = 32
NOTHING, FISH, SUBMARINE = 0, 1, 2
NOT_FIRST = 2**30 - 1 - (1 + 2**10 + 2**20)  # of three rows, all cells but those of the first column
NOT_LAST = 2**30 - 1 - (2**9 + 2**19 + 2**29)


class State(NamedTuple):
    """int32 but for `surfaced`. What is not there has column -1."""

    x: Lane  # column of the player
    y: Lane  # its row, 0 to 8; 0 is the surface
    dx: Lane  # 1: it looks to the right, -1: to the left
    oxygen: Lane
    aboard: Lane  # divers
    surfaced: Lane  # whether it has been at the surface since it came up, bool
    old_x: Lane  # the older friendly bullet
    old_y: Lane
    old_dx: Lane
    new_x: Lane  # the other, fired last
    new_y: Lane
    new_dx: Lane
    first_x: Lane  # the diver who came first
    first_y: Lane
    first_dx: Lane
    first_wait: Lane  # steps until he moves
    second_x: Lane  # the other
    second_y: Lane
    second_dx: Lane
    second_wait: Lane
    foes: Lane  # [N, 32] enemies, see `packed`
    right_top: Lane  # enemy bullets to the right, in rows 1 to 3
    right_middle: Lane  # 4 to 6
    right_bottom: Lane  # 7 to 9
    left_top: Lane  # and to the left
    left_middle: Lane
    left_bottom: Lane
    shot_timer: Lane
    spawn_timer: Lane
    spawn_speed: Lane
    diver_timer: Lane
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


class Shot(NamedTuple):
    """A friendly bullet."""

    x: Lane  # -1: none
    y: Lane
    dx: Lane


class Diver(NamedTuple):
    x: Lane  # -1: none
    y: Lane
    dx: Lane
    wait: Lane


class Foes(NamedTuple):
    """`[N, 32]`."""

    kind: Lane  # NOTHING, FISH or SUBMARINE
    x: Lane
    y: Lane
    dx: Lane
    wait: Lane  # steps until it moves
    reload: Lane  # steps until it shoots, if a submarine


class Rows(NamedTuple):
    """Rows 1 to 9 as bits, 10 * row + column - 10 - 30 * (which of the three)."""

    top: Lane
    middle: Lane
    bottom: Lane


def init(rng: Rng, p: Params) -> State:
    zero = to_int(rng.env * 0)
    none = zero - 1
    return State(
        zero + 5, zero, none, zero + OXYGEN, zero, zero == 0,
        none, zero, zero, none, zero, zero,
        none, zero, zero, zero, none, zero, zero, zero,
        0 * slots(zero, FOES),
        zero, zero, zero, zero, zero, zero,
        zero, zero + SPAWN_SPEED, zero + SPAWN_SPEED, zero + DIVER_SPAWN_SPEED, zero + MOVE_SPEED, zero, zero,
    )  # fmt: skip


def step(s: State, action: Lane, rng: Rng, p: Params) -> tuple[State, Lane, Lane]:
    a, b, c, d = words(rng, 0)
    action = sticky(a, p.sticky, s.last_action, action)
    foes = arrived(unpacked(s.foes), below(b, 16), below(c, 3), s)
    first, second = divers(s, below(d, 16))
    old, new = shots(s, (action == FIRE) & (s.shot_timer == 0))
    dx = where(action == LEFT, -1, where(action == RIGHT, 1, s.dx))
    sub = Sub(moved(s.x, action, LEFT, RIGHT, 0, 9), moved(s.y, action, UP, DOWN, 0, 8), dx)
    new, foes, hit_by_new = struck(new, foes)
    old, foes, hit_by_old = struck(old, foes)
    second, aboard = swum(second, sub, s.aboard)
    first, aboard = swum(first, sub, aboard)
    met = any_(touching(foes, sub))
    foes, advanced, shooting = swarm(foes, s.move_speed)
    met = met | any_(touching(foes, sub))
    advanced = advanced & ~touching(foes, sub)
    right, left = bombs(s, foes, shooting)
    met = met | bit_at(right, 10 * sub.y + sub.x) | bit_at(left, 10 * sub.y + sub.x)
    right, left = to_the_right(right), to_the_left(left)
    met = met | bit_at(right, 10 * sub.y + sub.x) | bit_at(left, 10 * sub.y + sub.x)
    old, foes, ran_1 = run_into(old, foes, advanced & (foes.kind == SUBMARINE))
    new, foes, ran_2 = run_into(new, foes, advanced & (foes.kind == SUBMARINE))
    old, foes, ran_3 = run_into(old, foes, advanced & (foes.kind == FISH))
    new, foes, ran_4 = run_into(new, foes, advanced & (foes.kind == FISH))
    rises = (sub.y == 0) & ~s.surfaced
    up = rises & (aboard != 0)
    full = up & (aboard == 6)
    on = up & ((s.spawn_speed > 1) | (s.move_speed > LEAST_MOVE_SPEED)) & (p.ramping > 0)
    faster = on & (s.move_speed > LEAST_MOVE_SPEED) & ((s.ramp_index & 1) == 1)
    after = State(
        sub.x, sub.y, sub.dx,
        where(up, OXYGEN, s.oxygen - to_int(sub.y > 0)),
        where(full, -1, aboard - to_int(up)),
        (sub.y == 0) & (s.surfaced | up),
        old.x, old.y, old.dx, new.x, new.y, new.dx,
        first.x, first.y, first.dx, first.wait, second.x, second.y, second.dx, second.wait,
        packed(foes),
        right.top, right.middle, right.bottom, left.top, left.middle, left.bottom,
        down_to_zero(where((action == FIRE) & (s.shot_timer == 0), COOL_DOWN, s.shot_timer)),
        down_to_zero(where(s.spawn_timer == 0, s.spawn_speed, s.spawn_timer)),
        s.spawn_speed - to_int(on & (s.spawn_speed > 1)),
        down_to_zero(where(s.diver_timer == 0, DIVER_SPAWN_SPEED, s.diver_timer)),
        s.move_speed - to_int(faster),
        s.ramp_index + to_int(on),
        action,
    )  # fmt: skip
    struck_foes = hit_by_new + hit_by_old + ran_1 + ran_2 + ran_3 + ran_4
    reward = struck_foes + where(full, floor_divide(10 * s.oxygen, OXYGEN), 0)
    return after, to_float(reward), met | (s.oxygen <= 0) | (rises & (aboard == 0))


def packed(f: Foes) -> Lane:
    """One number for each enemy, 0 for none: what a game remembers is held in registers twice, so it has to be small."""
    code = f.kind | (f.x << 2) | (f.y << 6) | (to_int(f.dx > 0) << 10) | (f.wait << 11) | (f.reload << 14)
    return where(f.kind == NOTHING, 0, code)


def unpacked(code: Lane) -> Foes:
    return Foes(
        code & 3, (code >> 2) & 15, (code >> 6) & 15, 2 * ((code >> 10) & 1) - 1, (code >> 11) & 7, (code >> 14) & 15
    )


def arrived(f: Foes, where_from: Lane, third: Lane, s: State) -> Foes:
    """The enemies, with another when one is due, unless others in its row go the other way."""
    y, dx = (where_from >> 1) + 1, 2 * (where_from & 1) - 1
    free = f.kind == NOTHING
    against = any_(~free & (f.y == y[:, None]) & (f.dx != dx[:, None]))
    first = free_before(free, slots(y, FOES)) == 0
    come = free & first & ((s.spawn_timer == 0) & ~against)[:, None]
    return Foes(
        where(come, (to_int(third == 0) + FISH)[:, None], f.kind),
        where(come, where(dx > 0, 0 * dx, 9)[:, None], f.x),
        where(come, y[:, None], f.y),
        where(come, dx[:, None], f.dx),
        where(come, s.move_speed[:, None], f.wait),
        where(come, ENEMY_SHOT_INTERVAL, f.reload),
    )


def divers(s: State, where_from: Lane) -> tuple[Diver, Diver]:
    """The divers, with another when one is due; then the first of the two before has left."""
    come, dx = s.diver_timer == 0, 2 * (where_from & 1) - 1
    first = Diver(
        where(come, s.second_x, s.first_x), where(come, s.second_y, s.first_y), where(come, s.second_dx, s.first_dx),
        where(come, s.second_wait, s.first_wait),
    )  # fmt: skip
    second = Diver(
        where(come, where(dx > 0, 0 * dx, 9), s.second_x), where(come, (where_from >> 1) + 1, s.second_y),
        where(come, dx, s.second_dx), where(come, DIVER_MOVE_SPEED, s.second_wait),
    )  # fmt: skip
    return first, second


def shots(s: State, fires: Lane) -> tuple[Shot, Shot]:
    """The friendly bullets, each a cell on, with another where the player fires; then the older one has left."""
    old = Shot(where(fires, s.new_x, s.old_x), where(fires, s.new_y, s.old_y), where(fires, s.new_dx, s.old_dx))
    new = Shot(where(fires, s.x, s.new_x), where(fires, s.y, s.new_y), where(fires, s.dx, s.new_dx))
    return Shot(flown(old), old.y, old.dx), Shot(flown(new), new.y, new.dx)


def flown(shot: Shot) -> Lane:
    x = shot.x + shot.dx
    return where((shot.x < 0) | (x < 0) | (x > 9), -1, x)


def struck(shot: Shot, foes: Foes) -> tuple[Shot, Foes, Lane]:
    """A bullet takes one enemy of its cell with it: a fish rather than a submarine, and the oldest of them."""
    here = (foes.kind != NOTHING) & (foes.x == shot.x[:, None]) & (foes.y == shot.y[:, None])
    fish = any_(here & (foes.kind == FISH))
    here = here & (foes.kind == (to_int(~fish) + FISH)[:, None])
    return taken(shot, foes, here & (foes.wait == min_(where(here, foes.wait, 99))[:, None]))


def run_into(shot: Shot, foes: Foes, advanced: Lane) -> tuple[Shot, Foes, Lane]:
    """An enemy that has just moved onto a bullet goes with it."""
    return taken(shot, foes, advanced & (foes.x == shot.x[:, None]) & (foes.y == shot.y[:, None]))


def taken(shot: Shot, foes: Foes, which: Lane) -> tuple[Shot, Foes, Lane]:
    """Both sides without the bullet and its target, where there is one, and 1 there."""
    left = Foes(where(which, NOTHING, foes.kind), foes.x, foes.y, foes.dx, foes.wait, foes.reload)
    hit = any_(which)
    return Shot(where(hit, -1, shot.x), shot.y, shot.dx), left, to_int(hit)


def swum(diver: Diver, sub: Sub, aboard: Lane) -> tuple[Diver, Lane]:
    """A diver who meets the player, before or after his move, comes aboard while there is room."""
    there, room = (diver.x >= 0) & (diver.y == sub.y), aboard < 6
    met = there & room & (diver.x == sub.x)
    moves = (diver.wait == 0) & (diver.x >= 0)
    x = where(moves, diver.x + diver.dx, diver.x)
    met = met | (there & room & (x == sub.x))
    wait = where(diver.wait == 0, DIVER_MOVE_SPEED, diver.wait - 1)
    return Diver(where(met | (x < 0) | (x > 9), -1, x), diver.y, diver.dx, wait), aboard + to_int(met)


def touching(foes: Foes, sub: Sub) -> Lane:
    return (foes.kind != NOTHING) & (foes.x == sub.x[:, None]) & (foes.y == sub.y[:, None])


def swarm(foes: Foes, speed: Lane) -> tuple[Foes, Lane, Lane]:
    """The enemies after their turn; which have moved, and which shoot."""
    advanced = (foes.kind != NOTHING) & (foes.wait == 0)
    x = where(advanced, foes.x + foes.dx, foes.x)
    inside = (x >= 0) & (x <= 9)
    kind = where(inside, foes.kind, NOTHING)
    wait = where(foes.wait == 0, speed[:, None], foes.wait - 1)
    reload = where(foes.reload == 0, ENEMY_SHOT_INTERVAL, foes.reload - 1)
    shooting = (kind == SUBMARINE) & (foes.reload == 0)
    return Foes(kind, x, foes.y, foes.dx, wait, reload), advanced & inside, shooting


def bombs(s: State, foes: Foes, shooting: Lane) -> tuple[Rows, Rows]:
    """The enemy bullets to the right and to the left, with those that are fired now."""
    right, left = rows(foes.x, foes.y, shooting & (foes.dx > 0)), rows(foes.x, foes.y, shooting & (foes.dx < 0))
    return (
        Rows(s.right_top | right.top, s.right_middle | right.middle, s.right_bottom | right.bottom),
        Rows(s.left_top | left.top, s.left_middle | left.middle, s.left_bottom | left.bottom),
    )


def rows(x: Lane, y: Lane, which: Lane) -> Rows:
    """The cells of some entities."""
    top, bottom = y <= 3, y >= 7
    place = 10 * y + x - where(top, ones_like(x) * 10, where(bottom, ones_like(x) * 70, 40))
    bit = where(which, ones_like(x) << clip(place, 0, 29), 0)
    return Rows(or_(where(top, bit, 0)), or_(where(top | bottom, 0, bit)), or_(where(bottom, bit, 0)))


def bit_at(r: Rows, place: Lane) -> Lane:
    """Whether the cell 10 * row + column is set."""
    top, bottom = place < 40, place >= 70
    lane = where(top, r.top, where(bottom, r.bottom, r.middle))
    bit = place - where(top, ones_like(place) * 10, where(bottom, ones_like(place) * 70, 40))
    return (place >= 10) & (((lane >> maximum(bit, 0)) & 1) == 1)


def to_the_right(r: Rows) -> Rows:
    return Rows((r.top & NOT_LAST) << 1, (r.middle & NOT_LAST) << 1, (r.bottom & NOT_LAST) << 1)


def to_the_left(r: Rows) -> Rows:
    return Rows((r.top & NOT_FIRST) >> 1, (r.middle & NOT_FIRST) >> 1, (r.bottom & NOT_FIRST) >> 1)


def observe(s: State, cell: Lane, p: Params) -> Lane:
    place, channel = floor_divide(cell, 10), remainder(cell, 10)
    row, column = floor_divide(place, 10), remainder(place, 10)
    f = unpacked(s.foes)
    fish, submarine, behind = rows(f.x, f.y, f.kind == FISH), rows(f.x, f.y, f.kind == SUBMARINE), f.x - f.dx
    trail = rows(behind, f.y, (f.kind != NOTHING) & (behind >= 0) & (behind <= 9))
    trailing = bit_at(trail, place)
    trailing = trailing | at(row, column, s.first_x, s.first_y, s.first_dx)
    trailing = trailing | at(row, column, s.second_x, s.second_y, s.second_dx)
    bomb = Rows(s.right_top | s.left_top, s.right_middle | s.left_middle, s.right_bottom | s.left_bottom)
    shot = at(row, column, s.old_x, s.old_y, 0) | at(row, column, s.new_x, s.new_y, 0)
    diver = at(row, column, s.first_x, s.first_y, 0) | at(row, column, s.second_x, s.second_y, 0)
    foe = chosen(channel, bomb, fish, submarine)
    gauge = (column >= 9 - s.aboard) & (column < 9)
    gauge = (row == 9) & where(channel == 7, column < floor_divide(maximum(s.oxygen, 0) * 10, OXYGEN), gauge)
    seen = where(channel < 7, bit_at(foe, place), where(channel == 9, diver, gauge))
    seen = where(channel == 2, shot, where(channel == 3, trailing, seen))
    return where(channel < 2, (row == s.y) & (column == s.x - where(channel == 1, s.dx, 0)), seen)


def at(row: Lane, column: Lane, x: Lane, y: Lane, dx: Lane) -> Lane:
    """Whether this is the cell that something is in (`dx` 0) or has behind it."""
    return (x >= 0) & (row == y) & (column == x - dx)


def chosen(channel: Lane, bomb: Rows, fish: Rows, submarine: Rows) -> Rows:
    """What channels 4, 5 and 6 show."""
    b, f = channel == 4, channel == 5
    return Rows(
        where(b, bomb.top, where(f, fish.top, submarine.top)),
        where(b, bomb.middle, where(f, fish.middle, submarine.middle)),
        where(b, bomb.bottom, where(f, fish.bottom, submarine.bottom)),
    )


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
