"""Roads and cars seen from above, by NumPy alone: `Env.render` of the driving environments.

North is where y is less, so that right of the road is below. Wrecks are red, the ego green, the others blue; a line on each
car tells where its front is, and behind a car on a highway lies where it has been in the last second, at its speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpusim.envs.driving.vehicle import LANE, LENGTH, WIDTH

GRASS, ASPHALT, PAINT, TRAIL = (196, 214, 188), (108, 112, 118), (235, 235, 235), (134, 138, 146)
EGO, OTHER, WRECK, GOAL, FRONT = (70, 190, 90), (80, 150, 225), (215, 75, 65), (245, 205, 90), (25, 30, 40)
HEIGHT, AHEAD, BEHIND = 20.0, 75.0, 25.0  # of what is seen of a highway [m]


@dataclass(frozen=True)
class Canvas:
    """A picture of a rectangle of the ground.

    Attributes:
        left, top: its corner [m].
        scale: pixels of a metre.
    """

    frame: np.ndarray  # [H, W, 3]
    left: float
    top: float
    scale: float

    @classmethod
    def of(cls, left: float, right: float, top: float, bottom: float, scale: float) -> "Canvas":
        shape = round((bottom - top) * scale), round((right - left) * scale), 3
        frame = np.empty(shape, np.uint8)
        frame[:] = GRASS
        return cls(frame, left, top, scale)

    def rectangle(self, x: float, y: float, length: float, width: float, heading: float, colour: Sequence[int]) -> None:
        """Around (x, y), its length along the heading [m, rad]."""
        rows, columns, _ = self.frame.shape
        reach = 0.5 * float(np.hypot(length, width)) + 2.0 / self.scale
        first, last = (int(np.floor((x + side * reach - self.left) * self.scale)) for side in (-1, 1))
        upper, lower = (int(np.floor((y + side * reach - self.top) * self.scale)) for side in (-1, 1))
        first, last, upper, lower = max(first, 0), min(last + 1, columns), max(upper, 0), min(lower + 1, rows)
        if first >= last or upper >= lower:
            return
        dx = (np.arange(first, last) + 0.5) / self.scale + self.left - x
        dy = ((np.arange(upper, lower) + 0.5) / self.scale + self.top - y)[:, None]
        cos_h, sin_h = np.cos(heading), np.sin(heading)
        along, across = np.abs(dx * cos_h + dy * sin_h), np.abs(dy * cos_h - dx * sin_h)
        inside = np.clip((0.5 * length - along) * self.scale + 0.5, 0, 1) * np.clip(
            (0.5 * width - across) * self.scale + 0.5, 0, 1
        )
        part = self.frame[upper:lower, first:last]
        part[:] = (part + inside[..., None] * (np.asarray(colour, np.float64) - part)).round()

    def car(self, x: float, y: float, heading: float, colour: Sequence[int]) -> None:
        self.rectangle(x, y, LENGTH, WIDTH, heading, colour)
        ahead = 0.3 * LENGTH
        self.rectangle(x + ahead * np.cos(heading), y + ahead * np.sin(heading), 0.5, 0.8 * WIDTH, heading, FRONT)


def highway(state: Any, lanes: int, vehicles: int, scale: float = 6.0) -> np.ndarray:
    """`[H, W, 3]` uint8, the road around the ego."""
    middle = 0.5 * LANE * (lanes - 1)
    x = float(state.x[0])
    canvas = Canvas.of(x - BEHIND, x + AHEAD, middle - 0.5 * HEIGHT, middle + 0.5 * HEIGHT, scale)
    road, sight = LANE * lanes, AHEAD + BEHIND
    canvas.rectangle(x, middle, 4.0 * sight, road, 0.0, ASPHALT)
    for k in range(1, lanes):
        for dash in np.arange(np.floor((x - BEHIND) / 12.0), (x + AHEAD) / 12.0) * 12.0:
            canvas.rectangle(dash, (k - 0.5) * LANE, 4.0, 0.25, 0.0, PAINT)
    for side in (-1, 1):
        canvas.rectangle(x, middle + side * 0.5 * road, 4.0 * sight, 0.3, 0.0, PAINT)
    near = [k for k in range(vehicles) if abs(state.x[k] - x) < sight]
    for k in near:
        way, heading = float(state.speed[k]), float(state.heading[k])
        at = state.x[k] - 0.5 * way * np.cos(heading), state.y[k] - 0.5 * way * np.sin(heading)
        canvas.rectangle(*at, abs(way), 0.5, heading, TRAIL)
    for k in reversed(near):
        colour = WRECK if state.crashed[k] else EGO if k == 0 else OTHER
        canvas.car(float(state.x[k]), float(state.y[k]), float(state.heading[k]), colour)
    return canvas.frame


def parking(
    state: Any, spots: int, spot: float, middle: float, size: Sequence[float], scale: float = 6.0
) -> np.ndarray:
    """`[H, W, 3]` uint8 of a whole parking place.

    Args:
        spots: in each of two rows, `spot` wide [m].
        middle: how far those of a row are from that of the place [m].
        size: of the place, from wall to wall, and how thick walls are [m].
    """
    length, width, thick = size
    canvas = Canvas.of(-0.5 * length - 1.0, 0.5 * length + 1.0, -0.5 * width - 1.0, 0.5 * width + 1.0, scale)
    canvas.rectangle(0.0, 0.0, length, width, 0.0, ASPHALT)
    for side in (-1, 1):
        for k in range(spots + 1):
            canvas.rectangle((k - 0.5 * spots) * spot, side * middle, 0.2, 2.0 * spot, 0.0, PAINT)
        canvas.rectangle(0.0, side * 0.5 * width, length, thick, 0.0, FRONT)
        canvas.rectangle(side * 0.5 * length, 0.0, thick, width, 0.0, FRONT)
    down = 1.0 if state.goal_y > 0.0 else -1.0
    canvas.rectangle(state.goal_x, state.goal_y, LENGTH, WIDTH, 0.5 * np.pi, GOAL)
    canvas.rectangle(state.goal_x, state.goal_y + down * 0.3 * LENGTH, 0.8 * WIDTH, 0.5, 0.0, FRONT)
    canvas.car(state.x, state.y, state.heading, WRECK if state.crashed else EGO)
    return canvas.frame
