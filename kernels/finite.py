"""Where observations and rewards of a rollout stop being numbers, written down on the device, so that no host waits."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpusim.kernels.twin import bit_for_bit, twin

QUANTITIES = ("observation", "next observation", "reward")  # of one step, in this order
NONE = 2**62


class Found(NamedTuple):
    """The first that was not finite, int64 `[6]` when on the device; all 0 where there was none."""

    found: int
    quantity: int  # a place in QUANTITIES
    step: int  # of the rollout
    environment: int
    episode: int  # of that environment, since seeding
    length: int  # steps of that episode, with this one


@torch.no_grad()
def note_unfinite_torch(
    noted: Tensor,
    obs: Tensor,
    next_obs: Tensor,
    reward: Tensor,
    length: Tensor,
    done: Tensor,
    episode: Tensor,
    value: Tensor | None = None,
) -> None:
    """Writes into `noted`, unless something stands there, the first NaN or infinity of a rollout: the earliest step's, of it
    the environment's of the lowest index, of it the quantity that comes first in QUANTITIES.

    Args:
        noted: int64 `[6]`, see `Found`.
        obs: `[T, N, *obs]`, contiguous, or contiguous as `[T, *obs, N]`; whole numbers are finite.
        next_obs: likewise; or its value, with `value`.
        reward: float32 `[T, N]`.
        length: float32 `[T, N]`, steps of the episode.
        done: bool `[T, N]`.
        episode: int64 `[N]`, number of the episode after the last step.
        value: float32 `[T, N]` of `obs` by a network; what is given for `next_obs` is then looked at where this is finite.
    """
    steps, envs = reward.shape
    each = [~torch.isfinite(x).reshape(steps, envs, -1).all(-1) for x in (obs, next_obs, reward)]
    if value is not None:
        each[1] &= value.isfinite()
    bad = torch.stack(each, -1).flatten()
    place = bad.int().argmax()
    step, env, quantity = place // (3 * envs), place // 3 % envs, place % 3
    column = done.index_select(1, env.view(1)).squeeze(1)
    ended = (column & (torch.arange(steps, device=done.device) >= step)).sum()
    age = length.flatten().index_select(0, (step * envs + env).view(1)).squeeze(0).long()
    number = episode.index_select(0, env.view(1)).squeeze(0) - ended
    new = torch.stack([torch.ones_like(step), quantity, step, env, number, age])
    noted.copy_(torch.where(bad.any() & (noted[0] == 0), new, noted))


def _example(
    puts: Any = (), steps: int = 5, envs: int = 7, entries: int = 3, lanes: bool = True, by_value: bool = False,
    whole: bool = False, noted: int = 0,
) -> tuple:  # fmt: skip
    """Episodes of two steps in environment 3, and of `steps` in the others; the number of each is 10 at the end.

    Args:
        puts: what stands where: (0 `obs`, 1 `next_obs`, 2 `reward` or 3 `value`, place, number).
        lanes: whether observations lie as `[T, *obs, N]`.
        by_value: `next_obs` is its value.
        whole: observations are of whole numbers.
        noted: whether something stands there already.
    """
    obs = torch.arange(float(steps * envs * entries)).reshape(steps, entries, envs).movedim(1, -1)
    obs = obs if lanes else obs.contiguous()
    done = torch.zeros(steps, envs, dtype=torch.bool)
    length = torch.arange(1.0, steps + 1).repeat(envs, 1).T.contiguous()
    if envs > 3:
        done[1::2, 3], length[:, 3] = True, torch.arange(steps) % 2 + 1.0
    value = torch.zeros(steps, envs) if by_value else None
    parts = [obs, torch.zeros(steps, envs) if by_value else obs.clone(), torch.ones(steps, envs), value]
    for which, place, number in puts:
        parts[which][place] = number
    if whole:
        parts[:2] = (x.to(torch.uint8) for x in parts[:2])  # type: ignore[union-attr]
    found = torch.full((6,), noted)
    return found, *parts[:3], length, done, torch.full((envs,), 10), value


NAN, INF = math.nan, math.inf
PUTS: dict[str, list[tuple]] = {
    "reward": [(2, (2, 4), NAN)],
    "the episode was another": [(2, (2, 3), INF)],
    "its last step": [(1, (1, 3, 0), -INF)],
    "the earliest": [(2, (4, 0), NAN), (2, (3, 6), NAN), (0, (4, 0, 0), NAN)],
    "the lowest": [(2, (1, 2), NAN), (0, (1, 3, 2), NAN)],
    "the cause": [(2, (1, 2), NAN), (1, (1, 2, 2), NAN)],
    "at the start": [(0, (0, 0, 1), NAN)],
    "none": [(2, (1, 2), 3e38), (2, (1, 3), 3e38)],
}
BY_VALUE = [(1, (t, 2), NAN) for t in range(1, 5)] + [(3, (1, 2), NAN), (3, (2, 2), INF)]


def _spread(steps: int, entries: int, envs: int) -> list[tuple]:
    """One in the last block, one about the middle, one in the first."""
    return [(0, (steps - 1, envs - 1, entries - 1), NAN), (1, (steps // 2, envs // 3), NAN), (2, (0, envs // 2), NAN)]


note_unfinite = twin(
    note_unfinite_torch, "finite_triton", on="reward", example=_example, close=bit_for_bit,
    cases=[
        *({"puts": puts, "lanes": lanes} for puts in PUTS.values() for lanes in (True, False)),
        {"puts": BY_VALUE, "by_value": True},
        {"puts": PUTS["reward"], "noted": 1},
        {"puts": PUTS["reward"], "whole": True},
        *(
            {"puts": _spread(t, d, n)[:k], "steps": t, "entries": d, "envs": n, "lanes": k < 3}
            for t, d, n in ((1, 1, 1), (3, 5, 1000), (40, 3, 257))
            for k in (1, 2, 3)
        ),
    ],
)  # fmt: skip


def all_finite(x: Tensor) -> bool:
    """Whether a tensor on the CPU is finite; the sum, which is cheap, tells it but where it overflows."""
    return not x.is_floating_point() or math.isfinite(float(x.sum())) or bool(torch.isfinite(x).all())
