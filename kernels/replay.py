"""A replay ring on the device: insertion, uniform and prioritized draws, and returns of n steps.

A ring holds C transitions of N environments that step together, N a divisor of C: place `(t * N + e) % C` has step t of
environment e, so `N` places further on, modulo C, is the same environment's next step. `count` is how many transitions
were ever put in. It lies on the device, so that nothing here waits for the host.

    oldest = count - min(count, C)        the ring wraps there, not at place 0; no window of n steps crosses it

Random numbers u are arguments: a kernel and its twin draw the same places for the same u, and the generator they come from
is one that a checkpoint keeps and a CUDA graph registers already.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gpusim.kernels.twin import bit_for_bit, twin, within

SMALLEST = 1e-6  # added to |δ|, so that every transition keeps a chance to be drawn
UNIT = 2.0**20  # weight of a priority of 1
GATHER = 0x0102040810204080  # eight little-endian bytes of 0 or 1 times this have these eight bits in the top byte
HEAVIEST = 2.0**38  # weight of the greatest priority that is told from greater ones; 2**24 of these can be added up


class Form(NamedTuple):
    """An observation as environments give it. A ring stores it so, but of bools it stores the bits."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def cells(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> bool:
        return self.dtype == torch.bool

    @property
    def stored(self) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape and dtype in the ring."""
        return ((-(-self.cells // 8),), torch.uint8) if self.bits else (self.shape, self.dtype)


class Transitions(NamedTuple):
    """What a ring keeps, `[C, ...]`; or T steps of N environments, `[T, N, ...]`."""

    obs: Tensor  # [..., *obs], in a ring as `Form.stored`
    next_obs: Tensor  # likewise
    action: Tensor  # integers, or float32 [..., d]
    reward: Tensor  # float32
    terminated: Tensor  # bool
    done: Tensor  # bool, terminated or truncated


class Priorities(NamedTuple):
    """By which transitions are drawn."""

    value: Tensor  # float32 [C], |δ|^α; 0 for a free place, and for a transition that n - 1 steps do not follow yet
    greatest: Tensor  # float32, 0-dim: the greatest value so far, with which transitions begin


class Sample(NamedTuple):
    """Transitions drawn, `[B]`; the reward is that of n steps."""

    place: Tensor  # in the ring, int64
    obs: Tensor  # [B, *obs]
    action: Tensor  # int64, or float32 [B, d]
    returns: Tensor  # Σ γ^i r_i
    discount: Tensor  # of the value of next_obs: γ^steps, 0 where the episode terminated
    next_obs: Tensor  # [B, *obs], the true one after the last step
    probability: Tensor  # with which each was drawn


# ---------------------------------------------------------------------------------------------------------- insert


def insert_torch(
    ring: Transitions, steps: Transitions, count: Tensor, priorities: Priorities | None = None, late: int = 0
) -> None:
    """Writes M = T · N new transitions over the oldest.

    Args:
        count: int64, 0-dim; M is added to it.
        priorities: a transition gets the greatest as soon as n - 1 steps follow it, and has 0 before.
        late: the newest `late` transitions are not followed by n - 1 steps yet.

    Raises:
        ValueError: there are more transitions than places.
    """
    size, new = len(ring.reward), steps.reward.numel()
    place = (count + torch.arange(new, device=count.device)) % size
    for stored, step in zip(ring, steps, strict=True):
        step = step.flatten(0, 1)
        packed = step.dtype == torch.bool and stored.dtype == torch.uint8
        stored.index_copy_(0, place, pack(step) if packed else step.to(stored.dtype))
    if priorities:
        priorities.value.index_fill_(0, place, 0.0)
        complete = count - late + torch.arange(new, device=count.device)
        priorities.value.index_copy_(0, complete % size, torch.where(complete >= 0, priorities.greatest, 0.0))
    count.add_(new)


def _check_insert(
    ring: Transitions, steps: Transitions, count: Tensor, priorities: Priorities | None = None, late: int = 0
) -> None:
    size, new = len(ring.reward), steps.reward.numel()
    if new + late > size:
        raise ValueError(f"{new + late} transitions do not fit into a ring of {size}.")


def pack(cells: Tensor) -> Tensor:
    """Bools `[M, ...]` as bits in uint8 `[M, bytes]`: bit b of byte j is cell 8 j + b."""
    flat = cells.flatten(1)
    eights = torch.nn.functional.pad(flat.view(torch.uint8), (0, -flat.shape[1] % 8)).view(torch.int64)
    return (eights * GATHER >> 56).to(torch.uint8)


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The bools `[M, *shape]` that were packed."""
    byte, bit = (torch.arange(n, dtype=torch.uint8, device=packed.device) for n in (256, 8))
    eights = ((byte[:, None] >> bit) & 1).bool().view(torch.int64)
    flat = eights.index_select(0, packed.flatten().int()).view(torch.bool).view(len(packed), -1)
    return flat[:, : math.prod(shape)].unflatten(1, shape)


# ---------------------------------------------------------------------------------------------------------- sample


def sample_uniform_torch(
    u: Tensor, ring: Transitions, form: Form, count: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    """Transitions of which each is as likely as another.

    Args:
        u: float64 `[B]` in [0, 1).
        count: of transitions ever put in, at least `num_envs * n_step`.
    """
    size = len(ring.reward)
    place = draw_uniform(u, count, size, num_envs, n_step)
    held = count.clamp(max=size) - (n_step - 1) * num_envs
    return _gather(ring, form, place, (1.0 / held).float().expand(len(u)), num_envs, n_step, gamma)


def sample_prioritized_torch(
    u: Tensor, ring: Transitions, form: Form, priority: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    """Transitions drawn in proportion to `priority`, as `draw_prioritized` does."""
    return _gather(ring, form, *draw_prioritized(u, priority), num_envs, n_step, gamma)


def _gather(
    ring: Transitions, form: Form, place: Tensor, probability: Tensor, num_envs: int, n_step: int, gamma: float
) -> Sample:
    returns, discount, last = n_step_return(ring.reward, ring.terminated, ring.done, place, num_envs, n_step, gamma)
    obs, next_obs = ring.obs.index_select(0, place), ring.next_obs.index_select(0, last)
    if form.bits:
        obs, next_obs = unpack(obs, form.shape), unpack(next_obs, form.shape)
    action = ring.action.index_select(0, place)
    action = action if action.is_floating_point() else action.long()
    return Sample(place, obs, action, returns, discount, next_obs, probability)


def draw_uniform(u: Tensor, count: Tensor, size: int, num_envs: int, n_step: int) -> Tensor:
    """Places, int64 like `u`, each as likely as another, of transitions that are followed by `n_step` - 1 steps."""
    held = count.clamp(max=size)
    oldest = count - held
    return (oldest + (u * (held - (n_step - 1) * num_envs)).long()) % size


def draw_prioritized(u: Tensor, priority: Tensor) -> tuple[Tensor, Tensor]:
    """Places, int64 like `u`, drawn in proportion to `priority`, and the probability of each, float32.

    By prefix sums of whole numbers, which are the same in whatever order they are added up. Entry i is drawn where u times
    the sum of all falls into [sum before i, sum with i), so a priority of 0 is never drawn.

    Args:
        u: float64 in [0, 1).
        priority: float32 `[C]`, not negative, not all 0.
    """
    weight = _weight(priority)
    upto = weight.cumsum(0)
    total = upto[-1]
    # the product may be rounded up to the total itself, beyond the last entry that is not 0
    place = torch.searchsorted(upto, torch.minimum((u * total).long(), total - 1), right=True)
    return place, (weight[place].double() / total).float()


def _weight(priority: Tensor) -> Tensor:
    """Priorities in whole numbers, int64: rounded up, so that what is not 0 does not become 0."""
    return torch.where(priority > 0, (priority * UNIT).ceil().clamp(max=HEAVIEST), 0.0).long()


def n_step_return(
    reward: Tensor, terminated: Tensor, done: Tensor, place: Tensor, num_envs: int, n_step: int, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Σ γ^i r_i from each place on, for `n_step` steps or to the end of the episode, whichever comes first.

    Args:
        reward: float32 `[C]`.
        terminated: bool `[C]`.
        done: bool `[C]`, terminated or truncated.
        place: int64 `[B]`, of first steps, each followed by `n_step` - 1 later ones in the ring.

    Returns:
        returns: float32 `[B]`.
        discount: float32 `[B]`, what the value of the last step's next observation is multiplied by: γ^steps, also where
            the last step was truncated; 0 where it terminated.
        last: int64 `[B]`, the place of the last step.
    """
    returns, last = reward[place], place
    going, discount = ~done[place], torch.full_like(returns, gamma)
    for i in range(1, n_step):
        following = (place + i * num_envs) % len(reward)
        returns = returns + gamma**i * reward[following] * going
        last = torch.where(going, following, last)
        discount = torch.where(going, gamma ** (i + 1), discount)
        going = going & ~done[following]
    return returns, discount * ~terminated[last], last


# ------------------------------------------------------------------------------------------------------ priorities


def update_priorities_torch(priorities: Priorities, place: Tensor, error: Tensor, alpha: float) -> None:
    """Sets |δ|^α of what was drawn; of a transition drawn twice, one of the two.

    Args:
        place: int64 `[B]`.
        error: δ, float32 `[B]`.
    """
    priority = (error.abs() + SMALLEST) ** alpha
    priorities.value.index_copy_(0, place, priority)
    priorities.greatest.copy_(torch.maximum(priorities.greatest, priority.max()))


# -------------------------------------------------------------------------------------------------------- examples

_VECTOR, _NUMBER, _BOARD = Form((3,), torch.float32), Form((1,), torch.float32), Form((3, 3, 2), torch.bool)
_FORMS = (
    _VECTOR, _NUMBER, _BOARD, Form((10, 10, 4), torch.bool), Form((7, 5, 3), torch.uint8), Form((23, 31), torch.uint8),
)  # fmt: skip
_LARGE = (
    Form((4,), torch.float32), Form((10, 10, 4), torch.bool), Form((3, 3, 5), torch.bool), Form((84, 84, 4), torch.uint8),
)  # fmt: skip


def played(steps: int, envs: int, form: Form = _VECTOR, first: int = 0, numbers: int = 0) -> Transitions:
    """Steps of which each differs from all others: the reward is its number, from `first` on, its action that modulo 7, or,
    of an action of so many `numbers`, drawn."""
    which = first + torch.arange(steps * envs).view(steps, envs)
    generator = torch.Generator().manual_seed(first)
    seen = [torch.randn(steps, envs, *form.shape, generator=generator) * 9 for _ in range(2)]
    obs, next_obs = ((x > 0 if form.bits else x).to(form.dtype) for x in seen)
    terminated, truncated = torch.rand(2, steps, envs, generator=generator) < 0.1
    action = torch.randn(steps, envs, numbers, generator=generator) if numbers else which % 7
    return Transitions(obs, next_obs, action, which.float(), terminated, terminated | truncated)


def full_ring(capacity: int, form: Form = _VECTOR, numbers: int = 0) -> Transitions:
    """Of which no two transitions are alike."""
    shape, dtype = form.stored
    generator = torch.Generator().manual_seed(1)
    if dtype.is_floating_point:
        obs = torch.randn(2, capacity, *shape, generator=generator, dtype=dtype)
    else:
        obs = torch.randint(0, 256, (2, capacity, *shape), generator=generator, dtype=dtype)
    action = torch.randint(0, 7, (capacity,), generator=generator, dtype=torch.uint8)
    terminated, truncated = torch.rand(2, capacity, generator=generator) < 0.1
    action = torch.randn(capacity, numbers, generator=generator) if numbers else action
    reward = torch.arange(capacity) + 0.5
    return Transitions(obs[0], obs[1], action, reward, terminated, terminated | truncated)


def _by_entry(x: Tensor) -> Tensor:
    """Laid out as environments give vectors: one entry of all environments beside the other."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def _insert(
    form: Form = _VECTOR, capacity: int = 66, envs: int = 6, steps: int = 5, put: int = 66, by_entry: bool = False,
    mixed: bool = False, prioritized: bool = False, late: int = 0, numbers: int = 0,
) -> tuple:  # fmt: skip
    """`steps` steps after `put` transitions; of `mixed` ones the fields lie in memory each in another way."""
    new = played(steps, envs, form, 100, numbers)
    if by_entry:
        new = new._replace(obs=_by_entry(new.obs), next_obs=_by_entry(new.next_obs))
    if mixed:
        action = _by_entry(new.action) if numbers else new.action.T.contiguous().T.int()
        new = new._replace(next_obs=_by_entry(new.next_obs), action=action)
    ring, count = full_ring(capacity, form, numbers), torch.tensor(put)
    if not prioritized:
        return ring, new, count
    return ring, new, count, Priorities(torch.full((capacity,), 0.5), torch.tensor(3.5)), late


insert = twin(
    insert_torch, "replay_triton", on="count", check=_check_insert, example=_insert, close=bit_for_bit,
    cases=[
        *(
            {"form": form, "put": put, "steps": steps, "by_entry": put == 18}
            for form in _FORMS
            for put, steps in ((0, 3), (18, 8), (66, 5))
        ),
        *(
            {"put": put, "steps": steps, "by_entry": put == 18, "prioritized": True, "late": late}
            for late in (0, 1, 6, 18, 24)
            for put, steps in ((0, 2), (0, 3), (18, 7), (84, 7))
        ),
        {"form": _BOARD, "put": 0, "steps": 11},
        {"form": _BOARD, "put": 66, "steps": 11, "by_entry": True},
        {"capacity": 30, "put": 17, "mixed": True},
        *({"numbers": n, "put": put, "steps": 7, "late": 6} for n in (1, 3, 8) for put in (0, 66)),
        {"numbers": 5, "put": 84, "steps": 7, "prioritized": True, "late": 12},
        {"numbers": 2, "capacity": 30, "put": 17, "mixed": True},
    ],
    large=[
        {"form": form, "capacity": 33 * 99, "envs": 99, "steps": 8, "put": put, "prioritized": True, "late": late}
        for form in _LARGE for late in (0, 99, 198) for put in (0, 8 * 99, 32 * 99)
    ] + [{"numbers": n, "capacity": 33 * 99, "envs": 99, "steps": 8, "put": 32 * 99} for n in (1, 17, 21)],
    pieces={"replay": {"WIDE": 64}},
)  # fmt: skip


def _uniform(batch: int) -> Tensor:
    return torch.rand(batch, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _sample_uniform(
    form: Form, capacity: int = 66, envs: int = 6, put: int = 96, n_step: int = 3, batch: int = 37, gamma: float = 0.97,
    numbers: int = 0,
) -> tuple:  # fmt: skip
    u = _uniform(batch)
    u[0] = 0.0
    return u, full_ring(capacity, form, numbers), form, torch.tensor(put), envs, n_step, gamma


sample_uniform = twin(
    sample_uniform_torch, "replay_triton", on="u", example=_sample_uniform, close=bit_for_bit,
    cases=[
        *({"form": f, "n_step": n, "batch": b} for f in _FORMS for n, b in ((1, 1), (3, 37), (10, 70))),
        *({"form": _VECTOR, "put": 24, "n_step": 4, "batch": 200, "gamma": gamma} for gamma in (0.0, 1.0, 0.9)),
        *({"form": f, "batch": 41, "numbers": n} for f, n in ((_VECTOR, 1), (_BOARD, 3), (_VECTOR, 17))),
    ],
    large=[
        {"form": form, "capacity": 33 * 99, "envs": 99, "put": 40 * 99, "n_step": n, "batch": b}
        for form in _LARGE for n, b in ((1, 4096), (3, 257), (10, 1))
    ] + [{"form": _VECTOR, "capacity": 33 * 99, "envs": 99, "put": 40 * 99, "batch": 4099, "numbers": 17}],
    pieces={"replay": {"WIDE": 64}},
)  # fmt: skip


def _priority(kind: str, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(size)
    numbers = torch.rand(size, generator=generator)
    if kind == "some":
        return torch.where(torch.arange(size) < size - 12, numbers, 0.0)
    if kind in ("first", "last"):
        return torch.eye(1, size)[0].flip(0) if kind == "last" else torch.eye(1, size)[0]
    if kind == "gaps":
        return numbers * (torch.rand(size, generator=generator) < 0.05)
    if kind == "far apart":
        return 10.0 ** (numbers * 60 - 30)
    if kind == "not finite":
        return torch.tensor([1e-30, 0.0, torch.inf, torch.nan, 1e30])
    if kind == "steep":
        numbers = numbers**8 * (torch.rand(size, generator=generator) < 0.7)
        numbers[size // 2] = 0.3
    return {"ones": torch.ones(size), "none": torch.full((size,), torch.nan)}.get(kind, numbers)


def _sample_prioritized(
    form: Form = _NUMBER, priority: str = "any", capacity: int = 66, envs: int = 1, n_step: int = 1, batch: int = 25,
    gamma: float = 0.97, borders: bool = False, numbers: int = 0,
) -> tuple:  # fmt: skip
    """By numbers from 0 to 1, some at the `borders` of blocks, where a rounded sum would fall on the other side."""
    weights = _priority(priority, capacity)
    ends = torch.tensor([0.0, 0.25, 0.5, 1 - 2.0**-53, 1.0]).double()
    if borders:
        upto = _weight(weights).cumsum(0)
        at = upto[1023::150_000] / upto[-1]
        ends = torch.cat([ends, at, at.nextafter(torch.zeros(1).double())])
    u = torch.cat([ends, _uniform(batch)])[: max(batch, len(ends) if borders else 0)]
    return u, full_ring(capacity, form, numbers), form, weights, envs, n_step, gamma


sample_prioritized = twin(
    sample_prioritized_torch, "replay_triton", on="u", example=_sample_prioritized, close=bit_for_bit,
    cases=[
        *({"form": f, "priority": "some", "envs": 6, "n_step": 3, "batch": 40} for f in (_VECTOR, _BOARD)),
        {"form": _VECTOR, "priority": "some", "envs": 6, "n_step": 3, "batch": 40, "numbers": 3},
        *(
            {"priority": kind, "capacity": size}
            for kind, size in (
                ("any", 1), ("first", 100), ("last", 100), ("ones", 257), ("gaps", 1000), ("far apart", 1000),
                ("not finite", 5), ("none", 40), ("any", 4096),
            )
        ),
        {"priority": "steep", "capacity": 1_000_000, "borders": True},
    ],
    large=[
        *({"priority": "steep", "capacity": n, "batch": 4096} for n in (1, 1000, 1_000_000, 5_000_001)),
        *(
            {"form": form, "priority": "steep", "capacity": 33 * 99, "envs": 99, "n_step": n, "batch": b}
            for form in _LARGE for n, b in ((1, 4096), (3, 257), (10, 1))
        ),
    ],
    pieces={"replay": {"WIDE": 64}, "draw": {"LANES": 16}},
)  # fmt: skip


def _update_priorities(batch: int, capacity: int = 500, alpha: float = 0.6, scale: float = 10.0) -> tuple:
    generator = torch.Generator().manual_seed(0)
    place = torch.randperm(capacity, generator=generator)[:batch]
    error = torch.randn(batch, generator=generator) * scale
    error[0] = 0.0
    return Priorities(torch.full((capacity,), 0.25), torch.tensor(0.5)), place, error, alpha


update_priorities = twin(
    update_priorities_torch, "replay_triton", on="place", example=_update_priorities,
    close=within(2e-6, 1e-9, on_gpu=(1e-5, 1e-7)),
    cases=[
        *({"batch": b, "alpha": alpha} for b in (1, 37, 300) for alpha in (0.0, 0.6, 1.0)),
        {"batch": 37, "scale": 0.0},
    ],
    large=[{"batch": 999, "alpha": alpha, "capacity": 5000} for alpha in (0.0, 0.6, 1.0)],
)  # fmt: skip
