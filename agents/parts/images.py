"""Which observations go through convolutions."""

from gymnasium.spaces import Box

BOARD_FROM = 3  # the least height and width that one convolution takes


def is_cnn(network: str, observation_space: Box) -> bool:
    """Whether `network` (mlp, cnn, or one that takes either: auto, or with a memory) is convolutional for such
    observations."""
    shape = observation_space.shape
    return network == "cnn" or (network != "mlp" and len(shape) == 3 and min(shape[:2]) >= BOARD_FROM)
