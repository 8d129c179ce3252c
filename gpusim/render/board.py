"""A board of bools `[h, w, channels]` in colours, by NumPy alone.

As in MinAtar's own display a cell has the colour of the highest of its channels that is set, or none. That display takes
seaborn's "cubehelix", of which neighbours among ten differ little, and less to a colour-blind eye: by 5 of CIE 1976's ΔE
where red cones are missing. These ten were chosen for the greatest least difference, black included, with normal sight and
with each kind of cone missing (Machado et al., 2009): no two differ by less than 24, the first four by 47.
"""

import numpy as np

from gpusim.env import Env

FPS = 20  # MinAtar shows a step for 50 ms
SCALE = 16  # pixels of a cell's edge
PALETTE = np.array(
    [
        (255, 255, 255),  # white
        (255, 128, 0),  # orange
        (0, 77, 255),  # blue
        (153, 102, 153),  # mauve
        (153, 255, 153),  # light green
        (128, 51, 26),  # brown
        (153, 179, 153),  # sage
        (255, 128, 255),  # pink
        (102, 51, 179),  # violet
        (51, 77, 77),  # slate
    ],
    np.uint8,
)
BACKGROUND = np.zeros((1, 3), np.uint8)


def drawable(env: Env) -> bool:
    """Whether what the environment shows is a board with no more channels than there are colours."""
    space = env.observation_space
    return space.dtype == np.bool_ and len(space.shape) == 3 and space.shape[2] <= len(PALETTE)


def frame(board: np.ndarray) -> np.ndarray:
    """`[16 h, 16 w, 3]` uint8 of a board `[h, w, channels]` bool."""
    channel = np.arange(1, board.shape[2] + 1)
    colours = np.concatenate([BACKGROUND, PALETTE])[(board * channel).max(2)]
    return colours.repeat(SCALE, 0).repeat(SCALE, 1)
