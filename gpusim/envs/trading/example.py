"""Made-up bars: what tables hold until they are given others."""

import numpy as np

BARS = 1000


def example(assets: int) -> np.ndarray:
    """`[BARS, 2 * assets]` float32, the opens and then the closes of assets that move by chance alone, some of it shared."""
    draw = np.random.default_rng(0)
    moves = 0.0002 + 0.008 * draw.normal(size=(BARS, 1)) + 0.006 * draw.normal(size=(BARS, assets))
    closes = 100.0 * np.exp(np.cumsum(moves, 0))
    before = np.concatenate([closes[:1], closes[:-1]])
    opens = before * np.exp(0.002 * draw.normal(size=closes.shape))
    return np.concatenate([opens, closes], 1).astype(np.float32)
