"""A robot drawn as a stick figure, seen from the side or from above, by NumPy alone."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpusim.envs.mujoco import planar
from gpusim.envs.mujoco.model import Robot
from gpusim.envs.mujoco.tree import Tree

SKY, GROUND, LINE = (236, 240, 245), (205, 214, 205), (165, 178, 165)
LIMBS = ((58, 90, 140), (214, 108, 60), (84, 150, 96), (150, 96, 160))
"""Colours of the bodies: first what has no hinge below it of its own, then limb by limb."""


@dataclass(frozen=True)
class Picture:
    """`Env.render` of a robot.

    Attributes:
        width, height: of what is seen [m].
        centre: its middle [m]; with `follow`, beside the robot's first coordinate.
        follow: whether the camera moves along with that.
        ground: whether there is a ground at height 0, with a mark at every metre; else marks all over.
    """

    robot: Robot
    width: float
    height: float
    centre: tuple[float, float] = (0.0, 0.0)
    follow: bool = True
    ground: bool = True
    pixels: int = 480  # across

    @property
    def fps(self) -> int:
        """As fast as it happens."""
        return round(1.0 / self.robot.dt)

    @cached_property
    def tree(self) -> Tree:
        return Tree(self.robot)

    def __call__(self, state: Any, params: Any) -> np.ndarray:
        """`[H, W, 3]` uint8."""
        middle = self.centre[0] + (state[0] if self.follow else 0.0), self.centre[1]
        rows = round(self.pixels * self.height / self.width)
        scale = self.width / self.pixels
        x = middle[0] + (np.arange(self.pixels) + 0.5) * scale - self.width / 2.0
        y = (middle[1] - (np.arange(rows) + 0.5) * scale + self.height / 2.0)[:, None]
        frame = self._background(x, y, scale)
        for start, end, radius, colour in self.limbs(state):
            _stroke(frame, x, y, scale, start, end, radius, colour)
        return frame.round().astype(np.uint8)

    def _background(self, x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
        frame = np.empty((len(y), len(x), 3))
        frame[:] = SKY
        if self.ground:
            frame[y[:, 0] < 0.0] = GROUND
            marks = (np.abs(x - np.round(x)) < scale)[None] & (y < 0.0) & (y > -0.12)
        else:
            step = 10.0 ** np.floor(np.log10(self.width / 2.0))
            near = (np.abs(a / step - np.round(a / step)) for a in np.broadcast_arrays(x, y))
            marks = np.minimum(*near) < scale / step / 2.0
        frame[marks] = LINE
        return frame

    def limbs(self, state: Any) -> list[tuple[np.ndarray, np.ndarray, float, tuple[int, int, int]]]:
        """Of every capsule its ends, radius and colour."""
        t, count = self.tree, len(self.robot.joints)
        q = [float(x) for x in state[:count]]
        moving = planar.kinematics(t, np, q, [0.0] * count)
        anchors, found, colours = planar.places(t, moving, q), [], self._colours()
        for body, colour in zip(t.bodies[1:], colours, strict=True):
            for shape in body.shapes:
                half = np.array(shape.half)
                if (h := body.hinge) is None:
                    middle = np.add(planar.slid(t, body, q), shape.middle)
                    found.append((middle + half, middle - half, shape.radius, colour))
                    continue
                place = np.add(body.offset, shape.middle)
                start, end = (planar.turn(moving, h, tuple(place + x)) for x in (half, -half))
                found.append((np.add(anchors[h], start), np.add(anchors[h], end), shape.radius, colour))
        return found

    def _colours(self) -> list[tuple[int, int, int]]:
        """One for each chain of bodies."""
        made: dict[str, int] = {}
        for body in self.robot.bodies:
            first = body.parent not in made or sum(b.parent == body.parent for b in self.robot.bodies) > 1
            made[body.name] = len(set(made.values())) if first or made[body.parent] == 0 else made[body.parent]
        return [LIMBS[made[body.name] % len(LIMBS)] for body in self.robot.bodies]


def _stroke(frame: Any, x: Any, y: Any, scale: float, a: Any, b: Any, radius: float, colour: Any) -> None:
    """Draws a thick line with round ends, smooth at its edge."""
    along = b - a
    length = max(float(along @ along), 1e-12)
    share = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / length, 0.0, 1.0)
    distance = np.hypot(x - a[0] - share * along[0], y - a[1] - share * along[1])
    cover = np.clip((max(radius, 1.2 * scale) - distance) / scale + 0.5, 0.0, 1.0)[..., None]
    frame += cover * (np.array(colour) - frame)
