"""How large blocks are, and how many warps share one: by kernel, by the form of what it is given, and by architecture."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

Sizes = dict[str, Any]

SIZES: dict[str, Sizes] = {
    # environments: a warp has 32, as whether any of them needs a draw is then a vote, and no barrier
    "simulate": {"BLOCK": 32, "num_warps": 1},
    "simulate, many entities": {"BLOCK": 32, "num_warps": 8},  # those of one environment are shared among threads
    "simulate, wide state": {"BLOCK": 32, "num_warps": 2},  # whose registers would spill in one
    "observe": {"CHUNK": 32},  # cells of an image, drawn at once
    "observe, many fields": {"CHUNK": 16},  # a large state leaves few registers for cells
    "rollout": {
        "BLOCK": 64,
        "C1": 16,
        "C2": 64,
        "num_warps": 4,
    },  # C1, C2: units of hidden layers that are in registers
    "gae": {"BLOCK": 128, "num_warps": 4},
    "discounted_returns": {"BLOCK": 128, "num_warps": 4},
    "sampling": {"BLOCK": 128, "num_warps": 4},
    # rows of a minibatch
    "ppo_gradient, tf32x3": {"BLOCK": 32, "num_warps": 8},
    "ppo_gradient, tf32": {"BLOCK": 32, "num_warps": 4},
    "ppo_gradient, bf16": {"BLOCK": 64, "num_warps": 4},  # so that products are made by `wgmma`
    "ppo_gradient, wide": {"BLOCK": 64, "num_warps": 4},
    # entries of a vector; where there are fewer, a block of them is the next power of two
    "sum_rows": {"COLUMNS": 64, "ROWS": 64, "num_warps": 8},
    "adam_step": {"BLOCK": 256, "num_warps": 4},
    "shuffle": {"BLOCK": 256, "num_warps": 4},
    "minibatch_moments": {"BLOCK": 4096, "num_warps": 8},
    "update_moments": {"BLOCK": 4096, "PROGRAMS": 64, "num_warps": 8},  # PROGRAMS: for each entry of an observation
    "look": {"BLOCK": 4096, "num_warps": 8},
    "note": {"BLOCK": 4096, "num_warps": 4},
    # transitions of a replay
    "replay": {
        "ROWS": 256,
        "WIDE": 512,
        "TILE": 2048,
        "num_warps": 4,
    },  # WIDE entries of ROWS observations, TILE in all
    "draw": {"LANES": 1024, "num_warps": 4},  # priorities that are added up at once
    "update_priorities": {"BLOCK": 256, "num_warps": 4},
}
OTHERWISE: dict[str, dict[str, Sizes]] = {  # by architecture, the entries that differ from SIZES
    "sm_80": {"ppo_gradient, bf16": {"BLOCK": 32}},  # no `wgmma` there; with 64 rows twice as much spills
}
MANY_ENTITIES, WIDE, MANY_FIELDS = (
    16,
    24,
    24,
)  # of a state: entities of a field, of all fields, and fields; beyond these

_assumed = "sm_90"


def sizes(kernel: str, device: torch.device) -> Sizes:
    """Those of `kernel`, by the names of its arguments and options."""
    return _table(architecture(device))[kernel]


@functools.cache
def of_state(widths: tuple[int, ...], device: torch.device) -> Sizes:
    """Those of `simulate` where fields of the state have so many entities."""
    wide = "simulate, wide state" if sum(widths) > WIDE else "simulate"
    entities = "simulate, many entities" if max(widths) > MANY_ENTITIES else wide
    cells = "observe, many fields" if len(widths) > MANY_FIELDS else "observe"
    return {**sizes(entities, device), **sizes(cells, device)}


@functools.cache
def architecture(device: torch.device) -> str:
    """Of a GPU its own, as "sm_90"; of any other device that for which kernels are written down there."""
    if device.type != "cuda":
        return _assumed
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


@functools.cache
def _table(name: str) -> dict[str, Sizes]:
    return SIZES | {kernel: {**SIZES[kernel], **other} for kernel, other in OTHERWISE.get(name, {}).items()}


@contextmanager
def assumed(name: str, smaller: Mapping[str, Sizes] | None = None) -> Iterator[None]:
    """Within it launchers without a GPU ask for what they would on that architecture, but for sizes that are `smaller`."""
    global _assumed
    before = _assumed, dict(SIZES)
    _assumed = name
    SIZES.update({kernel: {**SIZES[kernel], **other} for kernel, other in (smaller or {}).items()})
    _forget()
    try:
        yield
    finally:
        _assumed = before[0]
        SIZES.update(before[1])
        _forget()


def _forget() -> None:
    for cached in (of_state, architecture, _table):
        cached.cache_clear()
