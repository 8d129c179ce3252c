"""Several frames in one."""

import itertools
import math
from collections.abc import Iterable

import numpy as np

GAP = 2  # pixels between two frames
GREY = 128  # of gaps, and of places that are left over


def grid(frames: Iterable[np.ndarray], count: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """`count` frames `[h, w, 3]` uint8 in rows and columns, `[H, W, 3]`; one alone is given as it is.

    Args:
        size: height and width that the whole keeps to, its frames halved as often as it takes (to no less than a pixel).
    """
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    rows, columns = shape(count, height, width)
    most = size or (math.inf, math.inf)
    factor = 1
    while factor * 2 <= min(height, width) and any(
        n * (x // factor + GAP) - GAP > limit
        for n, x, limit in zip((rows, columns), (height, width), most, strict=True)
    ):
        factor *= 2
    height, width = height // factor, width // factor
    whole = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), GREY, np.uint8)
    for i, frame in enumerate(itertools.chain([first], frames)):
        y, x = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        whole[y : y + height, x : x + width] = frame if factor == 1 else shrunk(frame, factor)
    return whole


def shape(count: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns: near four to three as a whole, with few places left over."""

    def loss(columns: int) -> float:
        rows = -(-count // columns)
        aspect = columns * width / (rows * height)
        return abs(math.log(aspect * 3 / 4)) + (rows * columns - count) / count

    columns = min(range(1, count + 1), key=loss)
    return -(-count // columns), columns


def shrunk(frame: np.ndarray, factor: int) -> np.ndarray:
    """Each pixel the mean of `factor` by `factor`; what is left over at the edges is cut off."""
    h, w = (x // factor for x in frame.shape[:2])
    cut = frame[: h * factor, : w * factor].reshape(h, factor, w, factor, 3)
    return cut.mean((1, 3)).round().astype(np.uint8)
