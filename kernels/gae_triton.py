"""The kernel beside `gae_torch`: one program for a block of environments, one reverse scan over the steps in registers."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpusim.kernels.launch import launch, programs
from gpusim.kernels.tune import sizes


def gae_triton(
    reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, done: Tensor, gamma: float, lam: float
) -> Tensor:
    """As `gpusim.kernels.gae.gae_torch`, on a CUDA device (or under Triton's interpreter)."""
    steps, envs = reward.shape
    tensors = [x.contiguous() for x in (reward, value, next_value, terminated, done)]
    advantage = torch.empty_like(tensors[0])
    block = sizes("gae", reward.device)
    grid = (programs(envs, block["BLOCK"]),)
    launch(gae_kernel, grid, *tensors, advantage, steps, envs, gamma, gamma * lam, **block)
    return advantage


@triton.jit
def gae_kernel(reward, value, next_value, terminated, done, advantage, steps, envs, gamma, decay, BLOCK: tl.constexpr):
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = column < envs
    running = tl.zeros((BLOCK,), tl.float32)
    for i in range(steps):
        at = (steps - 1 - i).to(tl.int64) * envs + column
        ended = tl.load(terminated + at, mask=inside, other=0) != 0
        over = tl.load(done + at, mask=inside, other=0) != 0
        bootstrap = tl.where(ended, 0.0, tl.load(next_value + at, mask=inside, other=0.0))
        delta = tl.load(reward + at, mask=inside, other=0.0) + gamma * bootstrap
        delta -= tl.load(value + at, mask=inside, other=0.0)
        running = delta + tl.where(over, 0.0, decay * running)
        tl.store(advantage + at, running, mask=inside)
