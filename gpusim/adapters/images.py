"""Images as networks take them, `[H, W, C]`: of Gymnasium's frame stacks and of EnvPool's the channels come first."""

import numpy as np

FEW = 4  # channels that a picture has when it is not a stack


def channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an image of three axes is `[C, H, W]`, judged by its shape: the first axis is the shortest, and the last is no
    number of channels, or as long as the second."""
    channels, height, width = shape
    return channels < min(height, width) and (height == width or width > FEW)


def channels_last(images: np.ndarray) -> np.ndarray:
    """Images `[..., H, W, C]` of `[..., C, H, W]`; others as they are. A view."""
    return np.moveaxis(images, -3, -1) if channels_first(images.shape[-3:]) else images


def arranged(image: np.ndarray) -> np.ndarray:
    """One observation of three axes as `[H, W, C]`; of four, a stack of images, with the channels of all of them."""
    if image.ndim == 3:
        return channels_last(image)
    if image.ndim == 4:
        stacked = np.moveaxis(channels_last(image), 0, 2)  # [H, W, K, C]
        return stacked.reshape(*stacked.shape[:2], -1)
    return image
