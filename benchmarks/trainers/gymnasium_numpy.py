"""Gymnasium's own loop, on NumPy arrays."""

from collections.abc import Callable

import torch
from torch import Tensor

import gpusim
from gpusim.adapters import to_numpy

TRAINER, LIBRARY, ENV, MODE, COPIES = "Gymnasium (NumPy)", "gymnasium", "CartPole-v1", "next_step", 2


def through(num_envs: int, device: torch.device, actions: Tensor) -> Callable[[], object]:
    env = to_numpy(gpusim.make(ENV, num_envs, device=device, autoreset_mode=MODE))
    env.reset(seed=0)
    arrays = list(actions.cpu().numpy())

    def play() -> None:
        for array in arrays:
            env.step(array)

    return play
